//! A request to an upstream: where it is sent, its head, and the response to the client.

use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode};
use ingress_routes::access_log::ResponseSide;
use ingress_routes::plan::compression::CodingRule;
use ingress_routes::plan::fastcgi::FastCgiOptions;
use ingress_routes::plan::filter::ResponseView;
use ingress_routes::plan::head_edits::HeadEdits;
use ingress_routes::{DirectResponse, Exchange, Pool, Route};
use ingress_wire::known_header::KnownHeader;
use ingress_wire::request::Method;
use ingress_wire::response::ParsedResponse;

use crate::client::body_encoder::BodyEncoder;
use crate::client::connection::ClientConnection;
use crate::client::request::ClientResponse;
use crate::client::request_guard::RequestGuard;
use crate::client::response_body::ResponseBody;
use crate::client::response_head::{ResponseFields, WrittenHead};
use crate::exchange::connect::AttemptProtocol;
use crate::exchange::direct_response::page;
use crate::exchange::loop_detection::LOOP_ID;
use crate::upstream::error::{TimeoutKind, UpstreamError};
use crate::upstream::fastcgi_head::FastCgiHead;
use crate::upstream::request::UpstreamRequest;
use crate::upstream::request_body::RequestBody;
use crate::upstream::request_head::{self, BodyLength, UpstreamHead};

/// The purpose of a request to an endpoint.
pub(super) enum RequestPurpose {
    /// The response of the upstream.
    Upstream,
    /// The response of the default backend, because the upstream has no endpoint.
    Substitute,
    /// The page of an error, made by a default backend.
    ErrorPage {
        status: StatusCode,
        /// `WWW-Authenticate` of the response with the error.
        challenge: Option<Bytes>,
    },
}

/// A request on its way to an endpoint.
pub(crate) struct ProxyRequest<'a> {
    pub(super) client: &'a Rc<ClientConnection>,
    pub(super) route: &'a Arc<Route>,
    pub(super) guard: RequestGuard,
    /// `None` during an attempt, and if it cannot be sent again.
    pub(super) body: Option<RequestBody>,
    pub(super) length: BodyLength,
    pub(super) purpose: RequestPurpose,
    /// The endpoints when the body began to be received: a request outlives its route.
    pub(super) pool: Option<Arc<Pool>>,
    /// The first attempt at the current upstream.
    pub(super) first_attempt: usize,
}

/// The response of an endpoint, whose body has not been read.
pub(super) struct EndpointResponse {
    pub(super) request: UpstreamRequest,
    pub(super) head: Box<ParsedResponse>,
    /// The affinity cookie.
    pub(super) cookie: Option<Box<HeaderValue>>,
}

/// Why there is no response of an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptsFailed {
    /// The status of the response to the client.
    pub(super) status: StatusCode,
    /// The client is the cause: nothing more can be read of its request.
    pub(super) is_of_client: bool,
}

impl From<StatusCode> for AttemptsFailed {
    fn from(status: StatusCode) -> Self {
        Self { status, is_of_client: false }
    }
}

impl From<&UpstreamError> for AttemptsFailed {
    fn from(error: &UpstreamError) -> Self {
        let status = match error {
            UpstreamError::Closed
            | UpstreamError::Io(_)
            | UpstreamError::Reset(_)
            | UpstreamError::Invalid(_) => StatusCode::BAD_GATEWAY,
            UpstreamError::Timeout(TimeoutKind::Body) => StatusCode::REQUEST_TIMEOUT,
            UpstreamError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            UpstreamError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            UpstreamError::Client => StatusCode::BAD_REQUEST,
        };
        Self { status, is_of_client: error.is_broken_client() }
    }
}

impl<'a> ProxyRequest<'a> {
    pub(super) fn new(
        client: &'a Rc<ClientConnection>,
        route: &'a Arc<Route>,
        guard: RequestGuard,
        body: RequestBody,
        length: BodyLength,
    ) -> Self {
        let purpose = RequestPurpose::Upstream;
        Self { client, route, guard, body: Some(body), length, purpose, pool: None, first_attempt: 0 }
    }

    /// Sends the request to an endpoint of the upstream, or of the default backend that responds instead.
    pub(super) async fn send(&mut self) -> Result<EndpointResponse, AttemptsFailed> {
        let (worker, route) = (&self.client.worker, self.route);
        let upstream = route.upstream.as_ref().ok_or(StatusCode::NOT_FOUND)?;
        let choice = {
            let pools = worker.pools();
            let exchange = self.guard.exchange.as_ref().expect("set before the first attempt");
            let pages = route.plan.error_pages.as_ref();
            let backend = upstream.backend(exchange, &mut worker.balancer());
            match pages.and_then(|pages| pages.substitute(backend, &pools)) {
                Some(substitute) => {
                    self.purpose = RequestPurpose::Substitute;
                    let choice = substitute.select(exchange);
                    self.guard.default_backend = Some(substitute.name.clone());
                    choice
                }
                None => upstream.choose(exchange, &pools, &mut worker.balancer()),
            }
        };
        self.guard.canary = choice.canary.then_some(0);
        self.attempts(&choice).await
    }

    /// Responds with the page of an error: in place of an endpoint's response, or because there is none.
    pub(super) async fn answer_with_page(
        self,
        sent: Result<EndpointResponse, AttemptsFailed>,
    ) -> ClientResponse {
        match sent {
            Ok(response) => self.replace(response).await,
            Err(AttemptsFailed { status, is_of_client: true }) => {
                page(self.client, self.guard, &DirectResponse::status(status))
            }
            Err(AttemptsFailed { status, .. }) => self.respond(&DirectResponse::status(status)).await,
        }
    }

    /// The head for every endpoint, written to the empty `buffer`. `is_external`: the upstream is an ExternalName Service.
    pub(super) fn head(&self, is_external: bool, buffer: &mut BytesMut) -> Bytes {
        let Self { client, route, guard, length, .. } = self;
        let exchange = guard.exchange.as_ref().expect("set before the first attempt");
        let given = &exchange.request;
        let mut edits = HeadEdits::default();
        let settings = client.worker.settings();
        let port = client.worker.forwarded_port(exchange);
        let mut digits = itoa::Buffer::new();
        let is_of_connection = port.is_none()
            && Rc::ptr_eq(&guard.client, &client.peer_ip)
            && exchange.access_scheme() == client.scheme.as_str();
        let ends = (&*guard.client, port.unwrap_or_else(|| digits.format(client.port)));
        let mut forward = UpstreamHead::of(exchange, route, &settings.identity, ends, *length);
        forward.request_id = guard.request_id.as_bytes();
        forward.connection_lines = is_of_connection.then(|| client.forwarded_lines());
        forward.loop_id = is_external.then_some(LOOP_ID);
        forward.upgrade = self.upgrade(exchange);
        forward.is_http10 &= self.protocol() == AttemptProtocol::Http1;
        let root;
        if let RequestPurpose::ErrorPage { status, .. } = &self.purpose {
            root = root_with_query(forward.target);
            forward.target = &root;
            self.remove_fields_of_route(exchange, &mut edits);
            route.describe_error(exchange, *status, &mut edits);
            edits.set("X-Original-URI", given.target());
        } else {
            route.plan.edit_request_head(exchange, &mut edits);
            if matches!(self.purpose, RequestPurpose::Substitute) {
                route.describe_error(exchange, StatusCode::SERVICE_UNAVAILABLE, &mut edits);
            }
        }
        forward.write(given, &edits, &mut client.worker.head_writer.borrow_mut(), buffer);
        let head = request_head::take(buffer);
        match self.upstream_options().and_then(|options| options.fastcgi.as_ref()) {
            None => head,
            Some(options) => self.fastcgi_head(options, exchange, &head),
        }
    }

    /// Removes the client's fields that the endpoints of the route do not get either: a password that was checked here, forged fields about
    /// a certificate or a user. As in ingress-nginx, the page of an error is requested without the fields that the route adds.
    fn remove_fields_of_route<'e>(&'e self, exchange: &'e Exchange, edits: &mut HeadEdits<'e>) {
        let mut of_route = HeadEdits::default();
        self.route.plan.edit_request_head(exchange, &mut of_route);
        for name in of_route.replaced_names().filter(|name| !request_head::is_own(*name)) {
            edits.remove(name.as_str());
        }
    }

    /// The protocol that an endpoint may switch to. That of an error page may not.
    fn upgrade<'e>(&self, exchange: &'e Exchange) -> Option<&'e [u8]> {
        exchange.request.upgrade().filter(|_| !matches!(self.purpose, RequestPurpose::ErrorPage { .. }))
    }

    /// The beginning of a FastCGI request.
    fn fastcgi_head(&self, options: &FastCgiOptions, exchange: &Exchange, head: &[u8]) -> Bytes {
        let Self { client, route, guard, length, .. } = self;
        let head_of_application = FastCgiHead {
            exchange,
            options,
            server_name: &route.host,
            server_port: client.port,
            client: &guard.client,
            client_port: client.client.port(),
            scheme: client.scheme.as_str(),
            body: *length,
        };
        head_of_application.records(head)
    }

    /// Passes the endpoint's response on to the client.
    pub(super) fn answer(mut self, response: EndpointResponse) -> ClientResponse {
        let EndpointResponse { request, head: response, cookie } = response;
        let worker = &self.client.worker;
        if let Some(format) = &worker.settings().access_log.format {
            let head = response.head();
            self.guard.keep_fields(format, ResponseSide::Upstream, |name| {
                head.get_named(name.as_str().as_bytes()).map(|value| head.bytes().slice_ref(value))
            });
        }
        let exchange = self.guard.exchange.as_ref().expect("set before the first attempt");
        let status = status_from(&response);
        let switching = status == StatusCode::SWITCHING_PROTOCOLS;
        if switching && self.upgrade(exchange).is_none() {
            let error = "switched protocols although the client did not ask for it";
            worker.upstream_log.failed(self.guard.upstream_name(), &request.name(), &error);
            worker.memory.recycle_response(response);
            return page(self.client, self.guard, &DirectResponse::status(StatusCode::BAD_GATEWAY));
        }
        let (head, encoder) = self.head_for_client(&response, request.left(), cookie.as_deref());
        worker.memory.recycle_response(response);
        self.guard.status = status.as_u16();
        let body = match request {
            UpstreamRequest::Stream(request) if switching => ResponseBody::switched(request, self.guard),
            request => ResponseBody::endpoint(request, self.guard, encoder),
        };
        ClientResponse::new(self.client, head, body)
    }

    /// The head of an endpoint's response for the client, and what compresses the body, whose length is `left`. A function of its own, so that
    /// the large list of edits ends without being copied.
    fn head_for_client(
        &self,
        response: &ParsedResponse,
        left: Option<u64>,
        cookie: Option<&HeaderValue>,
    ) -> (WrittenHead, Option<Box<BodyEncoder>>) {
        let exchange = self.guard.exchange.as_ref().expect("set before the first attempt");
        let status = status_from(response);
        let mut edits = HeadEdits::default();
        let view = ResponseView::of_endpoint(status, response.head());
        self.route.plan.edit_response_head(exchange, &view, &mut edits);
        if let RequestPurpose::ErrorPage { challenge: Some(challenge), .. } = &self.purpose
            && !response.head().has(KnownHeader::WwwAuthenticate)
        {
            edits.append("WWW-Authenticate", &**challenge);
        }
        let encoder = self.route.plan.compression.as_ref().and_then(|compression| {
            let start = |rule: &CodingRule| match exchange.method() {
                Method::Head => Some(None),
                _ => BodyEncoder::start(rule, &self.client.worker.shared.encoders).map(Some),
            };
            compression.apply(exchange, &view, &mut edits, start).flatten()
        });
        let fields = ResponseFields {
            status,
            reason: Some(response.reason()).filter(|reason| !reason.is_empty()),
            endpoint: Some(response),
            own: &[],
            edits: &edits,
            cookie,
            passes_server: self.route.plan.heads.passes_server,
            closes: false,
        };
        let length = left.filter(|_| encoder.is_none());
        (fields.head(self.client, self.guard.traits, length), encoder)
    }
}

/// The path `/` with the query of a target.
fn root_with_query(target: &[u8]) -> Vec<u8> {
    let query = memchr::memchr(b'?', target).map_or(&b""[..], |at| &target[at..]);
    [b"/", query].concat()
}

pub(super) fn status_from(response: &ParsedResponse) -> StatusCode {
    StatusCode::from_u16(response.status()).expect("a parsed response has a status from 100 to 999")
}
