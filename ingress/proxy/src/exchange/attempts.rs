//! Attempts of a request at one endpoint after another until one has answered.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version};
use ingress_routes::plan::upstream_options::UpstreamOptions;
use ingress_routes::upstream::round_robin;
use ingress_routes::{
    BalancerState, DEFAULT_UPSTREAM, RetryCondition, SelectedEndpoint, SelectedTarget, UpstreamAddress,
};
use ingress_wire::framing::list_members;
use ingress_wire::known_header::KnownHeader;
use ingress_wire::request::Method;
use smallvec::SmallVec;

use crate::exchange::connect::{AttemptConnection, AttemptProtocol};
use crate::exchange::loop_detection::{MAX_PASSES, passes};
use crate::exchange::open::ConnectError;
use crate::exchange::proxy_request::{
    AttemptsFailed, EndpointResponse, ProxyRequest, RequestPurpose, status_from,
};
use crate::observe::access_log::Attempt;
use crate::upstream::connection::ConnectionKey;
use crate::upstream::error::UpstreamError;
use crate::upstream::request_body::BodyEncoding;
use crate::upstream::request_head::BodyLength;
use crate::upstream::request_traits::RequestTraits;
use crate::upstream::timer::UpstreamTimer;

/// How many attempts a request may have where `proxy-next-upstream-tries` sets no limit.
const MAX_ATTEMPTS: usize = 100;

/// The endpoint of one attempt.
struct PickedEndpoint {
    address: SocketAddr,
    /// Of an ExternalName Service.
    is_external: bool,
    /// As in [`SelectedEndpoint`].
    cookie: Option<Box<HeaderValue>>,
}

/// The failure of a request to an upstream without endpoints. The built-in page replaces a default backend without endpoints.
fn without_endpoint(choice: &SelectedTarget<'_>) -> AttemptsFailed {
    AttemptsFailed::from(match &*choice.target.name {
        DEFAULT_UPSTREAM => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    })
}

impl<'a> ProxyRequest<'a> {
    /// Sends the request to one endpoint after another until one has answered (`proxy-next-upstream`).
    pub(super) async fn attempts(
        &mut self,
        choice: &SelectedTarget<'_>,
    ) -> Result<EndpointResponse, AttemptsFailed> {
        let worker = &self.client.worker;
        self.prepare_body(choice).await?;
        let traits = self.traits();
        let (mut head, mut buffer) = (None, worker.memory.head_buffer());
        let mut response = worker.memory.response();
        let mut tried = SmallVec::<[SocketAddr; 3]>::new();
        // Attempts that do not count because the endpoint had closed the kept connection.
        let mut stale = 0;
        let mut failed = without_endpoint(choice);
        // The endpoint of the next attempt, if it is known already.
        let mut next = None;
        loop {
            let picked = match next.take() {
                None => self.pick(choice, &tried).await,
                picked => picked,
            };
            let Some(PickedEndpoint { address, is_external, cookie }) = picked else { break };
            tried.push(address);
            if is_external && self.passes() >= MAX_PASSES {
                let error = "the request loops: it has come back through an ExternalName Service too often";
                worker.upstream_log.failed(&choice.target.name, &address, &error);
                failed = StatusCode::LOOP_DETECTED.into();
                break;
            }
            let connection = match self.connect(address, choice, is_external).await {
                Ok(connection) => connection,
                Err(error) => {
                    worker.upstream_log.failed(&choice.target.name, &address, &error);
                    failed = error.status().into();
                    if self.retries(error.retry_condition()) && self.may_try_again(stale) {
                        continue;
                    }
                    break;
                }
            };
            let is_reused = connection.is_reused();
            let body = self.body.take().expect("put back before the next attempt");
            let timer = self.timer();
            let bytes: &Bytes = head.get_or_insert_with(|| self.head(is_external, &mut buffer));
            let buffers = &self.client.entry.buffers;
            let mut request = connection.request(bytes.clone(), body, traits, timer, buffers);
            self.client.after_others().await;
            let result = std::future::poll_fn(|cx| request.poll_head(cx, &mut response)).await;
            let attempt = self.guard.attempts.last_mut().expect("recorded by connect");
            let elapsed = worker.clock.instant().saturating_duration_since(attempt.started);
            let Err(error) = result else {
                attempt.header = Some(elapsed);
                let received = status_from(&response);
                attempt.status = Some(received);
                if self.retries_status(received, traits)
                    && request.body().is_kept()
                    && self.may_try_again(stale)
                {
                    // Without another endpoint the client gets this response.
                    next = self.pick(choice, &tried).await;
                }
                if next.is_none() {
                    worker.memory.recycle_head_buffer(buffer, head);
                    return Ok(EndpointResponse { request, head: response, cookie });
                }
                if let Some(attempt) = self.guard.attempts.last_mut() {
                    attempt.ended = Some(elapsed);
                }
                response.clear();
                self.body = request.into_body().restart();
                continue;
            };
            response.clear();
            attempt.ended = Some(elapsed);
            failed = AttemptsFailed::from(&error);
            attempt.status = (!error.is_of_client()).then_some(failed.status);
            let is_sent = !request.is_unsent();
            self.body = request.into_body().restart();
            // The endpoint may have closed a kept connection just before it was used: as in nginx, such an attempt does not
            // count.
            let is_stale = is_reused && matches!(error, UpstreamError::Closed | UpstreamError::Io(_));
            if is_stale {
                stale += 1;
                tried.pop();
            } else if !error.is_of_client() {
                worker.upstream_log.failed(&choice.target.name, &address, &error);
            }
            let is_possible = !(is_sent && traits.is_once) && self.body.is_some();
            let is_allowed = error.retry_condition().is_some_and(|condition| self.retries(condition));
            if !is_allowed || !is_possible || !self.may_try_again(stale) {
                break;
            }
        }
        worker.memory.recycle_response(response);
        Err(failed)
    }

    /// Receives the body first, where that is so, and sets its encoding for the endpoints of this upstream: the page of an error is
    /// requested over HTTP/1, whatever the others speak.
    async fn prepare_body(&mut self, choice: &SelectedTarget<'_>) -> Result<(), AttemptsFailed> {
        let protocol = self.protocol();
        self.receive_body(protocol, choice).await?;
        let is_chunked = self.length == BodyLength::Chunked;
        let needs_length = match protocol {
            AttemptProtocol::Http1 => self.route.plan.proxy.http_version == Version::HTTP_10,
            AttemptProtocol::Http2 => false,
            AttemptProtocol::FastCgi => true,
        };
        if needs_length && is_chunked {
            return Err(StatusCode::LENGTH_REQUIRED.into());
        }
        let encoding = match protocol {
            AttemptProtocol::Http1 if is_chunked => BodyEncoding::Chunked,
            AttemptProtocol::Http1 | AttemptProtocol::Http2 => BodyEncoding::Plain,
            AttemptProtocol::FastCgi => BodyEncoding::FastCgi,
        };
        self.body = self.body.take().map(|body| body.encoded(encoding));
        Ok(())
    }

    fn method(&self) -> Method {
        self.guard.exchange.as_ref().map_or(Method::Get, |exchange| exchange.method())
    }

    fn traits(&self) -> RequestTraits {
        let settings = &self.route.plan.proxy;
        let is_idempotent = !matches!(self.method(), Method::Post | Method::Lock | Method::Patch);
        let is_unbuffered = !settings.request_buffering && self.length != BodyLength::None;
        let is_once = !is_idempotent && !settings.next_upstream.has(RetryCondition::NonIdempotent);
        // The page of an error gets the body, too.
        let has_pages = self.route.plan.error_pages.as_ref().is_some_and(|pages| pages.is_active());
        RequestTraits {
            is_head: self.method() == Method::Head,
            is_once: is_once || is_unbuffered,
            forgets_body: is_unbuffered || is_once && !has_pages,
            head_limit: usize::try_from(settings.head_size).unwrap_or(usize::MAX),
        }
    }

    /// Whether `proxy-next-upstream` names this failure.
    fn retries(&self, condition: RetryCondition) -> bool {
        self.route.plan.proxy.next_upstream.has(condition)
    }

    /// Whether it names this status, and the request may be sent twice.
    fn retries_status(&self, status: StatusCode, traits: RequestTraits) -> bool {
        self.route.plan.proxy.next_upstream.has_status(status) && !traits.is_once
    }

    /// Whether neither `proxy-next-upstream-tries` nor `proxy-next-upstream-timeout` is reached.
    fn may_try_again(&self, stale: usize) -> bool {
        let settings = &self.route.plan.proxy;
        let limit = match settings.next_upstream_tries as usize {
            0 => MAX_ATTEMPTS,
            limit => limit,
        };
        let attempts = self.guard.attempts.get(self.first_attempt..).unwrap_or_default();
        let is_late = |first: &Attempt| {
            let elapsed = self.client.worker.clock.instant().saturating_duration_since(first.started);
            elapsed >= settings.next_upstream_timeout
        };
        let is_over = !settings.next_upstream_timeout.is_zero() && attempts.first().is_some_and(is_late);
        attempts.len() < limit.saturating_add(stale) && !is_over
    }

    /// How often the request has passed through here.
    fn passes(&self) -> usize {
        let Some(exchange) = &self.guard.exchange else { return 0 };
        passes(list_members(exchange.request.head(), KnownHeader::CdnLoop))
    }

    /// The endpoint of the next attempt. `None` without one, and with `proxy-next-upstream-tries: 0` if each was tried.
    async fn pick(&self, choice: &SelectedTarget<'_>, tried: &[SocketAddr]) -> Option<PickedEndpoint> {
        let SelectedEndpoint { address, cookie } = self.select(choice, tried)?;
        let (address, is_external) = match address {
            UpstreamAddress::Socket(address) => (address, false),
            UpstreamAddress::Host { host, port } => (self.resolve(choice, &host, port, tried).await?, true),
        };
        let is_limited = self.route.plan.proxy.next_upstream_tries > 0;
        let is_allowed = is_limited || !tried.contains(&address);
        is_allowed.then(|| PickedEndpoint { address, is_external, cookie })
    }

    /// The next endpoint of the pool. The pool is looked up for each attempt, so that endpoints removed in the meantime are not used.
    fn select(&self, choice: &SelectedTarget<'_>, tried: &[SocketAddr]) -> Option<SelectedEndpoint> {
        let worker = &self.client.worker;
        let pools = worker.pools();
        let pool = pools.get(&choice.target.pool).or(self.pool.as_ref())?;
        choice.next_of_pool(pool, tried, &mut worker.balancer())
    }

    /// The next address of an ExternalName Service.
    async fn resolve(
        &self,
        choice: &SelectedTarget<'_>,
        host: &str,
        port: u16,
        tried: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let worker = &self.client.worker;
        match worker.resolver.addresses(host, port, false).await {
            Ok(addresses) => {
                round_robin(&addresses, tried, worker.balancer().round_robin_position(choice.target))
            }
            Err(error) => {
                worker.upstream_log.failed(&choice.target.name, &host, &error);
                None
            }
        }
    }

    /// A kept connection or a new one. Records the attempt.
    async fn connect(
        &mut self,
        address: SocketAddr,
        choice: &SelectedTarget<'_>,
        is_external: bool,
    ) -> Result<AttemptConnection, ConnectError> {
        let worker = &self.client.worker;
        let first = self.guard.attempts.is_empty();
        let tls = self.upstream_options().and_then(|upstream| upstream.tls(self.client.scheme));
        let key = ConnectionKey { address, tls: tls.cloned() };
        let kept = AttemptConnection::kept(worker, &key, self.protocol());
        // Avoids reading the clock again where nothing was waited for: no connection, no body, no access rule.
        let is_at_once = kept.is_some() && self.length == BodyLength::None && self.route.plan.is_open();
        let started = if first && is_at_once { self.guard.started } else { worker.clock.instant() };
        let name =
            kept.as_ref().map_or_else(|| address.to_string().into(), |connection| connection.name().clone());
        let follows_redirect = self.first_attempt > 0 && self.first_attempt == self.guard.attempts.len();
        self.guard.attempts.push(Attempt {
            name,
            follows_redirect,
            started,
            connected: kept.is_some().then_some(Duration::ZERO),
            header: None,
            ended: None,
            received: 0,
            status: None,
        });
        if let Some(connection) = kept {
            return Ok(connection);
        }
        let pool = (!is_external).then(|| choice.target.pool.clone());
        let name = self.guard.attempts.last().map_or_else(Default::default, |attempt| attempt.name.clone());
        let (protocol, timeout) = (self.protocol(), self.route.plan.proxy.connect_timeout);
        let result = AttemptConnection::open(worker, key, protocol, (pool, name), timeout).await;
        let attempt = self.guard.attempts.last_mut().expect("pushed above");
        let elapsed = worker.clock.instant().saturating_duration_since(attempt.started);
        let connection = result.inspect_err(|error| {
            attempt.ended = Some(elapsed);
            attempt.status = Some(error.status());
        })?;
        attempt.connected = Some(elapsed);
        Ok(connection)
    }

    /// How the endpoints are spoken to. `None` for plain HTTP, which pages of errors are always requested with, as in ingress-nginx.
    pub(super) fn upstream_options(&self) -> Option<&'a UpstreamOptions> {
        let is_page = matches!(self.purpose, RequestPurpose::ErrorPage { .. });
        self.route.plan.upstream.as_deref().filter(|_| !is_page)
    }

    pub(super) fn protocol(&self) -> AttemptProtocol {
        match self.upstream_options() {
            Some(options) if options.is_http2() => AttemptProtocol::Http2,
            Some(options) if options.fastcgi.is_some() => AttemptProtocol::FastCgi,
            _ => AttemptProtocol::Http1,
        }
    }

    pub(super) fn timer(&self) -> UpstreamTimer {
        let worker = &self.client.worker;
        let (clock, timer) = (worker.clock.clone(), self.client.timer());
        let is_stream = !self.client.is_http1();
        UpstreamTimer::new(clock, timer, worker.timeouts(&self.route.plan.proxy), is_stream)
    }
}
