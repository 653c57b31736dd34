//! A client's connection as its requests see it, and the answers that the proxy gives itself.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode};
use hyper::ext::ReasonPhrase;
use ingress_routes::{DirectResponse, Scheme};

use crate::client::connection_state::Link;
use crate::client::pages;
use crate::exchange::response_body::{Open, Reply};
use crate::state::worker::Worker;
use crate::upstream::request::Call;

/// A client's connection as its requests see it.
pub(crate) struct Visit {
    pub(crate) worker: Rc<Worker>,
    pub(crate) peer: SocketAddr,
    /// The peer's address as text.
    pub(crate) client: Rc<str>,
    pub(crate) scheme: Scheme,
    /// `X-Forwarded-Port`: that of the listener; 443 for HTTPS whatever its number (reference §3.10).
    pub(crate) port: u16,
    /// For HTTP/1, whose requests come one after another.
    pub(crate) link: Option<Rc<Link>>,
    /// For HTTP/2: that of the stream whose task is being polled.
    pub(crate) stream: RefCell<Option<Rc<Link>>>,
    pub(crate) requests: Cell<u32>,
    /// Requests that are being worked on: one, or for HTTP/2 as many as there are streams.
    pub(crate) open: Rc<Cell<u32>>,
    /// What follows the response: the protocol was changed.
    pub(crate) upgrade: RefCell<Option<Upgrade>>,
}

/// A connection to an endpoint that speaks another protocol from now on.
pub(crate) struct Upgrade {
    pub(crate) call: Call,
    pub(crate) open: Open,
}

impl Visit {
    /// What the request that is being polled is to keep time by.
    pub(crate) fn turn(&self) -> Option<Rc<Link>> {
        self.link.clone().or_else(|| self.stream.borrow().clone())
    }
}

/// A page of the proxy's own. Filters have their look at it as at any other answer.
pub(crate) fn page(visit: &Visit, mut open: Open, answer: &DirectResponse) -> Response<Reply> {
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
    open.status = answer.status.as_u16();
    if let (Some(route), Some(exchange)) = (&open.route, &open.exchange) {
        route.apply_response_filters(exchange, &mut parts);
    }
    if visit.link.is_some() && answer.status == StatusCode::BAD_REQUEST {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    close_if_last(visit, &mut parts.headers);
    if let Some(stream) = &*visit.stream.borrow() {
        stream.wait_for_client();
    }
    let is_head = open.exchange.as_ref().is_some_and(|exchange| exchange.request.method == Method::HEAD);
    if is_head && !body.is_empty() {
        parts.headers.insert(http::header::CONTENT_LENGTH, body.len().into());
        return Reply::nothing(open).under(parts);
    }
    Reply::page(body, open).under(parts)
}

/// Says so when this response is the last on its connection: `keep-alive-requests`, the proxy stops, or it has been made
/// before the request was there.
pub(crate) fn close_if_last(visit: &Visit, headers: &mut HeaderMap) {
    let Some(link) = &visit.link else { return };
    let worker = &visit.worker;
    let worn = visit.requests.get() >= worker.options.keep_alive_requests;
    if worn || worker.is_stopping() || worker.options.keep_alive.is_zero() || link.is_body_due() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}
