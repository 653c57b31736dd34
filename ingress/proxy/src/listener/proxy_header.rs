//! Reads the PROXY header at the start of a connection.

use std::io;
use std::task::Poll;
use std::time::Duration;

use ingress_routes::ProxiedConnection;
use ingress_wire::proxy_protocol::{InvalidProxyHeader, MAX_V2, ProxiedAddresses, parse};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::client::closing::CLOSING_TIMEOUT;
use crate::state::worker::Worker;

/// Why a connection has no PROXY header.
#[derive(Debug)]
pub(crate) enum ProxyHeaderError {
    Invalid(InvalidProxyHeader),
    Closed,
    Timeout,
    Io(io::Error),
}

impl std::fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid(InvalidProxyHeader::Missing) => f.write_str("it begins with something else"),
            Self::Invalid(InvalidProxyHeader::Malformed) => f.write_str("it is malformed"),
            Self::Invalid(InvalidProxyHeader::TooLong) => f.write_str("it is too long"),
            Self::Closed => f.write_str("the connection ended before it was complete"),
            Self::Timeout => f.write_str("it took too long"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for ProxyHeaderError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The addresses in the header; `None` if it has none, so that those of the socket apply. Nothing after the header is read.
pub(crate) async fn read(
    worker: &Worker,
    stream: &mut TcpStream,
    timeout: Duration,
) -> Result<Option<ProxiedConnection>, ProxyHeaderError> {
    let (mut header, mut is_shortened) = (std::pin::pin!(receive(stream)), false);
    let timer = worker.clock.timer();
    worker.clock.arm(&timer, timeout);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = header.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        if worker.is_stopping() && !std::mem::replace(&mut is_shortened, true) {
            worker.clock.arm(&timer, CLOSING_TIMEOUT);
        }
        if timer.poll_expired(cx) || worker.is_forced() {
            return Poll::Ready(Err(ProxyHeaderError::Timeout));
        }
        Poll::Pending
    })
    .await
}

/// Looks at the bytes before it takes them: those after the header belong to TLS or HTTP.
async fn receive(stream: &mut TcpStream) -> Result<Option<ProxiedConnection>, ProxyHeaderError> {
    let mut bytes = vec![0; MAX_V2];
    // How many bytes of the header have been taken.
    let mut taken = 0;
    loop {
        let seen = taken + stream.peek(&mut bytes[taken..]).await?;
        if seen == taken {
            return Err(ProxyHeaderError::Closed);
        }
        let header = parse(&bytes[..seen]).map_err(ProxyHeaderError::Invalid)?;
        // All bytes of an incomplete header are its own.
        let end = header.as_ref().map_or(seen, |header| header.length);
        stream.read_exact(&mut bytes[taken..end]).await?;
        taken = end;
        match header.map(|header| header.addresses) {
            None => {}
            Some(ProxiedAddresses::Tcp { source, destination }) => {
                return Ok(Some(ProxiedConnection { source, destination }));
            }
            Some(ProxiedAddresses::Local | ProxiedAddresses::Unknown | ProxiedAddresses::Unix { .. }) => {
                return Ok(None);
            }
        }
    }
}
