//! The running proxy: listeners, workers, and the stop.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use net::{BindError, Drain, DrainOutcome, DrainToken, TlsError};
use rustls::ServerConfig;
use telemetry::metrics::Registry;
use telemetry::{LogWriter, ThreadSlot};

use crate::listener::connection::{Listener, connection};
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

/// What one worker accepts.
struct WorkerListeners(Vec<(TcpListener, Listener)>);

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
        let config = tls_config(&options, &views).map_err(ProxyStartError::Tls)?;
        let mut listeners: Vec<WorkerListeners> = (0..count).map(|_| WorkerListeners(Vec::new())).collect();
        let http = listen(&options.http, None, &mut listeners)?;
        let https = listen(&options.https, Some(&config), &mut listeners)?;
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
                let _seat = Seat::take();
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

fn listen(
    addresses: &[SocketAddr],
    tls: Option<&Arc<ServerConfig>>,
    listeners: &mut [WorkerListeners],
) -> Result<Vec<SocketAddr>, ProxyStartError> {
    let mut bound = Vec::with_capacity(addresses.len());
    for address in addresses {
        let sockets = net::listen::listen(*address, listeners.len()).map_err(ProxyStartError::Bind)?;
        for (at, (socket, listeners)) in sockets.into_iter().zip(&mut *listeners).enumerate() {
            let fail = |cause| ProxyStartError::Bind(BindError { address: *address, cause });
            let exact = socket.local_addr().map_err(fail)?;
            if at == 0 {
                bound.push(exact);
            }
            let port = if tls.is_some() { 443 } else { exact.port() };
            listeners.0.push((socket, Listener { tls: tls.cloned(), port }));
        }
    }
    Ok(bound)
}

fn tls_config(options: &ProxyOptions, views: &ProxyViews) -> Result<Arc<ServerConfig>, TlsError> {
    let own = net::certificate::self_made(std::time::SystemTime::now())?;
    let alpn: &[&[u8]] = if options.http2 { &[net::tls::H2, net::tls::HTTP1] } else { &[net::tls::HTTP1] };
    let tls = net::tls::TlsOptions {
        alpn: alpn.iter().map(|name| name.to_vec()).collect(),
        session_cache: options.ssl_session_cache,
    };
    let certs = views.certs.clone();
    net::tls::server_config(&tls, move |name| {
        Some(certs.load().find(name).cloned().unwrap_or_else(|| own.clone()))
    })
}

/// A worker's thread from start to end.
fn work(listeners: WorkerListeners, open: Open, worker: impl FnOnce() -> Rc<Worker>) {
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
        let accepting: Vec<_> = listeners
            .0
            .into_iter()
            .map(|(socket, listener)| tokio::task::spawn_local(accept(worker.clone(), socket, listener)))
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
    });
}

/// Accepts until the word to stop, and then what the system has accepted already: closing the listener would reset
/// that.
async fn accept(worker: Rc<Worker>, socket: TcpListener, listener: Listener) {
    let socket = match tokio::net::TcpListener::from_std(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(%error, "a listener cannot be used"),
    };
    let serve = |stream, peer| {
        worker.connections.accepted.inc();
        let open = worker.drain.open();
        tokio::task::spawn_local(connection(worker.clone(), stream, peer, listener.clone(), open));
    };
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = worker.drain.stopping() => break,
        };
        match accepted {
            Ok((stream, peer)) => serve(stream, peer),
            Err(error) => {
                // Out of file descriptors, mostly: trying again at once would only burn the processor.
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // tokio's own accept asks the system only after it has been told of something new.
    let Ok(socket) = socket.into_std() else { return };
    while let Ok((stream, peer)) = socket.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = tokio::net::TcpStream::from_std(stream)
        {
            serve(stream, peer);
        }
    }
}
