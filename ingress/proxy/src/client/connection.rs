//! A connection from a client.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use ingress_routes::{ProxiedConnection, RequestScheme};

use crate::client::client_handshake::ClientHandshake;
use crate::client::connection_state::ConnectionState;
use crate::io::clock::Timer;
use crate::io::turn::after_others;
use crate::observe::log_line::LoggedConnection;
use crate::observe::tls_details::TlsDetails;
use crate::state::client_table::ClientEntry;
use crate::state::worker::Worker;
use crate::upstream::request_head::ConnectionLines;
use crate::wire::http1_stream::Http1Stream;

/// A connection from a client, shared by the requests on it.
pub(crate) struct ClientConnection {
    pub(crate) worker: Rc<Worker>,
    /// Unique in the process.
    pub(crate) number: u64,
    pub(crate) peer: SocketAddr,
    /// The addresses in the PROXY header (`use-proxy-protocol`).
    pub(crate) proxied: Option<ProxiedConnection>,
    /// The client as far as the connection tells.
    pub(crate) client: SocketAddr,
    /// Its address as text.
    pub(crate) peer_ip: Rc<str>,
    pub(crate) scheme: RequestScheme,
    /// The parameters that the TLS handshake negotiated; `None` for plain HTTP.
    pub(crate) tls: Option<Box<TlsDetails>>,
    /// For TLS, the server name and the certificates that the client sent in the handshake.
    pub(crate) client_handshake: Option<Box<ClientHandshake>>,
    /// `X-Forwarded-Port`: the listener's port, or 443 for every HTTPS listener, as in ingress-nginx; with a PROXY header the
    /// port in it.
    pub(crate) port: u16,
    /// An HTTP/1 connection, whose requests come one after another; `None` for HTTP/2.
    pub(crate) http1: Option<Http1>,
    /// For HTTP/2, the timer of the stream whose task is being polled.
    pub(crate) stream_timer: RefCell<Option<Rc<Timer>>>,
    /// See [`ClientConnection::forwarded_lines`].
    pub(crate) forwarded_lines: OnceCell<ConnectionLines>,
    /// How many requests have been received.
    pub(crate) requests: Cell<u32>,
    /// Set while a request waits in [`ClientConnection::after_others`].
    pub(crate) waits_for_others: Cell<bool>,
    /// The connection in the worker's table.
    pub(crate) entry: Rc<ClientEntry>,
}

/// The state that only HTTP/1 connections have.
pub(crate) struct Http1 {
    pub(crate) stream: Rc<Http1Stream>,
    pub(super) state: Rc<ConnectionState>,
}

impl ClientConnection {
    /// The address of a client as text.
    pub(crate) fn text_of(&self, client: IpAddr) -> Rc<str> {
        if client == self.client.ip().to_canonical() {
            self.peer_ip.clone()
        } else {
            client.to_string().into()
        }
    }

    /// The header lines about the connection in every request to an endpoint; written once.
    pub(crate) fn forwarded_lines(&self) -> &ConnectionLines {
        self.forwarded_lines.get_or_init(|| {
            let mut digits = itoa::Buffer::new();
            ConnectionLines::new(&self.peer_ip, digits.format(self.port), self.scheme.as_str())
        })
    }

    /// Whether the client speaks HTTP/1.
    pub(crate) fn is_http1(&self) -> bool {
        self.http1.is_some()
    }

    /// For HTTP/1: whether the next response is the last one. `keep-alive-requests` is reached, the proxy stops, or the request was not
    /// received to its end.
    pub(super) fn is_last_response(&self) -> bool {
        let settings = self.worker.settings();
        self.requests.get() >= settings.connections.keep_alive_requests
            || self.worker.is_stopping()
            || settings.connections.keep_alive.is_zero()
            || self.http1.as_ref().is_some_and(|http1| http1.stream.is_body_due())
    }

    /// The fields of the access log about the connection.
    pub(crate) fn logged(&self) -> LoggedConnection<'_> {
        LoggedConnection {
            number: self.number,
            requests: self.requests.get(),
            peer: self.peer,
            client: self.client,
            scheme: self.scheme,
            port: self.port,
            proxied: self.proxied.as_ref(),
            tls: self.tls.as_deref(),
            certificate: self.client_handshake.as_ref().and_then(|handshake| handshake.der()),
        }
    }

    /// Lets the tasks of other connections run that are ready now. It takes no time, so an HTTP/1 client is not watched meanwhile.
    pub(crate) async fn after_others(&self) {
        self.waits_for_others.set(true);
        after_others().await;
        self.waits_for_others.set(false);
    }

    /// The timer of the request that is being polled.
    pub(crate) fn timer(&self) -> Rc<Timer> {
        let of_connection = || self.http1.as_ref().map(|http1| http1.state.timer.clone());
        let timer = of_connection().or_else(|| self.stream_timer.borrow().clone());
        timer.unwrap_or_else(|| self.worker.clock.timer())
    }
}
