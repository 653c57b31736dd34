//! The start of a TLS connection: the ClientHello decides which configuration applies, or that the connection is passed through.

use std::io::{self, Read};
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;

use bytes::Bytes;
use ingress_routes::Route;
use ingress_wire::client_hello;
use ingress_wire::request_head::HeadError;
use rustls::server::{Accepted, Acceptor};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;

use crate::client::client_handshake::ClientHandshake;
use crate::client::closing::{CLOSING_TIMEOUT, write_last};
use crate::client::pages;
use crate::listener::tls::TlsServers;
use crate::state::worker::Worker;

/// What becomes of a connection.
pub(crate) enum Handshake {
    /// The handshake is complete.
    Done(Box<TlsStream<TcpStream>>, ClientHandshake),
    /// The connection goes to an endpoint of a route as it is (`ssl-passthrough`), beginning with these bytes.
    Passthrough(TcpStream, Bytes, Arc<Route>),
}

/// Completes the handshake within `client-header-timeout`, or within a few seconds once the proxy stops. `None` after a
/// timeout.
pub(crate) async fn handshake(
    worker: &Worker,
    stream: TcpStream,
    servers: &TlsServers,
) -> Option<io::Result<Handshake>> {
    let handshake = begin(worker, stream, servers);
    let (mut handshake, mut is_shortened) = (std::pin::pin!(handshake), false);
    let timer = worker.clock.timer();
    worker.clock.arm(&timer, worker.settings().connections.client_header_timeout);
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = handshake.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        if worker.is_stopping() && !std::mem::replace(&mut is_shortened, true) {
            worker.clock.arm(&timer, CLOSING_TIMEOUT);
        }
        if timer.poll_expired(cx) || worker.is_forced() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

async fn begin(worker: &Worker, mut stream: TcpStream, servers: &TlsServers) -> io::Result<Handshake> {
    let passthrough = |name: &str| worker.views.table.load().passthrough(name).cloned();
    let is_enabled = worker.options.ssl_passthrough;
    let accepted = match read_hello(&stream, is_enabled, passthrough).await? {
        Hello::Accepted(accepted) => accepted,
        Hello::Passthrough(hello, route) => return Ok(Handshake::Passthrough(stream, hello, route)),
        Hello::PlainHttp => {
            let (_, page) = pages::refusal(HeadError::PlainHttp, SystemTime::now());
            write_last(&mut stream, &page).await;
            return Err(io::ErrorKind::InvalidData.into());
        }
        Hello::Refused(error, alert) => {
            stream.write_all(&alert).await?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
    };
    let name = accepted.client_hello().server_name().map(host_name);
    let (configuration, client_auth, is_known) = {
        let table = worker.views.table.load();
        worker.follow(&table);
        let (host, is_known) = table.server_tls(name.as_deref());
        let settings = worker.settings();
        let configuration =
            servers.configuration(&settings.tls, settings.connections.http2, host.map(|host| &**host));
        (configuration, host.and_then(|host| host.client_auth.clone()), is_known)
    };
    let configuration = configuration.map_err(io::Error::other)?;
    let stream = StartHandshake::from_parts(*accepted, stream).into_stream(configuration).await?;
    let server_name = name.filter(|_| is_known);
    let tls = ClientHandshake::new(server_name, client_auth, stream.get_ref().1.peer_certificates());
    Ok(Handshake::Done(Box::new(stream), tls))
}

enum Hello {
    Accepted(Box<Accepted>),
    Passthrough(Bytes, Arc<Route>),
    /// The connection begins with a request without TLS.
    PlainHttp,
    /// The alert to send.
    Refused(rustls::Error, Vec<u8>),
}

/// Reads the ClientHello. Hot: nothing is copied unless connections may be passed through.
async fn read_hello(
    stream: &TcpStream,
    may_pass: bool,
    passthrough: impl Fn(&str) -> Option<Arc<Route>>,
) -> io::Result<Hello> {
    let mut acceptor = Acceptor::default();
    let mut input = Tap { stream, first: None, copy: may_pass.then(Vec::new) };
    loop {
        stream.readable().await?;
        match acceptor.read_tls(&mut input) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        // A plain HTTP request begins with the letter of a method, a TLS handshake with record type 22.
        if input.first.is_some_and(|first| first.is_ascii_uppercase()) {
            return Ok(Hello::PlainHttp);
        }
        if let Some(copy) = &mut input.copy {
            match client_hello::parse(copy) {
                Ok(None) => continue,
                Ok(Some(hello)) => {
                    if let Some(route) = hello.server_name.as_deref().and_then(&passthrough) {
                        return Ok(Hello::Passthrough(std::mem::take(copy).into(), route));
                    }
                    input.copy = None;
                }
                // rustls refuses it, too, with the right alert.
                Err(_) => input.copy = None,
            }
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(Hello::Accepted(Box::new(accepted))),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut bytes = Vec::new();
                alert.write_all(&mut bytes)?;
                return Ok(Hello::Refused(error, bytes));
            }
        }
    }
}

/// Reads from a stream and keeps what a passed connection has to begin with.
struct Tap<'a> {
    stream: &'a TcpStream,
    /// The first byte of the connection.
    first: Option<u8>,
    copy: Option<Vec<u8>>,
}

impl Read for Tap<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.try_read(buffer)?;
        self.first = self.first.or(buffer[..length].first().copied());
        if let Some(copy) = &mut self.copy {
            copy.extend_from_slice(&buffer[..length]);
        }
        Ok(length)
    }
}

/// A name in lower case, without a final dot.
fn host_name(name: &str) -> Box<str> {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase().into()
}
