//! The running proxy: listeners, workers, and the stop.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use cluster::{Cache, Current};
use ingress_routes::{
    CertIndex, GeoDatabases, PoolIndex, RouteIndex, RouteOptions, RouteTable, ServerSettings, StreamIndex,
};
use net::{BindError, Drain, DrainOutcome, DrainToken, TlsError};
use telemetry::metrics::{Registry, UpDownCounter};
use telemetry::{LogWriter, ThreadSlot};
use tokio::runtime::LocalOptions;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::listener::accept::accept;
use crate::listener::addresses::{ListenProblems, ListenerSet};
use crate::listener::stapling::{Stapling, StaplingProblems};
use crate::listener::{Listener, tls};
use crate::observe::metrics::{ConfigurationMetrics, ProxyMetrics};
use crate::options::{Controller, MetricsOptions, ProxyOptions};
use crate::state::listening::ListeningAddresses;
use crate::state::shared::SharedState;
use crate::state::span_exporter::SpanExporter;
use crate::state::worker::Worker;
use crate::stream::ports::{StreamPorts, StreamProblems};
use crate::stream::{self, OpenedPort};
use crate::views::ProxyViews;

/// Why the proxy cannot start.
#[derive(Debug)]
pub enum ProxyStartError {
    /// An address cannot be listened on.
    Bind(BindError),
    /// TLS cannot be set up.
    Tls(TlsError),
    /// A worker thread cannot be started.
    Thread(io::Error),
}

impl std::fmt::Display for ProxyStartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::Thread(error) => write!(f, "cannot start a worker thread: {error}"),
        }
    }
}

impl std::error::Error for ProxyStartError {}

/// A callback with the reason why a worker has ended.
pub type WorkerFailed = Arc<dyn Fn(&str) + Send + Sync>;

/// The proxy's outputs: metrics, access log and failures.
#[derive(Clone)]
pub struct Telemetry {
    /// The registry of its metrics.
    pub registry: Registry,
    /// The access log of requests; none for `disable-access-log`.
    pub access: Option<LogWriter>,
    /// The access log of TCP and UDP services.
    pub stream_access: Option<LogWriter>,
    /// Called with the reason when a worker ends although the proxy has not been stopped. The process should be stopped:
    /// the other workers go on, but this one's connections are gone.
    pub worker_failed: WorkerFailed,
    /// Called with the ports of TCP and UDP services that cannot be opened, whenever they change.
    pub stream_problems: StreamProblems,
    /// Called with the certificates without an OCSP response, and why, whenever they change (`enable-ocsp`).
    pub stapling_problems: StaplingProblems,
    /// Called with the keys about listeners that are not in effect, whenever they change.
    pub listen_problems: ListenProblems,
}

/// A running proxy.
pub struct Proxy {
    listening: Current<ListeningAddresses>,
    drain: Drain,
    healthy: Arc<AtomicBool>,
    table: Current<RouteTable>,
    /// Clients' connections.
    active: UpDownCounter,
    spans: Arc<SpanExporter>,
    workers: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Registers all metrics of the proxy, so that they can be listed without one.
    pub fn register_metrics(registry: &Registry) {
        let (controller, metrics) = <(Controller, MetricsOptions)>::default();
        let (mut cluster, options) = <(Cache, RouteOptions)>::default();
        let views = ProxyViews {
            table: cluster.project(RouteIndex::new(options.clone())),
            pools: cluster.project(PoolIndex::new(options.clone())),
            certs: cluster.project(CertIndex::new(options.clone())),
            streams: cluster.project(StreamIndex::new(options)),
            geo: Current::new(GeoDatabases::default()),
        };
        ProxyMetrics::new(registry, &controller, &metrics, &views, None);
        ConfigurationMetrics::new(registry, &controller);
    }

    /// Opens the listeners and starts the workers. On an error nothing is left running.
    pub fn start(
        options: ProxyOptions,
        views: ProxyViews,
        telemetry: &Telemetry,
    ) -> Result<Self, ProxyStartError> {
        let options = Arc::new(options);
        let count = options.workers.max(1);
        let stapling = Stapling::new(
            views.certs.clone(),
            options.completes_chains,
            options.allow_local_external_names,
            telemetry.stapling_problems.clone(),
        );
        let config = tls::TlsServers::new(&views, stapling.clone()).map_err(ProxyStartError::Tls)?;
        let config = Arc::new(config);
        let settings = views.table.load().server().clone();
        let (listeners, accepted) = ListenerSet::open(
            (&options.http, &options.https),
            &settings.listen,
            config.clone(),
            count,
            telemetry.listen_problems.clone(),
        )
        .map_err(ProxyStartError::Bind)?;
        let self_signed = config.self_signed.clone().filter(|_| !options.https.is_empty());
        let metrics = ProxyMetrics::new(
            &telemetry.registry,
            &options.controller,
            &options.metrics,
            &views,
            self_signed,
        );
        let (table, name_servers) = (views.table.clone(), options.name_servers.clone());
        let log = metrics.upstream_log.clone();
        let spans = Arc::new(SpanExporter::new(metrics.spans.clone(), table, name_servers, log));
        let mut proxy = Self {
            listening: listeners.listening(),
            drain: Drain::new(),
            healthy: Arc::new(AtomicBool::new(true)),
            table: views.table.clone(),
            active: metrics.connections.active.clone(),
            spans: spans.clone(),
            workers: Vec::new(),
        };
        let shared = Arc::new(SharedState::new(listeners.listening(), count, &metrics.limits, spans));
        let (streams, problems) = (views.streams.clone(), telemetry.stream_problems.clone());
        let (mut ports, opened) = StreamPorts::new(streams, options.addresses(), count, problems);
        ports.open_all(&settings.listen);
        // The first worker opens and closes addresses and ports for all.
        let mut followers = Some(Followers { listeners, ports, stapling });
        for ((number, listeners), opened) in accepted.into_iter().enumerate().zip(opened) {
            let followers = followers.take();
            let (options, views, metrics) = (options.clone(), views.clone(), metrics.clone());
            let lines = (telemetry.access.clone(), telemetry.stream_access.clone());
            let (drain, shared) = (proxy.drain.clone(), shared.clone());
            let (healthy, failed) = (proxy.healthy.clone(), telemetry.worker_failed.clone());
            let panics = metrics.connections.panics.clone();
            // Counts as an open connection while the worker accepts, so that the drain waits for its last connections.
            let accepting = drain.track();
            let run = move || {
                let _slot = ThreadSlot::claim();
                let new = || Worker::new(number as u32, options, views, metrics, lines, drain, shared);
                if let Err(reason) = supervise(|| work(followers, (listeners, opened), accepting, new)) {
                    panics.inc();
                    healthy.store(false, SeqCst);
                    tracing::error!("worker {number} of the proxy has ended: {reason}");
                    failed(&reason);
                }
            };
            let thread = std::thread::Builder::new().name(format!("http-{number}")).spawn(run);
            match thread {
                Ok(thread) => proxy.workers.push(thread),
                Err(error) => return Err(ProxyStartError::Thread(error)),
            }
        }
        Ok(proxy)
    }

    /// The addresses that HTTP is served on, with the ports that the system has chosen.
    pub fn http(&self) -> Vec<SocketAddr> {
        self.listening.load().http.clone()
    }

    /// The addresses that HTTPS is served on.
    pub fn https(&self) -> Vec<SocketAddr> {
        self.listening.load().https.clone()
    }

    /// Whether the proxy is healthy: true until it is stopped or a worker fails. `/healthz` answers 200, then 500.
    pub fn health(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let healthy = self.healthy.clone();
        move || healthy.load(SeqCst)
    }

    /// Stops as ingress-nginx does: unhealthy at once; after `grace` (`--shutdown-grace-period`) nothing new is accepted,
    /// idle connections close, and open requests and switched protocols may go on for `worker-shutdown-timeout`.
    pub async fn stop(mut self, grace: Duration) -> DrainOutcome {
        self.healthy.store(false, SeqCst);
        if !grace.is_zero() {
            tracing::info!(
                "the health check fails from now on; new connections are accepted until {} \
                 (--shutdown-grace-period={}s)",
                time_after(grace),
                grace.as_secs()
            );
            tokio::time::sleep(grace).await;
        }
        let drained = self.drain().await;
        let (workers, spans) = (std::mem::take(&mut self.workers), self.spans.clone());
        let joined = tokio::task::spawn_blocking(move || {
            let joined = workers.into_iter().map(JoinHandle::join).all(|end| end.is_ok());
            spans.stop();
            spans.join();
            joined
        });
        if !joined.await.unwrap_or(false) {
            tracing::error!("a worker thread has panicked");
        }
        drained
    }

    /// Waits for open connections, and logs what it waits for.
    async fn drain(&self) -> DrainOutcome {
        let timeout = self.table.load().server().connections.worker_shutdown_timeout;
        let until = time_after(timeout);
        let waiting =
            || format!("{} open connections, until {until} at the latest", self.active.value().max(0));
        tracing::info!(
            "no new connections; waiting for {} (worker-shutdown-timeout={}s)",
            waiting(),
            timeout.as_secs()
        );
        let mut finish = std::pin::pin!(self.drain.finish(timeout));
        loop {
            match tokio::time::timeout(PROGRESS, &mut finish).await {
                Ok(outcome) => return outcome,
                Err(_) => tracing::info!("still waiting for {}", waiting()),
            }
        }
    }
}

/// The interval of log lines while the proxy waits for open connections.
const PROGRESS: Duration = Duration::from_secs(10);

/// The time of day after `after`, for the log.
fn time_after(after: Duration) -> String {
    let time = jiff::Timestamp::now().checked_add(after);
    time.map_or("the end of time".into(), |time| time.strftime("%H:%M:%S UTC").to_string())
}

/// Stops the workers of a proxy that is dropped without [`Proxy::stop`].
impl Drop for Proxy {
    fn drop(&mut self) {
        self.drain.stop();
        self.spans.stop();
    }
}

/// Runs a worker; a panic is an error like others.
fn supervise(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    ended.unwrap_or_else(|panic| Err(panic_text(&*panic)))
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it has panicked: {}", text.unwrap_or("no message"))
}

/// What follows the settings for all workers.
struct Followers {
    listeners: ListenerSet,
    ports: StreamPorts,
    stapling: Arc<Stapling>,
}

impl Followers {
    fn follow(&mut self, settings: &ServerSettings) {
        self.listeners.follow(&settings.listen);
        self.ports.follow(&settings.listen);
        self.stapling.follow(settings.tls.staples);
    }
}

/// A worker's thread from start to end.
///
/// # Errors
/// When the worker cannot start, or a task ends that must not end before the proxy stops.
fn work(
    mut followers: Option<Followers>,
    (mut listeners, opened): (UnboundedReceiver<Listener>, UnboundedReceiver<OpenedPort>),
    open: DrainToken,
    worker: impl FnOnce() -> Rc<Worker>,
) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = runtime.map_err(|error| format!("its runtime cannot be started: {error}"))?;
    runtime.block_on(async move {
        let worker = worker();
        let mut clock = tokio::task::spawn_local({
            let worker = worker.clone();
            async move {
                let each = || {
                    worker.tick();
                    if let Some(followers) = followers.as_mut().filter(|_| !worker.drain.is_stopping()) {
                        followers.follow(worker.views.table.load().server());
                    }
                };
                worker.clock.run(each).await
            }
        });
        let mut shedding = tokio::task::spawn_local({
            let clients = worker.clients.clone();
            async move { clients.keep_within_budget().await }
        });
        let streams = tokio::task::spawn_local(stream::run(worker.clone(), opened));
        let mut accepting = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                biased;
                () = worker.drain.stopping() => break,
                ended = &mut clock => return Err(end_of(ended, "its clock")),
                ended = &mut shedding => return Err(end_of(ended, "its buffer budget")),
                Some(listener) = listeners.recv() => {
                    accepting.spawn_local(accept(worker.clone(), listener));
                }
                Some(ended) = accepting.join_next() => match ended {
                    Ok(true) => {}
                    ended => return Err(end_of(ended.map(drop), "a listener")),
                },
            }
        }
        // A stop right after the start: their queues may have connections that are to be served.
        while let Ok(listener) = listeners.try_recv() {
            accepting.spawn_local(accept(worker.clone(), listener));
        }
        // Accepting ends by itself when the proxy stops.
        while accepting.join_next().await.is_some() {}
        drop(open);
        worker.stop();
        tokio::select! {
            () = worker.drain.forced() => worker.force(),
            () = worker.drain.closed() => {}
        }
        // The tasks of these connections need a moment to end.
        let _ = tokio::time::timeout(Duration::from_secs(1), worker.drain.closed()).await;
        clock.abort();
        shedding.abort();
        streams.abort();
        Ok(())
    })
}

fn end_of(ended: Result<(), tokio::task::JoinError>, what: &str) -> String {
    match ended.map_err(tokio::task::JoinError::try_into_panic) {
        Err(Ok(panic)) => format!("{what}: {}", panic_text(&*panic)),
        Ok(()) | Err(Err(_)) => format!("{what} has ended"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_worker_is_an_error_with_its_message() {
        assert_eq!(supervise(|| Ok(())), Ok(()));
        assert_eq!(supervise(|| panic!("at {}", 7)), Err("it has panicked: at 7".to_owned()));
        assert_eq!(supervise(|| panic!("plain")), Err("it has panicked: plain".to_owned()));
    }

    #[test]
    fn a_time_that_never_comes_can_be_logged() {
        assert_eq!(time_after(Duration::MAX), "the end of time");
        assert!(time_after(Duration::ZERO).ends_with(" UTC"));
    }

    #[tokio::test]
    async fn a_task_that_must_not_end_is_named_with_its_panic() {
        let ended = tokio::spawn(async { panic!("no time") }).await;
        assert_eq!(end_of(ended, "its clock"), "its clock: it has panicked: no time");
        assert_eq!(end_of(Ok(()), "a listener"), "a listener has ended");
    }
}
