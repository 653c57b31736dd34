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

use crate::exchange::response_body::{Open, Reply};
use crate::exchange::visit::{Upgrade, Visit, close_if_last, page};
use crate::observe::access_log::Try;
use crate::upstream::error::{CallError, Wait};
use crate::upstream::request::{Call, Connection, Patience};
use crate::upstream::request_body::Upload;
use crate::upstream::request_head::{self, BodyLength, Client, Forward};
use crate::upstream::response_head;
use crate::wire::request_head::Head;

/// Everything that a request needs while endpoints are asked.
pub(crate) struct Ask<'a> {
    pub(crate) visit: &'a Rc<Visit>,
    pub(crate) route: &'a Arc<Route>,
    pub(crate) head: Option<&'a Head>,
    pub(crate) open: Open,
    pub(crate) upload: Option<Upload>,
    pub(crate) length: BodyLength,
}

impl Ask<'_> {
    /// Asks one endpoint after another until one has answered (`proxy-next-upstream`).
    pub(crate) async fn run(mut self) -> Response<Reply> {
        let worker = &self.visit.worker;
        let Some(upstream) = &self.route.upstream else {
            return page(self.visit, self.open, &DirectResponse::status(StatusCode::NOT_FOUND));
        };
        let choice = {
            let pools = worker.views.pools.load();
            let exchange = self.open.exchange.as_ref().expect("set before endpoints are asked");
            upstream.choose(exchange, &pools, &mut worker.draws())
        };
        if choice.canary {
            let is_chosen =
                |canary: &ingress_routes::upstream::Canary| std::ptr::eq(&canary.target, choice.target);
            self.open.canary = upstream.canaries.iter().position(is_chosen);
        }
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
            let upload = self.upload.take().expect("put back before another endpoint is asked");
            let patience = self.patience();
            let is_head = self.method() == Method::HEAD;
            let mut call = Call::new(connection, head.clone(), upload, is_head, patience);
            let answered = std::future::poll_fn(|cx| call.poll_head(cx, &mut headers)).await;
            let one = self.open.tries.last_mut().expect("connecting has noted it");
            let elapsed = one.started.elapsed();
            match answered {
                Ok(head) => {
                    one.header = Some(elapsed);
                    one.status = head.status;
                    return self.answer(call, head, headers, pick);
                }
                Err(error) => {
                    headers.clear();
                    one.ended = Some(elapsed);
                    status = status_of(&error);
                    one.status = status;
                    tracing::debug!(endpoint = %address, %error, "an endpoint failed");
                    let sent = !call.is_unsent();
                    self.upload = call.upload.again();
                    let next = match error {
                        CallError::Closed | CallError::Io(_) => true,
                        CallError::Timeout(wait) => wait != Wait::Body,
                        CallError::Invalid(_) | CallError::TooLarge | CallError::Client => false,
                    };
                    let once = matches!(self.method().as_str(), "POST" | "LOCK" | "PATCH");
                    if !next || sent && once || self.upload.is_none() || !self.may_ask_again() {
                        break;
                    }
                }
            }
        }
        page(self.visit, self.open, &DirectResponse::status(status))
    }

    fn method(&self) -> &Method {
        self.open.exchange.as_ref().map_or(&Method::GET, |exchange| &exchange.request.method)
    }

    fn may_ask_again(&self) -> bool {
        let most = self.visit.worker.options.proxy_next_upstream_tries as usize;
        most == 0 || self.open.tries.len() < most
    }

    /// The endpoint of the next try.
    async fn pick(
        &self,
        choice: &SelectedTarget<'_>,
        tried: &[SocketAddr],
    ) -> Option<(SocketAddr, SelectedEndpoint)> {
        let worker = &self.visit.worker;
        // Loaded for each try: an endpoint that has left in the meantime is not asked.
        let pick = choice.next_endpoint(&worker.views.pools.load(), tried, &mut worker.draws())?;
        match &pick.address {
            UpstreamAddress::Socket(address) => Some((*address, pick)),
            UpstreamAddress::Host { host, port } => {
                let addresses = worker.resolver.addresses(host, *port).await;
                let turn = worker.draws().round_robin_position(choice.target);
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
    ) -> Result<Connection, StatusCode> {
        let worker = &self.visit.worker;
        let first = self.open.tries.is_empty();
        let idle = worker.idle.take(address);
        // The clock was read when the request began; an idle connection has taken no time since.
        let started = if first && idle.is_some() { self.open.started } else { Instant::now() };
        let name =
            idle.as_ref().map_or_else(|| address.to_string().into(), |connection| connection.name.clone());
        let status = StatusCode::BAD_GATEWAY;
        let connected = idle.is_some().then_some(std::time::Duration::ZERO);
        self.open.tries.push(Try {
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
        let connecting = TcpStream::connect(address);
        let result = tokio::time::timeout(worker.options.proxy_connect_timeout, connecting).await;
        let one = self.open.tries.last_mut().expect("pushed above");
        let elapsed = one.started.elapsed();
        match result {
            Ok(Ok(stream)) => {
                one.connected = Some(elapsed);
                // Without it a request in two pieces waits for the endpoint's delayed acknowledgement.
                let _ = stream.set_nodelay(true);
                let pool =
                    matches!(pick.address, UpstreamAddress::Socket(_)).then(|| choice.target.pool.clone());
                Ok(Connection::new(stream, address, pool, one.name.clone(), worker.clock.now()))
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

    fn patience(&self) -> Patience {
        let worker = &self.visit.worker;
        let link = self.visit.turn();
        let timer = link.as_ref().map_or_else(|| worker.clock.timer(), |link| link.timer.clone());
        let stream = self.visit.link.is_none();
        Patience { clock: worker.clock.clone(), timer, link, times: worker.times(), stream }
    }

    /// The head for the endpoints; the same for each.
    fn head(&mut self) -> Bytes {
        let Self { visit, route, head, open, length, .. } = self;
        let exchange = open.exchange.as_ref().expect("set before endpoints are asked");
        let set = if route.filters.is_empty() {
            HeaderMap::new()
        } else {
            let mut set = Request::new(()).into_parts().0;
            route.apply_upstream_filters(exchange, &mut set);
            set.headers
        };
        let raw = head.map(Head::target);
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
        let forward = Forward {
            method: &exchange.request.method,
            target,
            host: set.get(HOST).map_or(authority.as_bytes(), HeaderValue::as_bytes),
            authority: authority.as_bytes(),
            request_id: open.request_id.as_bytes(),
            client: &visit.client,
            port: visit.port,
            scheme: visit.scheme.as_str(),
            body: *length,
            upgrade: visit.link.as_ref().and_then(|_| request_head::upgrade(given)),
        };
        let client = head.map_or(Client::Map, Client::Raw);
        let mut outbox = visit.worker.outbox.borrow_mut();
        forward.write(&client, given, &set, &mut outbox);
        request_head::take(&mut outbox)
    }

    /// The endpoint's response on its way to the client.
    fn answer(
        mut self,
        call: Call,
        head: response_head::Head,
        headers: HeaderMap,
        pick: Pick,
    ) -> Response<Reply> {
        let switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let exchange = self.open.exchange.as_ref().expect("set before endpoints are asked");
        if switching
            && (self.visit.link.is_none() || request_head::upgrade(&exchange.request.headers).is_none())
        {
            tracing::debug!(endpoint = %call.name(), "an endpoint changed the protocol unasked");
            return page(self.visit, self.open, &DirectResponse::status(StatusCode::BAD_GATEWAY));
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
        self.open.status = head.status.as_u16();
        if switching {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            *self.visit.upgrade.borrow_mut() = Some(Upgrade { call, open: self.open });
            return Reply::switched().under(parts);
        }
        close_if_last(self.visit, &mut parts.headers);
        Reply::endpoint(Box::new(call), self.open).under(parts)
    }
}

fn status_of(error: &CallError) -> StatusCode {
    match error {
        CallError::Closed | CallError::Io(_) | CallError::Invalid(_) => StatusCode::BAD_GATEWAY,
        CallError::Timeout(Wait::Body) => StatusCode::REQUEST_TIMEOUT,
        CallError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        CallError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        CallError::Client => StatusCode::BAD_REQUEST,
    }
}
