//! The handler of every request: finds its route, applies the filters and forwards it to an endpoint.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use cluster::PathType;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use ingress_routes::{DirectResponse, Exchange, FilterOutcome, RequestScheme};
use ingress_wire::request_head::{RequestHead, check_h2};
use smallvec::SmallVec;

use crate::client::connection::ClientConnection;
use crate::client::pages;
use crate::client::request_guard::RequestGuard;
use crate::exchange::direct_response::page;
use crate::exchange::proxy_request::ProxyRequest;
use crate::exchange::response_body::ResponseBody;
use crate::io::buffers::{BufferHold, BufferUse};
use crate::observe::access_log::{AccessRecord, RequestId};
use crate::upstream::request_body::RequestBody;
use crate::upstream::request_head::BodyLength;

/// The service that hyper calls for each request of a connection.
#[derive(Clone)]
pub(crate) struct RequestHandler(pub(crate) Rc<ClientConnection>);

impl Service<Request<Incoming>> for RequestHandler {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Box::pin(handle(self.0.clone(), request))
    }
}

/// Answers a request. Errors become error pages.
async fn handle(
    client: Rc<ClientConnection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Infallible> {
    let started = Instant::now();
    let worker = &client.worker;
    let head = client.state.as_ref().and_then(|state| state.begin());
    client.requests.set(client.requests.get() + 1);
    let (mut parts, body) = request.into_parts();
    if let Some(head) = head.as_ref().filter(|head| head.has_more_fields_than_hyper_takes()) {
        parts.headers = head.header_map();
    }
    let record = AccessRecord {
        started,
        client: client.peer_ip.clone(),
        line: head
            .as_ref()
            .map_or_else(|| written_line(&parts), |head| head.bytes.slice(..head.line().len())),
        head_bytes: head.as_ref().map_or_else(|| head_bytes(&parts.headers), |head| head.bytes.len() as u64),
        body_bytes: 0,
        exchange: None,
        route: None,
        canary: None,
        attempts: SmallVec::new(),
        request_id: RequestId::of(&parts.headers, || worker.random()),
        status: pages::CLIENT_CLOSED,
        sent_head: 0,
        sent: 0,
        silent: false,
    };
    let mut guard = RequestGuard::new(record, worker.clone(), client.state.clone(), client.entry.clone());
    // The head of an HTTP/1 request was checked before hyper read it.
    let result = if client.state.is_none() { check_h2(&parts) } else { Ok(()) };
    if let Err(error) = result {
        return Ok(page(&client, guard, &DirectResponse::status(pages::status_of(error))));
    }
    let mut exchange = match Exchange::new(parts, client.peer, client.scheme) {
        Ok(exchange) => exchange,
        Err(error) => {
            tracing::debug!(%error, client = %client.peer_ip, "a request target or host is invalid");
            return Ok(page(&client, guard, &DirectResponse::status(StatusCode::BAD_REQUEST)));
        }
    };
    let (route, outcome) = {
        let table = worker.views.table.load();
        let found = table.find(exchange.host(), exchange.path());
        let route = found.route().clone();
        // On the catch-all host the proxy answers the health check path, unless an Ingress has it as an exact path: a load
        // balancer's health checks must not depend on a default backend.
        let exact = route.ingress.is_some() && route.kind == PathType::Exact;
        let catch_all = route.host == "_" && !exact;
        if catch_all
            && client.scheme == RequestScheme::Http
            && exchange.path() == worker.options.health_check_path
        {
            guard.silent = true;
            (route, FilterOutcome::Respond(DirectResponse::status(StatusCode::OK)))
        } else if too_large(&body, worker.options.proxy_body_size) {
            (route, FilterOutcome::Respond(DirectResponse::status(StatusCode::PAYLOAD_TOO_LARGE)))
        } else {
            let outcome = found.apply_request_filters(&mut exchange);
            (route, outcome)
        }
    };
    guard.route = Some(route.clone());
    guard.exchange = Some(exchange);
    if let FilterOutcome::Respond(response) = outcome {
        return Ok(page(&client, guard, &response));
    }
    let (body, length) =
        request_body(body, head.as_ref(), worker.options.proxy_body_size, &client.entry.buffers);
    let request =
        ProxyRequest { client: &client, route: &route, head: head.as_ref(), guard, body: Some(body), length };
    Ok(request.run().await)
}

/// Whether the announced length exceeds the limit: such a request is refused before anything is sent.
fn too_large(body: &Incoming, limit: u64) -> bool {
    limit != 0 && body.size_hint().exact().is_some_and(|length| length > limit)
}

fn request_body(
    body: Incoming,
    head: Option<&RequestHead>,
    limit: u64,
    buffers: &Rc<BufferUse>,
) -> (RequestBody, BodyLength) {
    if body.is_end_stream() {
        // An explicit `Content-Length: 0` is forwarded.
        let is_explicit = head.is_some_and(|head| head.has_length);
        return (RequestBody::none(), if is_explicit { BodyLength::Known(0) } else { BodyLength::None });
    }
    let length = body.size_hint().exact();
    let limit = if limit == 0 { u64::MAX } else { limit };
    let body = RequestBody::new(body, length.is_none(), limit, Some(BufferHold::new(buffers.clone())));
    (body, length.map_or(BodyLength::Chunked, BodyLength::Known))
}

/// The request line of an HTTP/2 request for the access log.
fn written_line(parts: &http::request::Parts) -> Bytes {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let version = if parts.version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" };
    format!("{} {target} {version}", parts.method).into()
}

/// The approximate size of an HTTP/2 head in HTTP/1 syntax; nginx counts the compressed frames.
fn head_bytes(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| name.as_str().len() as u64 + value.len() as u64 + 4).sum()
}
