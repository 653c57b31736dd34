//! Listening sockets, accepted connections and TLS.

pub(crate) mod accept;
pub(crate) mod addresses;
pub(crate) mod proxy_header;
mod handshake;
mod passthrough;
pub(crate) mod stapling;
pub(crate) mod tls;

use std::net::TcpListener;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::tls::TlsServers;

/// A listening socket of one worker.
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) properties: ListenerProperties,
    /// Cancelled when the address is no longer one of `bind-address`.
    pub(crate) closed: CancellationToken,
    /// The address is in use by this process until this is dropped.
    pub(crate) held: Arc<()>,
}

/// Properties of all connections that a listener accepts.
#[derive(Clone)]
pub(crate) struct ListenerProperties {
    /// The TLS configuration; `None` for plain HTTP.
    pub(crate) tls: Option<Arc<TlsServers>>,
    /// The port for `X-Forwarded-Port`.
    pub(crate) port: u16,
}
