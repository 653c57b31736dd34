//! Asking endpoints, one after another, until one has answered.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use hyper::ext::ReasonPhrase;
use ingress_routes::upstream::round_robin;
use ingress_routes::{
    BalancerState, DEFAULT_UPSTREAM, DirectResponse, Route, SelectedEndpoint, SelectedTarget, UpstreamAddress,
};
use smallvec::SmallVec;
use tokio::net::TcpStream;

use crate::client::connection::{ClientConnection, Upgrade};
use crate::client::request_guard::RequestGuard;
use crate::exchange::direct_response::{close_if_last, page};
use crate::exchange::response_body::ResponseBody;
use crate::observe::access_log::Attempt;
use crate::upstream::connection::UpstreamConnection;
use crate::upstream::error::{TimeoutKind, UpstreamError};
use crate::upstream::request::{UpstreamRequest, UpstreamTimer};
use crate::upstream::request_body::RequestBody;
use crate::upstream::request_head::{self, BodyLength, ClientHeaders, UpstreamHead};
use crate::upstream::response_head;
use crate::wire::request_head::RequestHead;

/// Everything that a request needs while endpoints are asked.
pub(crate) struct ProxyRequest<'a> {
    pub(crate) client: &'a Rc<ClientConnection>,
    pub(crate) route: &'a Arc<Route>,
    pub(crate) head: Option<&'a RequestHead>,
    pub(crate) guard: RequestGuard,
    pub(crate) body: Option<RequestBody>,
    pub(crate) length: BodyLength,
}

impl ProxyRequest<'_> {
    /// Asks one endpoint after another until one has answered (`proxy-next-upstream`).
    pub(crate) async fn run(mut self) -> Response<ResponseBody> {
        let worker = &self.client.worker;
        let Some(upstream) = &self.route.upstream else {
            return page(self.client, self.guard, &DirectResponse::status(StatusCode::NOT_FOUND));
        };
        let choice = {
            let pools = worker.views.pools.load();
            let exchange = self.guard.exchange.as_ref().expect("set before endpoints are asked");
            upstream.choose(exchange, &pools, &mut worker.balancer())
        };
        self.guard.canary = choice.canary.then_some(0);
        let head = self.head();
        let mut tried = SmallVec::<[SocketAddr; 3]>::new();
        // What is said when there is no endpoint. A default backend without any is replaced by the built-in page.
        let mut status = match self.route.upstream_name() {
            DEFAULT_UPSTREAM => StatusCode::NOT_FOUND,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut headers = worker.map();
        loop {
            let Some((address, pick)) = self.pick(&choice, &tried).await else { break };
            tried.push(address);
            let connection = match self.connect(address, &choice, &pick).await {
                Ok(connection) => connection,
                Err(failed) => {
                    status = failed;
                    if self.may_ask_again() {
                        continue;
                    }
                    break;
                }
            };
            let body = self.body.take().expect("put back before another endpoint is asked");
            let timer = self.timer();
            let is_head = self.method() == Method::HEAD;
            let mut request = UpstreamRequest::new(connection, head.clone(), body, is_head, timer);
            let answered = std::future::poll_fn(|cx| request.poll_head(cx, &mut headers)).await;
            let one = self.guard.attempts.last_mut().expect("connecting has noted it");
            let elapsed = one.started.elapsed();
            match answered {
                Ok(head) => {
                    one.header = Some(elapsed);
                    one.status = head.status;
                    return self.answer(request, head, headers, pick);
                }
                Err(error) => {
                    headers.clear();
                    one.ended = Some(elapsed);
                    status = status_of(&error);
                    one.status = status;
                    tracing::debug!(endpoint = %address, %error, "an endpoint failed");
                    let sent = !request.is_unsent();
                    self.body = request.body.again();
                    let next = match error {
                        UpstreamError::Closed | UpstreamError::Io(_) => true,
                        UpstreamError::Timeout(wait) => wait != TimeoutKind::Body,
                        UpstreamError::Invalid(_) | UpstreamError::TooLarge | UpstreamError::Client => false,
                    };
                    let once = matches!(self.method().as_str(), "POST" | "LOCK" | "PATCH");
                    if !next || sent && once || self.body.is_none() || !self.may_ask_again() {
                        break;
                    }
                }
            }
        }
        page(self.client, self.guard, &DirectResponse::status(status))
    }

    fn method(&self) -> &Method {
        self.guard.exchange.as_ref().map_or(&Method::GET, |exchange| &exchange.request.method)
    }

    fn may_ask_again(&self) -> bool {
        let most = self.client.worker.options.proxy_next_upstream_tries as usize;
        most == 0 || self.guard.attempts.len() < most
    }

    /// The endpoint of the next try.
    async fn pick(
        &self,
        choice: &SelectedTarget<'_>,
        tried: &[SocketAddr],
    ) -> Option<(SocketAddr, SelectedEndpoint)> {
        let worker = &self.client.worker;
        // Loaded for each try: an endpoint that has left in the meantime is not asked.
        let pick = choice.next_endpoint(&worker.views.pools.load(), tried, &mut worker.balancer())?;
        match &pick.address {
            UpstreamAddress::Socket(address) => Some((*address, pick)),
            UpstreamAddress::Host { host, port } => {
                let addresses = worker.resolver.addresses(host, *port).await;
                let turn = worker.balancer().round_robin_position(choice.target);
                round_robin(&addresses, tried, turn).map(|address| (address, pick))
            }
        }
    }

    /// An idle connection, or a new one. The try is noted either way.
    async fn connect(
        &mut self,
        address: SocketAddr,
        choice: &SelectedTarget<'_>,
        pick: &SelectedEndpoint,
    ) -> Result<UpstreamConnection, StatusCode> {
        let worker = &self.client.worker;
        let first = self.guard.attempts.is_empty();
        let idle = worker.connection_pool.take(address);
        // The clock was read when the request began; an idle connection has taken no time since.
        let started = if first && idle.is_some() { self.guard.started } else { Instant::now() };
        let name =
            idle.as_ref().map_or_else(|| address.to_string().into(), |connection| connection.name.clone());
        let status = StatusCode::BAD_GATEWAY;
        let connected = idle.is_some().then_some(std::time::Duration::ZERO);
        self.guard.attempts.push(Attempt {
            name,
            started,
            connected,
            header: None,
            ended: None,
            received: 0,
            status,
        });
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let timeout = worker.options.proxy_connect_timeout;
        let slot = worker.upstreams.acquire(address, &worker.connection_pool, timeout, &worker.limits).await;
        if slot.is_none() {
            tracing::debug!(endpoint = %address, "no more connections to endpoints may be opened");
            let one = self.guard.attempts.last_mut().expect("pushed above");
            one.ended = Some(one.started.elapsed());
            return Err(status);
        }
        let connecting = TcpStream::connect(address);
        let result = tokio::time::timeout(timeout, connecting).await;
        let one = self.guard.attempts.last_mut().expect("pushed above");
        let elapsed = one.started.elapsed();
        match result {
            Ok(Ok(stream)) => {
                one.connected = Some(elapsed);
                // Without it a request in two pieces waits for the endpoint's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                let pool =
                    matches!(pick.address, UpstreamAddress::Socket(_)).then(|| choice.target.pool.clone());
                let (name, now) = (one.name.clone(), worker.clock.now());
                let mut connection = UpstreamConnection::new(stream, address, pool, name, now);
                connection.slot = slot;
                Ok(connection)
            }
            Ok(Err(error)) => {
                tracing::debug!(endpoint = %address, %error, "an endpoint cannot be reached");
                one.ended = Some(elapsed);
                Err(one.status)
            }
            Err(_) => {
                one.ended = Some(elapsed);
                one.status = StatusCode::GATEWAY_TIMEOUT;
                Err(one.status)
            }
        }
    }

    fn timer(&self) -> UpstreamTimer {
        let worker = &self.client.worker;
        let (clock, timer) = (worker.clock.clone(), self.client.timer());
        let is_stream = self.client.state.is_none();
        UpstreamTimer { clock, timer, timeouts: worker.timeouts(), is_stream }
    }

    /// The head for the endpoints; the same for each.
    fn head(&mut self) -> Bytes {
        let Self { client, route, head, guard, length, .. } = self;
        let exchange = guard.exchange.as_ref().expect("set before endpoints are asked");
        let set = if route.filters.is_empty() {
            HeaderMap::new()
        } else {
            let mut set = Request::new(()).into_parts().0;
            route.apply_upstream_filters(exchange, &mut set);
            set.headers
        };
        let raw = head.map(RequestHead::target);
        let target = match (&exchange.target, &raw) {
            (Some(rewritten), _) => rewritten.as_bytes(),
            (None, Some(raw)) => raw,
            (None, None) => exchange.request_target().as_bytes(),
        };
        let authority = match exchange.authority() {
            "" => "_",
            authority => authority,
        };
        let given = &exchange.request.headers;
        let forward = UpstreamHead {
            method: &exchange.request.method,
            target,
            host: set.get(HOST).map_or(authority.as_bytes(), HeaderValue::as_bytes),
            authority: authority.as_bytes(),
            request_id: guard.request_id.as_bytes(),
            client: &client.peer_ip,
            port: client.port,
            scheme: client.scheme.as_str(),
            body: *length,
            upgrade: client.state.as_ref().and_then(|_| request_head::upgrade(given)),
        };
        let headers = head.map_or(ClientHeaders::Map, ClientHeaders::Raw);
        let mut send_buffer = client.worker.send_buffer.borrow_mut();
        forward.write(&headers, given, &set, &mut send_buffer);
        request_head::take(&mut send_buffer)
    }

    /// The endpoint's response on its way to the client.
    fn answer(
        mut self,
        request: UpstreamRequest,
        head: response_head::ResponseHead,
        headers: HeaderMap,
        pick: SelectedEndpoint,
    ) -> Response<ResponseBody> {
        let switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let exchange = self.guard.exchange.as_ref().expect("set before endpoints are asked");
        if switching
            && (self.client.state.is_none() || request_head::upgrade(&exchange.request.headers).is_none())
        {
            tracing::debug!(endpoint = %request.name(), "an endpoint changed the protocol unasked");
            return page(self.client, self.guard, &DirectResponse::status(StatusCode::BAD_GATEWAY));
        }
        let mut parts = Response::new(()).into_parts().0;
        parts.status = head.status;
        if let Some(reason) = head.reason.and_then(|reason| ReasonPhrase::try_from(reason).ok()) {
            parts.extensions.insert(reason);
        }
        parts.headers = headers;
        if let Some(cookie) = pick.cookie {
            parts.headers.append(SET_COOKIE, cookie);
        }
        self.route.apply_response_filters(exchange, &mut parts);
        self.guard.status = head.status.as_u16();
        if switching {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            *self.client.upgrade.borrow_mut() = Some(Upgrade { request, guard: self.guard });
            return ResponseBody::switched().under(parts);
        }
        close_if_last(self.client, &mut parts.headers);
        ResponseBody::endpoint(Box::new(request), self.guard).under(parts)
    }
}

fn status_of(error: &UpstreamError) -> StatusCode {
    match error {
        UpstreamError::Closed | UpstreamError::Io(_) | UpstreamError::Invalid(_) => StatusCode::BAD_GATEWAY,
        UpstreamError::Timeout(TimeoutKind::Body) => StatusCode::REQUEST_TIMEOUT,
        UpstreamError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        UpstreamError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        UpstreamError::Client => StatusCode::BAD_REQUEST,
    }
}
