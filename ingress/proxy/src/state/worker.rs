//! The state of a worker thread. It is not shared with other threads, so it has no locks.

mod finished_request;

use std::cell::{Cell, Ref, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use cluster::{HeldView, LocalView};
use ingress_routes::{
    EwmaScores, Exchange, GeoDatabases, Pool, PoolKey, Pools, ProxySettings, RouteTable, ServerSettings,
};
use ingress_wire::head_writer::HeadWriter;
use ingress_wire::request_head::HeadLimits;
use net::Drain;
use rustls::ClientConfig;
use telemetry::LogWriter;
use tokio::net::TcpStream;

use crate::io::buffers::BufferBudget;
use crate::io::clock::Clock;
use crate::observe::metrics::{ConnectionMetrics, LimitMetrics, ProxyMetrics, RequestSeries};
use crate::observe::upstream_log::WorkerUpstreamLog;
use crate::options::ProxyOptions;
use crate::state::client_table::ClientTable;
use crate::state::passthrough_limit::PassthroughLimit;
use crate::state::request_memory::RequestMemory;
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
    geo: LocalView<GeoDatabases>,
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
    pub(crate) upstream_log: WorkerUpstreamLog,
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
    pub(crate) head_writer: RefCell<HeadWriter>,
    pub(crate) memory: RequestMemory,
    /// How many connections have been numbered.
    numbered: Cell<u64>,
    stopping: Cell<bool>,
    forced: Cell<bool>,
    ticks: Cell<u32>,
}

/// A sweep runs once a second, because it checks every idle connection.
const TICKS_PER_SWEEP: u32 = 10;

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
        let clock = Rc::new(Clock::new(jiff::tz::TimeZone::system()));
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
            geo: views.geo.local(),
            views,
            upstream_log: WorkerUpstreamLog::new(metrics.upstream_log.clone(), clock.clone()),
            clock,
            connection_pool: ConnectionPool::new(settings.connections.upstream_keep_alive),
            subrequest_pool: SubrequestPool::default(),
            http2_pool: Http2Pool::default(),
            settings: RefCell::new(settings),
            routes: HeldRoutes::default(),
            resolver,
            subrequest_tls: net::tls_client::unverified(),
            drain,
            shared,
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
            head_writer: RefCell::default(),
            memory: RequestMemory::default(),
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

    /// The databases of the variables `$geoip2_*`.
    pub(crate) fn geo(&self) -> Rc<HeldView<GeoDatabases>> {
        self.geo.load()
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
}
