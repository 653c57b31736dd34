//! Sends the spans of requests to the collector of the ConfigMap, over OTLP (gRPC).
//!
//! Workers add encoded spans to a queue when requests have ended. A thread of its own, which starts with the first span, sends them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::Current;
use ingress_routes::{RouteTable, TraceExportSettings};
use telemetry::otlp::{EXPORT_PATH, export_request};
use telemetry::span_queue::{BatchLimits, SpanMetrics, SpanQueue};
use tokio_util::sync::CancellationToken;

use crate::observe::upstream_log::UpstreamLog;
use crate::upstream::grpc_connection::{CallError, GrpcConnection};
use crate::upstream::resolve::Resolver;

/// How long the collector may take for a request, connecting included.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// How long the last spans may take when the proxy stops.
const LAST_LIMIT: Duration = Duration::from_secs(2);

/// The most bytes of spans in a request: half of what servers accept by default.
const MAX_REQUEST: usize = 2 << 20;

/// The queue of spans. Shared by the workers.
pub(crate) struct SpanExporter {
    queue: Arc<SpanQueue<Vec<u8>>>,
    table: Current<RouteTable>,
    name_servers: Vec<SocketAddr>,
    log: UpstreamLog,
    stopping: CancellationToken,
    thread: Mutex<Option<JoinHandle<()>>>,
    is_started: AtomicBool,
}

impl SpanExporter {
    pub(crate) fn new(
        metrics: SpanMetrics,
        table: Current<RouteTable>,
        name_servers: Vec<SocketAddr>,
        log: UpstreamLog,
    ) -> Self {
        let (stopping, thread) = (CancellationToken::new(), Mutex::default());
        let (queue, is_started) = (Arc::new(SpanQueue::new(metrics)), AtomicBool::new(false));
        Self { queue, table, name_servers, log, stopping, thread, is_started }
    }

    /// Adds a span. Hot: takes the lock of the queue.
    pub(crate) fn push(&self, span: Vec<u8>, settings: &TraceExportSettings) {
        self.queue.push([span], &limits(settings));
        if self.is_started.load(Relaxed) {
            return;
        }
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() && !self.stopping.is_cancelled() {
            *thread = self.start();
            self.is_started.store(thread.is_some(), Relaxed);
        }
    }

    fn start(&self) -> Option<JoinHandle<()>> {
        let (queue, table, name_servers) =
            (self.queue.clone(), self.table.clone(), self.name_servers.clone());
        let (log, stopping) = (self.log.clone(), self.stopping.clone());
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(async {
                    let resolver = Resolver::new(&name_servers, true);
                    SpanSender { queue, table, log, stopping, resolver, connection: None }.run().await;
                }),
                Err(error) => tracing::error!(%error, "spans cannot be sent"),
            }
        };
        let thread = std::thread::Builder::new().name("otlp".to_owned()).spawn(run);
        thread.inspect_err(|error| tracing::error!(%error, "spans cannot be sent")).ok()
    }

    /// Ends the thread once the spans that wait have been sent, or some seconds later.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    /// Waits until the thread has ended.
    pub(crate) fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that sends spans has panicked");
        }
    }
}

fn limits(settings: &TraceExportSettings) -> BatchLimits {
    BatchLimits { backlog: settings.queue, size: settings.batch, interval: settings.delay }
}

/// A collector: host and port.
type Collector = (String, u16);

/// The state of the thread.
struct SpanSender {
    queue: Arc<SpanQueue<Vec<u8>>>,
    table: Current<RouteTable>,
    log: UpstreamLog,
    stopping: CancellationToken,
    resolver: Resolver,
    /// The connection of the last call.
    connection: Option<(Collector, GrpcConnection)>,
}

impl SpanSender {
    /// The settings, which follow the ConfigMap.
    fn settings(&self) -> Arc<TraceExportSettings> {
        self.table.load().server().trace_export.clone()
    }

    async fn run(mut self) {
        loop {
            let due = async {
                self.queue.wait_for_any().await;
                self.queue.wait_for_batch(&limits(&self.settings())).await;
            };
            tokio::select! {
                () = due => {}
                () = self.stopping.cancelled() => {}
            }
            let stopping = self.stopping.clone();
            let is_last = stopping.is_cancelled();
            let is_late = async {
                stopping.cancelled().await;
                tokio::time::sleep(LAST_LIMIT).await;
            };
            let send = async {
                // What is left waits for others, unless the proxy stops.
                while self.send_batch().await && is_last {}
            };
            tokio::select! {
                () = send => {}
                () = is_late => {}
            }
            if is_last {
                return;
            }
        }
    }

    /// Sends the oldest spans that wait. Those of a request that fails are lost. Returns false if none waited.
    async fn send_batch(&mut self) -> bool {
        let settings = self.settings();
        let spans = self.queue.take(settings.batch, MAX_REQUEST);
        let count = spans.len() as u64;
        if count == 0 {
            return false;
        }
        let request = Bytes::from(export_request(&settings.service, &spans));
        drop(spans);
        let (host, port) = (settings.host.as_deref().unwrap_or_default(), settings.port);
        let call = tokio::time::timeout(CALL_LIMIT, self.call(host, port, request)).await;
        let metrics = self.queue.metrics();
        match call.unwrap_or_else(|_| Err(CallError::Connection("timed out".to_owned()))) {
            Ok(()) => metrics.sent.add(count),
            Err(error) => {
                metrics.failed.add(count);
                let what = format_args!("spans are lost: {host}:{port}");
                self.log.failed("opentelemetry", &what, &error, Instant::now());
            }
        }
        true
    }

    async fn call(&mut self, host: &str, port: u16, request: Bytes) -> Result<(), CallError> {
        // Not kept if this future is dropped.
        let kept = self.connection.take();
        if let Some(((known, known_port), connection)) = kept
            && (known.as_str(), known_port) == (host, port)
        {
            match connection.call(EXPORT_PATH, request.clone()).await {
                // The collector closes idle connections when it wants to.
                Err(CallError::Connection(_)) => {}
                result => {
                    self.connection = Some(((known, port), connection));
                    return result;
                }
            }
        }
        let addresses = self.resolver.addresses(host, port, true).await;
        let addresses = addresses.map_err(|error| CallError::Connection(error.to_string()))?;
        let authority =
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let connection = GrpcConnection::open(authority, &addresses).await?;
        let result = connection.call(EXPORT_PATH, request).await;
        if !matches!(result, Err(CallError::Connection(_))) {
            self.connection = Some(((host.to_owned(), port), connection));
        }
        result
    }
}
