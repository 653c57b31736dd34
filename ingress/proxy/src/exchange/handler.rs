//! The handler of every request: finds its route, applies the filters and forwards it to an endpoint.

use std::rc::Rc;

use cluster::PathType;
use http::StatusCode;
use ingress_routes::{DirectResponse, Exchange, FilterOutcome, ProxySettings, RequestId, RequestScheme};
use ingress_wire::known_header::KnownHeader;

use crate::client::connection::ClientConnection;
use crate::client::pages;
use crate::client::request::{ClientRequest, ClientResponse, RequestHandler, body_length};
use crate::client::request_guard::RequestGuard;
use crate::client::response_head::ResponseTraits;
use crate::exchange::direct_response::page;
use crate::exchange::proxy_request::ProxyRequest;
use crate::exchange::{access, client_certificate};
use crate::io::boxed::boxed;
use crate::io::buffers::{BufferHold, BufferUse};
use crate::upstream::request_body::{RequestBody, RequestBodySource};
use crate::upstream::request_head::BodyLength;

/// Finds the route of each request, applies its filters, and forwards the request to an endpoint.
#[derive(Clone, Copy)]
pub(crate) struct ExchangeHandler;

impl RequestHandler for ExchangeHandler {
    fn handle(
        self,
        client: &Rc<ClientConnection>,
        request: ClientRequest,
    ) -> impl Future<Output = ClientResponse> {
        handle(client, request)
    }
}

/// Answers a request. Errors become error pages.
async fn handle(client: &Rc<ClientConnection>, request: ClientRequest) -> ClientResponse {
    let worker = &client.worker;
    client.requests.set(client.requests.get() + 1);
    let ClientRequest { head, body } = request;
    let given = head.as_deref().ok();
    let mut record = worker.memory.record(worker.clock.instant(), client.peer_ip.clone());
    record.head_bytes = given.map_or(0, |head| head.head().bytes().len() as u64);
    record.request_id = RequestId::of(given, || worker.random());
    record.status = pages::CLIENT_CLOSED;
    let traits = given.map_or(ResponseTraits::HTTP2, ResponseTraits::of);
    let mut guard = RequestGuard::new(record, client.clone(), traits);
    let head = match head {
        Ok(head) => head,
        Err((refusal, line)) => {
            guard.refused_line = line;
            return page(client, guard, &DirectResponse::status(pages::status_of(refusal)));
        }
    };
    let length = body_length(&head);
    match Exchange::new(head, client.peer, client.scheme) {
        // Moved into the record at once, and not again: it is large.
        Ok(exchange) => guard.exchange = Some(exchange),
        Err((error, head)) => {
            tracing::debug!(%error, client = %client.peer_ip, "a request target or host is invalid");
            guard.refused_line = head.line_bytes();
            worker.memory.recycle_request(head);
            return page(client, guard, &DirectResponse::status(StatusCode::BAD_REQUEST));
        }
    }
    let record = &mut *guard;
    let exchange = record.exchange.as_mut().expect("set above");
    let followed = &worker.options.followed;
    if followed.is_armed()
        && let Some(secret) = exchange.request.head().get(KnownHeader::XPortolanFollow)
    {
        record.followed = followed.follow(secret);
    }
    let (route, outcome, phase) = {
        let table = worker.table();
        worker.follow(&table);
        exchange.identify(&table.server().identity, client.proxied);
        exchange.geo = table.server().geo.is_enabled.then(|| worker.geo());
        let found = table.find_for(exchange);
        let covers = |host: &str| worker.views.certs.load().covers(exchange.host(), host);
        let mut found = if found.alias_of().is_some_and(|host| !covers(host)) {
            found.without_certificate()
        } else {
            found
        };
        let route = found.route();
        if !route.plan.heads.makes_request_ids {
            record.request_id.drop_own();
        }
        exchange.request_id = record.request_id.clone();
        exchange.began = worker.clock.unix_time(record.started);
        if let Some(tracing) = &route.plan.tracing {
            tracing.begin(exchange, &mut || worker.random());
        }
        // On the catch-all host the proxy answers the health check path, unless an Ingress has it as an exact path: a load
        // balancer's health checks must not depend on a default backend.
        let exact = route.ingress.is_some() && route.kind == PathType::Exact;
        let catch_all = route.host == "_" && !exact;
        if catch_all
            && client.scheme == RequestScheme::Http
            && exchange.path() == worker.options.health_check_path
        {
            record.silent = true;
            let response = FilterOutcome::respond(DirectResponse::status(StatusCode::OK));
            (worker.routes.hold(route), response, found.phase())
        } else {
            // nginx checks certificates before it chooses a host.
            let refusal = client_certificate::check(client, &found, exchange);
            let outcome = refusal.map_or_else(|| found.rewrite(exchange), FilterOutcome::respond);
            // A snippet may have changed the path, and with it the route.
            (worker.routes.hold(found.route()), outcome, found.phase())
        }
    };
    record.client = client.text_of(exchange.client_ip());
    record.route = Some(route.clone());
    let body = request_body(body, length, &route.plan.proxy, &client.entry.buffers);
    let mut request = ProxyRequest::new(client, &route, guard, body, length);
    if let FilterOutcome::Respond(response) = outcome {
        request.guard.answered_in = Some(phase);
        return request.respond(&response).await;
    }
    if !route.plan.is_open() {
        // As in nginx, limits do not count such a request, authentication servers are not asked, and there is no copy. Other routes find
        // out when they select an endpoint.
        let is_without_endpoints = |exchange: &Exchange| {
            route.is_without_endpoints(exchange, &worker.pools(), &mut worker.balancer())
        };
        if request.guard.exchange.as_ref().is_some_and(is_without_endpoints) {
            return request.respond(&DirectResponse::status(StatusCode::SERVICE_UNAVAILABLE)).await;
        }
        let request_id = request.guard.request_id.clone();
        let mut logged = Vec::new();
        let response = match &mut request.guard.exchange {
            Some(exchange) => access::check(client, &route, exchange, request_id, &mut logged).await,
            None => None,
        };
        if !logged.is_empty() {
            worker.log_subrequests(&mut request.guard, client.logged(), logged);
        }
        if let Some((phase, response)) = response {
            request.guard.answered_in = Some(phase);
            return request.respond(&response).await;
        }
    }
    if let Some(mirror) = &route.plan.mirror {
        request.mirror(&**mirror);
    }
    // The request is large: only `answer` takes it over without copying it once more.
    match request.send().await {
        Ok(response) if !request.is_replaced(&response) => request.answer(response),
        sent => boxed(|| request.answer_with_page(sent)).await,
    }
}

fn request_body(
    body: RequestBodySource,
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
