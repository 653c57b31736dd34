//! A connection from a client.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use ingress_routes::RequestScheme;

use crate::client::connection_state::ConnectionState;
use crate::client::request_guard::RequestGuard;
use crate::io::clock::Timer;
use crate::state::client_table::ClientEntry;
use crate::state::worker::Worker;
use crate::upstream::request::UpstreamRequest;

/// A connection from a client, shared by the requests on it.
pub(crate) struct ClientConnection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) peer: SocketAddr,
    /// The IP address of `peer` as text.
    pub(crate) peer_ip: Rc<str>,
    pub(crate) scheme: RequestScheme,
    /// `X-Forwarded-Port`: the listener's port, or 443 for every HTTPS listener, as in ingress-nginx.
    pub(crate) port: u16,
    /// The state of an HTTP/1 connection, whose requests come one after another; `None` for HTTP/2.
    pub(crate) state: Option<Rc<ConnectionState>>,
    /// For HTTP/2, the timer of the stream whose task is being polled.
    pub(crate) stream_timer: RefCell<Option<Rc<Timer>>>,
    /// How many requests have been received.
    pub(crate) requests: Cell<u32>,
    /// The connection in the worker's table.
    pub(crate) entry: Rc<ClientEntry>,
    /// Set by a response with 101: the switched protocol's connection to the endpoint.
    pub(crate) upgrade: RefCell<Option<Upgrade>>,
}

/// A connection to an endpoint after 101 (Switching Protocols), and the guard of the request that asked for it.
pub(crate) struct Upgrade {
    pub(crate) request: UpstreamRequest,
    pub(crate) guard: RequestGuard,
}

impl ClientConnection {
    /// The timer of the request that is being polled.
    pub(crate) fn timer(&self) -> Rc<Timer> {
        let of_state = || self.state.as_ref().map(|state| state.timer.clone());
        let timer = of_state().or_else(|| self.stream_timer.borrow().clone());
        timer.unwrap_or_else(|| self.worker.clock.timer())
    }
}
