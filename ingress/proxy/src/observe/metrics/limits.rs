//! How often a limit was reached, and how much of it is used: the proxy's own metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use telemetry::metrics::{Counter, Registry};

/// Counters of connections and requests that a limit has ended or kept waiting.
#[derive(Clone)]
pub(crate) struct LimitMetrics {
    /// Idle connections of clients that were closed to make room.
    pub(crate) drained: Counter,
    /// Clients that found no place.
    pub(crate) refused: Counter,
    /// Connections that held the most buffered bytes when there were too many.
    pub(crate) buffers: Counter,
    /// Clients of HTTP/2 that sent too many frames that carry nothing.
    pub(crate) flood: Counter,
    /// Clients of HTTP/2 that went on after GOAWAY.
    pub(crate) goaway: Counter,
    /// Accepting failed for want of a file descriptor.
    pub(crate) no_descriptor: Counter,
    /// Requests that waited until a connection to an endpoint was closed.
    pub(crate) upstream_waits: Counter,
    /// Requests that got no connection to their endpoint.
    pub(crate) upstream_refused: Counter,
    /// Bytes in buffers, of all workers.
    pub(crate) buffered: Arc<AtomicU64>,
}

impl LimitMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let closed = registry.counters(
            "portolan_client_connections_closed_total",
            "Connections of clients that the proxy has closed because a limit was reached.",
            ["reason"],
        );
        let upstream = registry.counters(
            "portolan_upstream_connection_limit_total",
            "Requests that met the limit of connections to endpoints: they waited for one, or were refused.",
            ["outcome"],
        );
        let buffered = Arc::new(AtomicU64::new(0));
        let shown = buffered.clone();
        let help = "Bytes of bodies that wait for slow clients or endpoints.";
        registry.callback_gauges("portolan_buffered_bytes", help, [], move |tell| {
            tell([], shown.load(Relaxed) as f64);
        });
        Self {
            drained: closed.with(["drained"]),
            refused: closed.with(["refused"]),
            buffers: closed.with(["buffers"]),
            flood: closed.with(["h2_flood"]),
            goaway: closed.with(["goaway_ignored"]),
            no_descriptor: registry.counter(
                "portolan_accept_failures_total",
                "Connections that could not be accepted for want of a file descriptor.",
            ),
            upstream_waits: upstream.with(["waited"]),
            upstream_refused: upstream.with(["refused"]),
            buffered,
        }
    }
}
