//! The running proxy: listeners, workers, and the stop.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use net::{BindError, Drain, DrainOutcome, DrainToken, TlsError};
use telemetry::metrics::Registry;
use telemetry::{LogWriter, ThreadSlot};

use crate::listener::accept::accept;
use crate::listener::{self, Listener, tls};
use crate::observe::metrics::ProxyMetrics;
use crate::options::ProxyOptions;
use crate::state::worker::Worker;
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

/// Where the proxy tells what it does.
#[derive(Clone)]
pub struct Telemetry {
    /// Its metrics.
    pub registry: Registry,
    /// The access log; none for `disable-access-log`.
    pub access: Option<LogWriter>,
}

/// A proxy that serves.
pub struct Proxy {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    drain: Drain,
    healthy: Arc<AtomicBool>,
    shutdown_timeout: Duration,
    workers: Vec<JoinHandle<()>>,
}

impl Proxy {
    /// Opens the listeners and starts the workers; from then on requests are answered from the views. Nothing is
    /// left running when it fails.
    pub fn start(
        options: ProxyOptions,
        views: ProxyViews,
        telemetry: &Telemetry,
    ) -> Result<Self, ProxyStartError> {
        let options = Arc::new(options);
        let count = options.workers.max(1);
        let config = tls::server_config(&options, &views).map_err(ProxyStartError::Tls)?;
        let mut listeners: Vec<Vec<Listener>> = (0..count).map(|_| Vec::new()).collect();
        let http = listener::open(&options.http, None, &mut listeners).map_err(ProxyStartError::Bind)?;
        let https =
            listener::open(&options.https, Some(&config), &mut listeners).map_err(ProxyStartError::Bind)?;
        let metrics = ProxyMetrics::new(&telemetry.registry, &options.controller, &options.metrics, &views);
        let mut proxy = Self {
            http,
            https,
            drain: Drain::new(),
            healthy: Arc::new(AtomicBool::new(true)),
            shutdown_timeout: options.worker_shutdown_timeout,
            workers: Vec::new(),
        };
        for (number, listeners) in listeners.into_iter().enumerate() {
            let (options, views, metrics) = (options.clone(), views.clone(), metrics.clone());
            let (lines, drain) = (telemetry.access.clone(), proxy.drain.clone());
            // A worker that still accepts is open: what it accepts at last is waited for.
            let accepting = drain.track();
            let run = move || {
                let _seat = ThreadSlot::claim();
                work(listeners, accepting, || {
                    Worker::new(number as u32, options, views, metrics, lines, drain)
                });
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
    pub fn http(&self) -> &[SocketAddr] {
        &self.http
    }

    /// The addresses that HTTPS is served on.
    pub fn https(&self) -> &[SocketAddr] {
        &self.https
    }

    /// True until the stop begins: what `/healthz` of the admin page answers (200, then 500).
    pub fn health(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let healthy = self.healthy.clone();
        move || healthy.load(SeqCst)
    }

    /// Stops as ingress-nginx does (reference §3.18): unhealthy at once; after `grace`
    /// (`--shutdown-grace-period`) nothing new is accepted, idle connections close, requests in flight and changed
    /// protocols go on for `worker-shutdown-timeout` at most.
    pub async fn stop(mut self, grace: Duration) -> DrainOutcome {
        self.healthy.store(false, SeqCst);
        tokio::time::sleep(grace).await;
        let drained = self.drain.finish(self.shutdown_timeout).await;
        let workers = std::mem::take(&mut self.workers);
        let joined = tokio::task::spawn_blocking(move || {
            workers.into_iter().map(JoinHandle::join).all(|end| end.is_ok())
        });
        if !joined.await.unwrap_or(false) {
            tracing::error!("a worker thread has panicked");
        }
        drained
    }
}

/// Whoever lets go of it without a stop does not leave workers behind that nobody can reach.
impl Drop for Proxy {
    fn drop(&mut self) {
        self.drain.stop();
    }
}

/// A worker's thread from start to end.
fn work(listeners: Vec<Listener>, open: DrainToken, worker: impl FnOnce() -> Rc<Worker>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "a worker cannot start"),
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let worker = worker();
        let clock = tokio::task::spawn_local({
            let worker = worker.clone();
            async move { worker.clock.run(|| worker.tick()).await }
        });
        let shedding = tokio::task::spawn_local({
            let clients = worker.clients.clone();
            async move { clients.keep_within_budget().await }
        });
        let accepting: Vec<_> = listeners
            .into_iter()
            .map(|listener| tokio::task::spawn_local(accept(worker.clone(), listener)))
            .collect();
        worker.drain.stopping().await;
        for task in accepting {
            // It ends by itself at the word to stop.
            let _ = task.await;
        }
        drop(open);
        worker.stop();
        tokio::select! {
            () = worker.drain.forced() => worker.force(),
            () = worker.drain.closed() => {}
        }
        // Those who were told to close now need a turn to do it.
        let _ = tokio::time::timeout(Duration::from_secs(1), worker.drain.closed()).await;
        clock.abort();
        shedding.abort();
    });
}
