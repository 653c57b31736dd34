//! The state of a worker thread. It is not shared with other threads, so it has no locks.

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use cluster::{HeldView, LocalView};
use ingress_routes::{EwmaScores, Exchange, Pool, PoolKey, Pools, ProxySettings, RouteTable, ServerSettings};
use ingress_wire::head_writer::HeadWriter;
use ingress_wire::request::ParsedRequest;
use ingress_wire::request_head::HeadLimits;
use ingress_wire::response::ParsedResponse;
use net::Drain;
use rustls::ClientConfig;
use telemetry::LogWriter;
use tokio::net::TcpStream;

use crate::io::buffers::BufferBudget;
use crate::io::clock::Clock;
use crate::observe::access_log::{AccessRecord, Attempt};
use crate::observe::log_line::{LogLine, LoggedConnection};
use crate::observe::metrics::{ConnectionMetrics, LimitMetrics, ProxyMetrics, RequestSeries};
use crate::observe::span;
use crate::observe::upstream_log::UpstreamLog;
use crate::options::ProxyOptions;
use crate::state::client_table::ClientTable;
use crate::state::passthrough_limit::PassthroughLimit;
use crate::state::shared::SharedState;
use crate::state::streams::WorkerStreams;
use crate::upstream::connection::{ConnectionKey, UpstreamConnection};
use crate::upstream::http2_connection::Http2Connection;
use crate::upstream::http2_pool::Http2Pool;
use crate::upstream::limit::UpstreamLimit;
use crate::upstream::mirror_limit::MirrorLimit;
use crate::upstream::pool::ConnectionPool;
use crate::upstream::resolve::Resolver;
use crate::upstream::subrequest_pool::SubrequestPool;
use crate::upstream::timer::UpstreamTimeouts;
use crate::views::ProxyViews;
use crate::views::held_routes::HeldRoutes;

/// State owned by one worker thread.
pub(crate) struct Worker {
    pub(crate) number: u32,
    pub(crate) options: Arc<ProxyOptions>,
    /// The settings of the view that was loaded last.
    settings: RefCell<Arc<ServerSettings>>,
    pub(crate) views: ProxyViews,
    pub(crate) clock: Rc<Clock>,
    pub(crate) connection_pool: ConnectionPool,
    pub(crate) http2_pool: Http2Pool,
    pub(crate) subrequest_pool: SubrequestPool,
    pub(crate) resolver: Resolver,
    pub(crate) routes: HeldRoutes,
    table: LocalView<RouteTable>,
    pools: LocalView<Pools>,
    /// TLS to the servers of subrequests. As in nginx (`proxy_ssl_verify off`), their certificates are not verified.
    pub(crate) subrequest_tls: Arc<ClientConfig>,
    pub(crate) drain: Drain,
    pub(crate) shared: Arc<SharedState>,
    pub(crate) connections: ConnectionMetrics,
    pub(crate) limits: LimitMetrics,
    pub(crate) clients: Rc<ClientTable>,
    pub(crate) upstreams: Rc<UpstreamLimit>,
    pub(crate) passthrough: PassthroughLimit,
    pub(crate) mirrors: Rc<MirrorLimit>,
    buffers: Rc<BufferBudget>,
    pub(crate) upstream_log: UpstreamLog,
    series: RequestSeries,
    pub(crate) streams: WorkerStreams,
    lines: Option<LogWriter>,
    /// The access log of TCP and UDP services.
    pub(crate) stream_lines: Option<LogWriter>,
    pub(super) random: RefCell<fastrand::Rng>,
    /// The position of each round robin.
    pub(super) turns: RefCell<HashMap<PoolKey, usize, foldhash::fast::RandomState>>,
    /// The scores of endpoints with `load-balance: ewma`.
    pub(super) scores: RefCell<HashMap<PoolKey, EwmaScores, foldhash::fast::RandomState>>,
    pub(super) started: Instant,
    /// The buffer in which heads of requests of HTTP/2 are written.
    pub(crate) send_buffer: RefCell<BytesMut>,
    /// The buffer in which heads for clients are written. It reuses its memory once the head before has been sent.
    pub(crate) response_buffer: RefCell<BytesMut>,
    /// Buffers for heads for endpoints. Such a head is kept until the endpoint answers, so each request has a buffer of its own.
    head_buffers: RefCell<Vec<BytesMut>>,
    pub(crate) head_writer: RefCell<HeadWriter>,
    /// Heads for reuse.
    #[expect(clippy::vec_box, reason = "a request takes the box over without copying the head")]
    requests: RefCell<Vec<Box<ParsedRequest>>>,
    #[expect(clippy::vec_box, reason = "a request takes the box over without copying the head")]
    responses: RefCell<Vec<Box<ParsedResponse>>>,
    #[expect(clippy::vec_box, reason = "a request takes the box over without copying the record")]
    records: RefCell<Vec<Box<AccessRecord>>>,
    /// How many connections have been numbered.
    numbered: Cell<u64>,
    stopping: Cell<bool>,
    forced: Cell<bool>,
    ticks: Cell<u32>,
}

/// A sweep runs once a second, because it checks every idle connection.
const TICKS_PER_SWEEP: u32 = 10;
/// How many heads are kept for reuse, of 1 KiB each.
const SPARE_HEADS: usize = 64;
/// The length in bytes of a head for an endpoint whose buffer is kept for reuse.
const SPARE_HEAD_LENGTH: usize = 4096;

/// How many connections of clients and to endpoints a worker may have.
fn connection_limits(options: &ProxyOptions, settings: &ServerSettings) -> (usize, usize) {
    let share = |connections: usize| {
        (connections / options.workers.max(1)).min(settings.connections.max_worker_connections)
    };
    (share(options.descriptors.clients), share(options.descriptors.upstreams))
}

impl Worker {
    pub(crate) fn new(
        number: u32,
        options: Arc<ProxyOptions>,
        views: ProxyViews,
        metrics: ProxyMetrics,
        (lines, stream_lines): (Option<LogWriter>, Option<LogWriter>),
        drain: Drain,
        shared: Arc<SharedState>,
    ) -> Rc<Self> {
        let limits = metrics.limits.clone();
        let buffers = BufferBudget::new(options.max_buffered_bytes, options.workers, limits.buffered.clone());
        let settings = views.table.load().server().clone();
        let (clients, upstreams) = connection_limits(&options, &settings);
        let resolver = Resolver::new(&options.name_servers, options.allow_local_external_names);
        resolver.set_ipv4_only(settings.listen.disables_ipv6_names);
        Rc::new(Self {
            clients: ClientTable::new(clients, buffers.clone()),
            upstreams: UpstreamLimit::new(upstreams),
            passthrough: PassthroughLimit::default(),
            mirrors: Rc::default(),
            buffers,
            limits,
            number,
            table: views.table.local(),
            pools: views.pools.local(),
            views,
            clock: Rc::new(Clock::new(jiff::tz::TimeZone::system())),
            connection_pool: ConnectionPool::new(settings.connections.upstream_keep_alive),
            subrequest_pool: SubrequestPool::default(),
            http2_pool: Http2Pool::default(),
            settings: RefCell::new(settings),
            routes: HeldRoutes::default(),
            resolver,
            subrequest_tls: net::tls_client::unverified(),
            drain,
            shared,
            upstream_log: metrics.upstream_log.clone(),
            connections: metrics.connections.clone(),
            series: RequestSeries::new(&metrics),
            streams: WorkerStreams::new(metrics.streams.clone()),
            lines,
            stream_lines,
            random: RefCell::new(fastrand::Rng::new()),
            turns: RefCell::default(),
            scores: RefCell::default(),
            started: Instant::now(),
            send_buffer: RefCell::default(),
            response_buffer: RefCell::default(),
            head_buffers: RefCell::default(),
            head_writer: RefCell::default(),
            requests: RefCell::default(),
            responses: RefCell::default(),
            records: RefCell::default(),
            numbered: Cell::new(0),
            stopping: Cell::new(false),
            forced: Cell::new(false),
            ticks: Cell::new(0),
            options,
        })
    }

    /// Reports a panic; called when a task is dropped. tokio catches panics, so nothing else would report it.
    pub(crate) fn report_panic(&self) {
        if std::thread::panicking() {
            self.connections.panics.inc();
            tracing::error!("a connection task of worker {} panicked; its connection is closed", self.number);
        }
    }

    /// The settings of the server. They follow the ConfigMap with each accepted connection and each request.
    pub(crate) fn settings(&self) -> Ref<'_, ServerSettings> {
        Ref::map(self.settings.borrow(), |settings| &**settings)
    }

    /// The current routes.
    pub(crate) fn table(&self) -> Rc<HeldView<RouteTable>> {
        self.table.load()
    }

    /// The current endpoints.
    pub(crate) fn pools(&self) -> Rc<HeldView<Pools>> {
        self.pools.load()
    }

    /// Follows the settings of a view. Hot: one comparison unless they have changed.
    pub(crate) fn follow(&self, table: &RouteTable) {
        let settings = table.server();
        if Arc::ptr_eq(&self.settings.borrow(), settings) {
            return;
        }
        let (clients, upstreams) = connection_limits(&self.options, settings);
        self.clients.set_limit(clients);
        self.upstreams.set_total(upstreams);
        self.connection_pool.set_rules(settings.connections.upstream_keep_alive);
        self.resolver.set_ipv4_only(settings.listen.disables_ipv6_names);
        self.settings.replace(settings.clone());
    }

    /// The limits of a request's head.
    pub(crate) fn head_limits(&self) -> HeadLimits {
        let (line, head) = self.settings().connections.head_limits;
        HeadLimits { line, head }
    }

    /// The timeouts of a request to an endpoint.
    pub(crate) fn timeouts(&self, proxy: &ProxySettings) -> UpstreamTimeouts {
        let settings = self.settings();
        UpstreamTimeouts {
            send: proxy.send_timeout,
            read: proxy.read_timeout,
            body: settings.connections.client_body_timeout,
            client_send: settings.connections.client_send_timeout,
        }
    }

    /// Whether the proxy is stopping: idle connections close.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Whether all connections must close at once.
    pub(crate) fn is_forced(&self) -> bool {
        self.forced.get()
    }

    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        self.clock.wake_all();
    }

    pub(crate) fn force(&self) {
        self.forced.set(true);
        self.clock.wake_all();
    }

    /// Periodic work, once per tick of the clock.
    pub(crate) fn tick(&self) {
        self.buffers.show();
        self.ticks.set(self.ticks.get().wrapping_add(1));
        if !self.ticks.get().is_multiple_of(TICKS_PER_SWEEP) {
            return;
        }
        let pools = self.pools();
        let belongs = |pool: &Option<PoolKey>, key: &ConnectionKey| {
            let is_endpoint = |pool: &Arc<Pool>| pool.endpoints().binary_search(&key.address).is_ok();
            pool.as_ref().is_none_or(|pool| pools.get(pool).is_some_and(is_endpoint))
        };
        let now = self.clock.now();
        self.connection_pool.sweep(now, |UpstreamConnection { pool, key, .. }| belongs(pool, key));
        let rules = self.settings().connections.upstream_keep_alive;
        self.http2_pool.sweep(now, &rules, |Http2Connection { pool, key, .. }| belongs(pool, key));
        self.subrequest_pool.sweep(self.clock.now());
        self.turns.borrow_mut().retain(|key, _| pools.get(key).is_some());
        self.scores.borrow_mut().retain(|key, _| pools.get(key).is_some());
        let table = self.table();
        self.follow(&table);
        self.series.sweep(&table);
        self.routes.sweep();
        let keep = self.settings().connections.worker_shutdown_timeout;
        if self.streams.sweep(&self.views.streams.load_full(), now, keep) {
            self.clock.wake_all();
        }
    }

    /// A number for a new connection that no other worker gives.
    pub(crate) fn next_connection(&self) -> u64 {
        let before = self.numbered.replace(self.numbered.get() + 1);
        before * self.options.workers.max(1) as u64 + u64::from(self.number) + 1
    }

    pub(crate) fn random(&self) -> u128 {
        self.random.borrow_mut().u128(..)
    }

    /// The port that clients see: 443 for every HTTPS listener, as in ingress-nginx.
    pub(crate) fn public_port(&self, port: u16) -> u16 {
        if self.options.https.iter().any(|address| address.port() == port) { 443 } else { port }
    }

    /// `X-Forwarded-Port` of a request, if a trusted peer reports it.
    pub(crate) fn forwarded_port<'e>(&self, exchange: &'e Exchange) -> Option<&'e str> {
        let port = exchange.forwarded_port()?;
        Some(if port.parse().is_ok_and(|port| self.public_port(port) == 443) { "443" } else { port })
    }

    /// Closes the connection to an endpoint that has been idle longest, else one to an authentication server; false if none is idle.
    pub(crate) fn close_idle_upstream(&self) -> bool {
        self.connection_pool.close_oldest()
            || self.http2_pool.close_oldest()
            || self.subrequest_pool.close_oldest()
    }

    /// Whether a new connection to an address goes to a listener of this proxy.
    pub(crate) fn is_own_listener(&self, stream: &TcpStream, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let is_own = |own: &SocketAddr| {
            own.port() == address.port() && (own.ip().is_unspecified() || own.ip().to_canonical() == ip)
        };
        // A connection to this machine has the same address at both ends.
        self.shared.listening.load().iter().any(is_own)
            && stream.local_addr().is_ok_and(|local| local.ip().to_canonical() == ip)
    }

    /// A request's head that is empty, with memory from an earlier request if possible.
    pub(crate) fn request(&self) -> Box<ParsedRequest> {
        self.requests.borrow_mut().pop().unwrap_or_default()
    }

    /// A response's head that is empty.
    pub(crate) fn response(&self) -> Box<ParsedResponse> {
        self.responses.borrow_mut().pop().unwrap_or_default()
    }

    /// The record of a request that begins now, with memory from an earlier one if possible.
    pub(crate) fn record(&self, client: Rc<str>) -> Box<AccessRecord> {
        let started = self.clock.instant();
        match self.records.borrow_mut().pop() {
            Some(mut record) => {
                record.restart(started, client);
                record
            }
            None => Box::new(AccessRecord::new(started, client)),
        }
    }

    /// Keeps the memory of a record for another.
    pub(crate) fn recycle_record(&self, mut record: Box<AccessRecord>) {
        let mut records = self.records.borrow_mut();
        if records.len() < SPARE_HEADS {
            record.clear();
            records.push(record);
        }
    }

    /// Keeps the memory of a request's head for another.
    pub(crate) fn recycle_request(&self, mut request: Box<ParsedRequest>) {
        let mut requests = self.requests.borrow_mut();
        if requests.len() < SPARE_HEADS {
            request.clear();
            requests.push(request);
        }
    }

    /// Keeps the memory of a response's head for another.
    pub(crate) fn recycle_response(&self, mut response: Box<ParsedResponse>) {
        let mut responses = self.responses.borrow_mut();
        if responses.len() < SPARE_HEADS {
            response.clear();
            responses.push(response);
        }
    }

    /// An empty buffer for the head of a request to an endpoint, with memory from an earlier request if possible.
    pub(crate) fn head_buffer(&self) -> BytesMut {
        self.head_buffers.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps a buffer for another head, and drops the head in it. While that is still being sent, its memory is not used again.
    pub(crate) fn recycle_head_buffer(&self, buffer: BytesMut, head: Option<Bytes>) {
        let mut buffers = self.head_buffers.borrow_mut();
        if buffers.len() < SPARE_HEADS && head.is_none_or(|head| head.len() <= SPARE_HEAD_LENGTH) {
            buffers.push(buffer);
        }
    }

    /// Writes a line about a request in the access log.
    fn log(&self, record: &AccessRecord, connection: LoggedConnection<'_>, elapsed: Duration) {
        let settings = self.settings();
        let Some(lines) = self.lines.as_ref().filter(|_| record.is_logged(&settings.access_log)) else {
            return;
        };
        lines.write_line(|out| match &settings.access_log.format {
            None => record.write(out, |out| self.clock.write_local_time(out), elapsed),
            Some(format) => {
                let forwarded_port =
                    record.exchange.as_ref().and_then(|exchange| self.forwarded_port(exchange));
                let clock = &self.clock;
                LogLine { record, connection, forwarded_port, clock, elapsed }.write(format, out);
            }
        });
    }

    /// Logs the requests to authentication servers that a request has caused, each as a request with its own status, time and server.
    pub(crate) fn log_subrequests(
        &self,
        record: &mut AccessRecord,
        connection: LoggedConnection<'_>,
        subrequests: Vec<Attempt>,
    ) {
        let (status, started) = (record.status, record.started);
        for attempt in subrequests {
            let elapsed = attempt.ended.unwrap_or_default();
            (record.status, record.started) = (attempt.status.as_u16(), attempt.started);
            let attempts = std::mem::replace(&mut record.attempts, smallvec::smallvec![attempt]);
            self.log(record, connection, elapsed);
            record.attempts = attempts;
        }
        (record.status, record.started) = (status, started);
    }

    /// Queues the span of a request for the collector.
    #[cold]
    fn trace(&self, record: &AccessRecord, connection: &LoggedConnection<'_>, elapsed: Duration) {
        let settings = &self.settings().trace_export;
        if settings.host.is_some()
            && let Some(span) = span::encode(record, connection, elapsed)
        {
            self.shared.spans.push(span, settings);
        }
    }

    /// Logs and counts a request that has ended.
    pub(crate) fn finish(&self, record: &mut AccessRecord, connection: LoggedConnection<'_>) {
        let elapsed = self.clock.instant().saturating_duration_since(record.started);
        self.measure(record);
        if let Some(followed) = record.followed.take() {
            followed.end(record.followed_report(elapsed));
        }
        if !record.silent {
            self.connections.requests.inc();
            if let Some(of) = record.of() {
                self.series.count(&of, &record.sample(elapsed));
            }
            if record.is_traced() {
                self.trace(record, &connection, elapsed);
            }
            self.log(record, connection, elapsed);
        }
        if let Some(exchange) = record.exchange.take() {
            self.recycle_request(exchange.request);
        }
    }
}
