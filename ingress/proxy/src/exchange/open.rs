//! Opens connections to endpoints within the limits of the worker.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use ingress_routes::RetryCondition;
use net::descriptors;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::io::transport_stream::UpstreamStream;
use crate::state::worker::Worker;
use crate::upstream::connection::ConnectionKey;
use crate::upstream::limit::UpstreamSlot;

/// Why there is no connection to an endpoint.
#[derive(Debug)]
pub(crate) enum ConnectError {
    Failed(io::Error),
    /// The TLS handshake failed, or the certificate was not accepted.
    Tls(io::Error),
    Timeout,
    OwnListener,
    NoConnectionLeft,
}

impl ConnectError {
    /// The word of `proxy-next-upstream` that allows another endpoint after it.
    pub(crate) fn retry_condition(&self) -> RetryCondition {
        match self {
            Self::Timeout => RetryCondition::Timeout,
            Self::Failed(_) | Self::Tls(_) | Self::OwnListener | Self::NoConnectionLeft => {
                RetryCondition::Error
            }
        }
    }

    /// The status of the response if no other endpoint is tried.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Failed(_) | Self::Tls(_) | Self::NoConnectionLeft => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::OwnListener => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "cannot connect: {error}"),
            Self::Tls(error) => write!(f, "the TLS handshake failed: {error}"),
            Self::Timeout => f.write_str("cannot connect: timed out"),
            Self::NoConnectionLeft => f.write_str("no more connections to endpoints may be opened"),
            Self::OwnListener => f.write_str("is a listener of this proxy: the request would loop for ever"),
        }
    }
}

/// Connects to an address that is not the proxy itself. The wait for a place in the limit and connecting may each take `timeout`.
pub(crate) async fn open(
    worker: &Worker,
    address: SocketAddr,
    timeout: Duration,
) -> Result<(TcpStream, UpstreamSlot), ConnectError> {
    let (stream, slot) = open_any(worker, address, timeout).await?;
    if worker.is_own_listener(&stream, address) {
        return Err(ConnectError::OwnListener);
    }
    Ok((stream, slot))
}

/// Connects to an address, which may be a listener of the proxy.
pub(crate) async fn open_any(
    worker: &Worker,
    address: SocketAddr,
    timeout: Duration,
) -> Result<(TcpStream, UpstreamSlot), ConnectError> {
    let close_idle = || worker.close_idle_upstream();
    let slot = worker.upstreams.acquire(address, close_idle, timeout, &worker.limits).await;
    let slot = slot.ok_or(ConnectError::NoConnectionLeft)?;
    let make_room = || worker.clients.drain(worker.clock.now()) > 0 || worker.close_idle_upstream();
    let stream = match tokio::time::timeout(timeout, connect(address, make_room)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(ConnectError::Failed(error)),
        Err(_) => return Err(ConnectError::Timeout),
    };
    // Otherwise the second piece of a request would wait for the endpoint's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    Ok((stream, slot))
}

/// Connects to an address, with TLS where the key has it. The handshake may take `timeout`, too, as in nginx. `is_h2`: the endpoint is
/// offered HTTP/2.
pub(crate) async fn open_stream(
    worker: &Worker,
    key: &ConnectionKey,
    is_h2: bool,
    timeout: Duration,
) -> Result<(UpstreamStream, UpstreamSlot), ConnectError> {
    let (stream, slot) = open(worker, key.address, timeout).await?;
    let Some(tls) = &key.tls else { return Ok((UpstreamStream::Plain(stream), slot)) };
    let connector = TlsConnector::from(tls.config(is_h2).clone());
    let handshake = connector.connect(tls.server_name(key.address.ip()), stream);
    match tokio::time::timeout(timeout, handshake).await {
        Ok(Ok(stream)) => Ok((UpstreamStream::Tls(Box::new(stream)), slot)),
        Ok(Err(error)) => Err(ConnectError::Tls(error)),
        Err(_) => Err(ConnectError::Timeout),
    }
}

/// Connects to an address. While the process has no free descriptor, `make_room` closes connections that are not in use; the error
/// is returned when it finds none.
async fn connect(address: SocketAddr, make_room: impl Fn() -> bool) -> io::Result<TcpStream> {
    loop {
        match TcpStream::connect(address).await {
            Err(error) if descriptors::is_exhausted(&error) && make_room() => {
                // Client connections close when their tasks run.
                tokio::task::yield_now().await;
            }
            connected => return connected,
        }
    }
}
