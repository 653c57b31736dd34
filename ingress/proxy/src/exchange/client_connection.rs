//! A client's connection as its requests see it, and the answers that the proxy gives itself.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::ext::ReasonPhrase;
use ingress_routes::{DirectResponse, Scheme};

use crate::client::connection_state::ConnectionState;
use crate::client::pages;
use crate::exchange::response_body::{RequestGuard, ResponseBody};
use crate::state::worker::Worker;
use crate::upstream::request::UpstreamRequest;

/// A client's connection as its requests see it.
pub(crate) struct ClientConnection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) peer: SocketAddr,
    /// The peer's address as text.
    pub(crate) peer_ip: Rc<str>,
    pub(crate) scheme: Scheme,
    /// `X-Forwarded-Port`: that of the listener; 443 for HTTPS whatever its number (reference §3.10).
    pub(crate) port: u16,
    /// For HTTP/1, whose requests come one after another.
    pub(crate) state: Option<Rc<ConnectionState>>,
    /// For HTTP/2: that of the stream whose task is being polled.
    pub(crate) stream: RefCell<Option<Rc<ConnectionState>>>,
    pub(crate) requests: Cell<u32>,
    /// Requests that are being worked on: one, or for HTTP/2 as many as there are streams.
    pub(crate) open_requests: Rc<Cell<u32>>,
    /// What follows the response: the protocol was changed.
    pub(crate) upgrade: RefCell<Option<Upgrade>>,
}

/// A connection to an endpoint that speaks another protocol from now on.
pub(crate) struct Upgrade {
    pub(crate) request: UpstreamRequest,
    pub(crate) guard: RequestGuard,
}

impl ClientConnection {
    /// What the request that is being polled is to keep time by.
    pub(crate) fn turn(&self) -> Option<Rc<ConnectionState>> {
        self.state.clone().or_else(|| self.stream.borrow().clone())
    }
}

/// A page of the proxy's own. Filters have their look at it as at any other answer.
pub(crate) fn page(
    client: &ClientConnection,
    mut guard: RequestGuard,
    answer: &Answer,
) -> Response<ResponseBody> {
    let mut parts = answer.head();
    if let Some(reason) = pages::reason(answer.status) {
        parts.extensions.insert(ReasonPhrase::from_static(reason.as_bytes()));
    }
    let body = match answer.status.as_u16() {
        204 | 304 => Bytes::new(),
        200 => Bytes::new(),
        _ => pages::body(answer.status),
    };
    if !body.is_empty() {
        pages::describe(&mut parts.headers);
    }
    guard.status = answer.status.as_u16();
    if let (Some(route), Some(exchange)) = (&guard.route, &guard.exchange) {
        route.response(exchange, &mut parts);
    }
    if client.state.is_some() && answer.status == StatusCode::BAD_REQUEST {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    close_if_last(client, &mut parts.headers);
    if let Some(stream) = &*client.stream.borrow() {
        stream.wait_for_client();
    }
    let is_head = guard.exchange.as_ref().is_some_and(|exchange| exchange.request.method == Method::HEAD);
    if is_head && !body.is_empty() {
        parts.headers.insert(http::header::CONTENT_LENGTH, body.len().into());
        return ResponseBody::nothing(guard).under(parts);
    }
    ResponseBody::page(body, guard).under(parts)
}

/// Says so when this response is the last on its connection: `keep-alive-requests`, the proxy stops, or it has been made
/// before the request was there.
pub(crate) fn close_if_last(client: &ClientConnection, headers: &mut HeaderMap) {
    let Some(state) = &client.state else { return };
    let worker = &client.worker;
    let worn = client.requests.get() >= worker.options.keep_alive_requests;
    if worn || worker.is_stopping() || worker.options.keep_alive.is_zero() || state.is_body_due() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
