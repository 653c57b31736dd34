//! The handler of every request: finds its route, applies the filters and forwards it to an endpoint.

use std::rc::Rc;

use bytes::Bytes;
use cluster::PathType;
use http::{HeaderMap, Response, StatusCode, Version};
use ingress_routes::{DirectResponse, Exchange, FilterOutcome, ProxySettings, RequestScheme};
use ingress_wire::request_head::check_h2_within;
use smallvec::SmallVec;

use crate::client::connection::ClientConnection;
use crate::client::pages;
use crate::client::request::{ClientRequest, RequestHandler};
use crate::client::request_guard::RequestGuard;
use crate::client::response_body::ResponseBody;
use crate::exchange::access;
use crate::exchange::direct_response::page;
use crate::exchange::proxy_request::ProxyRequest;
use crate::io::buffers::{BufferHold, BufferUse};
use crate::observe::access_log::{AccessRecord, RequestId};
use crate::upstream::request_body::{BodySource, RequestBody};
use crate::upstream::request_head::BodyLength;

/// Finds the route of each request, applies its filters, and forwards the request to an endpoint.
#[derive(Clone, Copy)]
pub(crate) struct Exchanges;

impl RequestHandler for Exchanges {
    async fn handle(self, client: &Rc<ClientConnection>, request: ClientRequest) -> Response<ResponseBody> {
        handle(client, request).await
    }
}

/// Answers a request. Errors become error pages.
async fn handle(client: &Rc<ClientConnection>, request: ClientRequest) -> Response<ResponseBody> {
    let worker = &client.worker;
    client.requests.set(client.requests.get() + 1);
    let length = request.length();
    let ClientRequest { parts, head, body } = request;
    let record = AccessRecord {
        started: worker.clock.instant(),
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
    let mut guard = RequestGuard::new(record, client.clone());
    // The head of an HTTP/1 request was checked when it was read.
    let limits = worker.head_limits();
    let result = if head.is_none() { check_h2_within(&parts, &limits) } else { Ok(()) };
    if let Err(error) = result {
        return page(client, guard, &DirectResponse::status(pages::status_of(error)));
    }
    let mut exchange = match Exchange::new(parts, client.peer, client.scheme) {
        Ok(exchange) => exchange,
        Err(error) => {
            tracing::debug!(%error, client = %client.peer_ip, "a request target or host is invalid");
            return page(client, guard, &DirectResponse::status(StatusCode::BAD_REQUEST));
        }
    };
    let (route, outcome) = {
        let table = worker.views.table.load();
        worker.follow(&table);
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
        } else if too_large(length, route.plan.proxy.body_size) {
            (route, FilterOutcome::Respond(DirectResponse::status(StatusCode::PAYLOAD_TOO_LARGE)))
        } else {
            let outcome = found.rewrite(&mut exchange);
            (route, outcome)
        }
    };
    if !route.plan.heads.makes_request_ids {
        guard.request_id.drop_own();
    }
    guard.route = Some(route.clone());
    guard.exchange = Some(exchange);
    if let FilterOutcome::Respond(response) = outcome {
        return page(client, guard, &response);
    }
    if let Some(exchange) = &mut guard.exchange
        && !route.plan.is_open()
        && let Some(response) = access::check(client, &route, exchange).await
    {
        return page(client, guard, &response);
    }
    let body = request_body(body, length, &route.plan.proxy, &client.entry.buffers);
    let request =
        ProxyRequest { client, route: &route, head: head.as_ref(), guard, body: Some(body), length };
    request.run().await
}

/// Whether the announced length exceeds the limit: such a request is refused before anything is sent.
fn too_large(length: BodyLength, limit: u64) -> bool {
    limit != 0 && matches!(length, BodyLength::Known(length) if length > limit)
}

fn request_body(
    body: BodySource,
    length: BodyLength,
    settings: &ProxySettings,
    buffers: &Rc<BufferUse>,
) -> RequestBody {
    if matches!(length, BodyLength::None | BodyLength::Known(0)) {
        return RequestBody::none();
    }
    let limit = if settings.body_size == 0 { u64::MAX } else { settings.body_size };
    let body =
        RequestBody::new(body, length == BodyLength::Chunked, limit, Some(BufferHold::new(buffers.clone())));
    body.keeping(settings.body_buffer)
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
