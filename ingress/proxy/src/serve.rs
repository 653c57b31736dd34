//! The way of one request: from its head to a route, to an endpoint, and back.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderValue, SET_COOKIE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::Body;
use hyper::body::Incoming;
use ingress_routes::{Answer, Choice, Endpoint, Exchange, Flow, Pick, Route, Scheme};
use smallvec::SmallVec;
use tokio::net::TcpStream;

use crate::client::head::Head;
use crate::client::io::Link;
use crate::forward::{self, BodyLength, Client, Forward};
use crate::pages;
use crate::record::{Record, RequestId, Try};
use crate::reply::{Open, Reply};
use crate::upstream::call::{Call, Connection, Patience};
use crate::upstream::error::{CallError, Wait};
use crate::upstream::response;
use crate::upstream::upload::Upload;
use crate::worker::Worker;

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
    pub(crate) requests: Cell<u32>,
    /// For HTTP/2: streams that are open.
    pub(crate) streams: Cell<u32>,
    /// What follows the response: the protocol was changed.
    pub(crate) upgrade: RefCell<Option<Upgrade>>,
}

/// A connection to an endpoint that speaks another protocol from now on.
pub(crate) struct Upgrade {
    pub(crate) call: Call,
    pub(crate) open: Open,
}

/// Everything that a request needs while endpoints are asked.
struct Ask<'a> {
    visit: &'a Rc<Visit>,
    route: &'a Arc<Route>,
    head: Option<&'a Head>,
    open: Open,
    upload: Option<Upload>,
    length: BodyLength,
}

/// Answers a request. Never fails: what goes wrong becomes a page.
pub(crate) async fn serve(
    visit: Rc<Visit>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    let started = Instant::now();
    let worker = &visit.worker;
    let head = visit.link.as_ref().and_then(|link| link.begin());
    visit.requests.set(visit.requests.get() + 1);
    let (parts, body) = request.into_parts();
    let record = Record {
        started,
        client: visit.client.clone(),
        line: head
            .as_ref()
            .map_or_else(|| written_line(&parts), |head| head.bytes.slice(..head.line().len())),
        head_bytes: head.as_ref().map_or_else(|| head_bytes(&parts.headers), |head| head.bytes.len() as u64),
        body_bytes: 0,
        exchange: None,
        route: None,
        canary: None,
        tries: SmallVec::new(),
        request_id: RequestId::of(&parts.headers, || worker.random()),
        status: pages::CLIENT_CLOSED,
        sent: 0,
        silent: false,
    };
    let mut open = Open::new(record, worker.clone(), visit.link.clone());
    let is_trace = matches!(parts.method, Method::CONNECT | Method::TRACE);
    let mut exchange = match Exchange::new(parts, visit.peer, visit.scheme) {
        Ok(_) if is_trace => return Ok(page(&visit, open, &Answer::status(StatusCode::METHOD_NOT_ALLOWED))),
        Ok(exchange) => exchange,
        Err(error) => {
            tracing::debug!(%error, client = %visit.client, "a request was refused");
            return Ok(page(&visit, open, &Answer::status(StatusCode::BAD_REQUEST)));
        }
    };
    let (route, flow) = {
        let table = worker.views.table.load();
        let found = table.find(exchange.host(), exchange.path());
        let route = found.route().clone();
        let catch_all = route.ingress.is_none() && route.host == "_";
        if catch_all && visit.scheme == Scheme::Http && exchange.path() == worker.options.health_check_path {
            open.silent = true;
            (route, Flow::Answer(Answer::status(StatusCode::OK)))
        } else if too_large(&body, worker.options.proxy_body_size) {
            (route, Flow::Answer(Answer::status(StatusCode::PAYLOAD_TOO_LARGE)))
        } else {
            let flow = found.admit(&mut exchange);
            (route, flow)
        }
    };
    open.route = Some(route.clone());
    open.exchange = Some(exchange);
    if let Flow::Answer(answer) = flow {
        return Ok(page(&visit, open, &answer));
    }
    let (upload, length) = upload(body, head.as_ref(), worker.options.proxy_body_size);
    let ask = Ask { visit: &visit, route: &route, head: head.as_ref(), open, upload: Some(upload), length };
    Ok(ask.run().await)
}

impl Ask<'_> {
    /// Asks one endpoint after another until one has answered (`proxy-next-upstream`).
    async fn run(mut self) -> Response<Reply> {
        let worker = &self.visit.worker;
        let Some(upstream) = &self.route.upstream else {
            return page(self.visit, self.open, &Answer::status(StatusCode::NOT_FOUND));
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
        let mut status = StatusCode::SERVICE_UNAVAILABLE;
        let mut headers = worker.map();
        loop {
            let Some((address, pick)) = self.pick(&choice, &tried).await else { break };
            tried.push(address);
            let connection = match self.connect(address, &choice).await {
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
        page(self.visit, self.open, &Answer::status(status))
    }

    fn method(&self) -> &Method {
        self.open.exchange.as_ref().map_or(&Method::GET, |exchange| &exchange.request.method)
    }

    fn may_ask_again(&self) -> bool {
        let most = self.visit.worker.options.proxy_next_upstream_tries as usize;
        most == 0 || self.open.tries.len() < most
    }

    /// The endpoint of the next try.
    async fn pick(&self, choice: &Choice<'_>, tried: &[SocketAddr]) -> Option<(SocketAddr, Pick)> {
        let worker = &self.visit.worker;
        // Loaded for each try: an endpoint that has left in the meantime is not asked.
        let pick = choice.endpoint(&worker.views.pools.load(), tried, &mut worker.draws())?;
        match &pick.endpoint {
            Endpoint::Address(address) => Some((*address, pick)),
            Endpoint::Name { host, port } => {
                let addresses = worker.resolver.addresses(host, *port).await;
                let next = addresses.iter().find(|address| !tried.contains(address)).or(addresses.first());
                next.copied().map(|address| (address, pick))
            }
        }
    }

    /// An idle connection, or a new one. The try is noted either way.
    async fn connect(&mut self, address: SocketAddr, choice: &Choice<'_>) -> Result<Connection, StatusCode> {
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
                let pool = choice.target.pool.clone();
                let named =
                    worker.views.pools.load().get(&pool).is_some_and(|pool| pool.endpoints().is_empty());
                worker.settle(address, (!named).then_some(&pool));
                Ok(Connection::new(stream, address, one.name.clone(), worker.clock.now()))
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
        let link = self.visit.link.clone();
        let timer = link.as_ref().map_or_else(|| worker.clock.timer(), |link| link.timer.clone());
        Patience { clock: worker.clock.clone(), timer, link, times: worker.times() }
    }

    /// The head for the endpoints; the same for each.
    fn head(&mut self) -> Bytes {
        let Self { visit, route, head, open, length, .. } = self;
        let exchange = open.exchange.as_ref().expect("set before endpoints are asked");
        let set = if route.filters.is_empty() {
            HeaderMap::new()
        } else {
            let mut set = Request::new(()).into_parts().0;
            route.upstream(exchange, &mut set);
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
            upgrade: visit.link.as_ref().and_then(|_| forward::upgrade(given)),
        };
        let client = head.map_or(Client::Map, Client::Raw);
        let mut outbox = visit.worker.outbox.borrow_mut();
        forward.write(&client, given, &set, &mut outbox);
        forward::take(&mut outbox)
    }

    /// The endpoint's response on its way to the client.
    fn answer(mut self, call: Call, head: response::Head, headers: HeaderMap, pick: Pick) -> Response<Reply> {
        let switching = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let exchange = self.open.exchange.as_ref().expect("set before endpoints are asked");
        if switching && (self.visit.link.is_none() || forward::upgrade(&exchange.request.headers).is_none()) {
            tracing::debug!(endpoint = %call.name(), "an endpoint changed the protocol unasked");
            return page(self.visit, self.open, &Answer::status(StatusCode::BAD_GATEWAY));
        }
        let mut parts = Response::new(()).into_parts().0;
        parts.status = head.status;
        parts.headers = headers;
        if let Some(cookie) = pick.cookie {
            parts.headers.append(SET_COOKIE, cookie);
        }
        self.route.response(exchange, &mut parts);
        self.open.status = head.status.as_u16();
        if switching {
            parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            *self.visit.upgrade.borrow_mut() = Some(Upgrade { call, open: self.open });
            return Response::from_parts(parts, Reply::switched());
        }
        close_if_last(self.visit, &mut parts.headers);
        Response::from_parts(parts, Reply::endpoint(Box::new(call), self.open))
    }
}

/// A page of the proxy's own. Filters have their look at it as at any other answer.
fn page(visit: &Visit, mut open: Open, answer: &Answer) -> Response<Reply> {
    let mut parts = answer.head();
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
        route.response(exchange, &mut parts);
    }
    if visit.link.is_some() && answer.status == StatusCode::BAD_REQUEST {
        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    close_if_last(visit, &mut parts.headers);
    let is_head = open.exchange.as_ref().is_some_and(|exchange| exchange.request.method == Method::HEAD);
    if is_head && !body.is_empty() {
        parts.headers.insert(http::header::CONTENT_LENGTH, body.len().into());
        return Response::from_parts(parts, Reply::nothing(open));
    }
    Response::from_parts(parts, Reply::page(body, open))
}

/// Says so when this response is the last on its connection (`keep-alive-requests`, or the proxy stops).
fn close_if_last(visit: &Visit, headers: &mut HeaderMap) {
    let worker = &visit.worker;
    let worn = visit.requests.get() >= worker.options.keep_alive_requests;
    if visit.link.is_some() && (worn || worker.is_stopping() || worker.options.keep_alive.is_zero()) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
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

/// By Content-Length, before anything is sent (reference §3.12).
fn too_large(body: &Incoming, limit: u64) -> bool {
    limit != 0 && body.size_hint().exact().is_some_and(|length| length > limit)
}

fn upload(body: Incoming, head: Option<&Head>, limit: u64) -> (Upload, BodyLength) {
    if body.is_end_stream() {
        // A length of zero that the client has said is passed on.
        let said = head.is_some_and(|head| head.says_length);
        return (Upload::none(), if said { BodyLength::Known(0) } else { BodyLength::None });
    }
    let length = body.size_hint().exact();
    let limit = if limit == 0 { u64::MAX } else { limit };
    let upload = Upload::new(body, length.is_none(), limit);
    (upload, length.map_or(BodyLength::Chunked, BodyLength::Known))
}

/// The request line of a request that came by HTTP/2.
fn written_line(parts: &http::request::Parts) -> Bytes {
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let version = if parts.version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" };
    format!("{} {target} {version}", parts.method).into()
}

/// About what a head of HTTP/2 would be in HTTP/1; nginx counts the compressed frames.
fn head_bytes(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| name.as_str().len() as u64 + value.len() as u64 + 4).sum()
}
