//! Listening sockets, accepted connections and TLS.

pub(crate) mod accept;
pub(crate) mod proxy_header;
mod handshake;
mod passthrough;
pub(crate) mod tls;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use net::BindError;

use self::tls::TlsServers;

/// A listening socket of one worker.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) properties: ListenerProperties,
}

/// Properties of all connections that a listener accepts.
#[derive(Clone)]
pub(crate) struct ListenerProperties {
    /// The TLS configuration; `None` for plain HTTP.
    pub(crate) tls: Option<Arc<TlsServers>>,
    /// The port for `X-Forwarded-Port`.
    pub(crate) port: u16,
}

/// Binds each address once per worker, and returns the bound addresses.
pub(crate) fn open(
    addresses: &[SocketAddr],
    tls: Option<&Arc<TlsServers>>,
    workers: &mut [Vec<Listener>],
) -> Result<Vec<SocketAddr>, BindError> {
    let mut bound = Vec::with_capacity(addresses.len());
    for address in addresses {
        let sockets = net::listen::listen(*address, workers.len())?;
        for (at, (socket, listeners)) in sockets.into_iter().zip(&mut *workers).enumerate() {
            let exact = socket.local_addr().map_err(|cause| BindError { address: *address, cause })?;
            if at == 0 {
                bound.push(exact);
            }
            let port = if tls.is_some() { 443 } else { exact.port() };
            listeners.push(Listener { socket, properties: ListenerProperties { tls: tls.cloned(), port } });
        }
    }
    Ok(bound)
}
