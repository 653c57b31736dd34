//! How often a limit was reached, and how much of it is used: the proxy's own metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use telemetry::metrics::{Counter, Registry};

/// Counters of connections and requests that a limit has ended or kept waiting.
#[derive(Clone)]
pub(crate) struct LimitMetrics {
    /// Idle connections of clients that were closed to make room.
    pub(crate) drained: Counter,
    /// Clients that were refused because the worker had reached its limit of connections.
    pub(crate) refused: Counter,
    /// Connections that held the most buffered bytes when there were too many.
    pub(crate) buffers: Counter,
    /// HTTP/2 clients that sent too many frames that carry nothing.
    pub(crate) flood: Counter,
    /// HTTP/2 clients that kept sending requests after GOAWAY.
    pub(crate) goaway: Counter,
    /// Failures to accept because no file descriptor was free.
    pub(crate) no_descriptor: Counter,
    /// Requests that waited until a connection to an endpoint was closed.
    pub(crate) upstream_waits: Counter,
    /// Requests that got no connection to their endpoint.
    pub(crate) upstream_refused: Counter,
    /// Checks of passwords.
    pub(crate) passwords: PasswordMetrics,
    /// Responses of authentication servers.
    pub(crate) subrequest_cache: SubrequestCacheMetrics,
    /// Copies of requests for `mirror-target`.
    pub(crate) mirror: MirrorMetrics,
    /// Encoders of compressed responses that got no memory.
    pub(crate) not_compressed: Counter,
    /// Bytes in buffers, of all workers.
    pub(crate) buffered: Arc<AtomicU64>,
}

/// Checks of passwords, by outcome.
#[derive(Clone)]
pub(crate) struct PasswordMetrics {
    /// The hash was computed.
    pub(crate) verified: Counter,
    /// The password was right lately.
    pub(crate) remembered: Counter,
    /// Too many requests waited.
    pub(crate) refused: Counter,
}

/// The cache of responses to subrequests.
#[derive(Clone)]
pub(crate) struct SubrequestCacheMetrics {
    /// A subrequest was answered from the cache.
    pub(crate) hits: Counter,
    /// It was sent.
    pub(crate) misses: Counter,
    /// A response was forgotten, expired or not, to make room.
    pub(crate) evicted: Counter,
}

/// Copies of requests, by outcome.
#[derive(Clone)]
pub(crate) struct MirrorMetrics {
    /// The server has responded.
    pub(crate) sent: Counter,
    /// It has not.
    pub(crate) failed: Counter,
    /// The copy was not sent: too many were open, or the body was too long or incomplete.
    pub(crate) dropped: Counter,
}

impl LimitMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let closed = registry.counters(
            "portolan_client_connections_closed_total",
            "Connections of clients that the proxy has closed because a limit was reached.",
            ["reason"],
        );
        let upstream = registry.counters(
            "portolan_upstream_connection_limit_total",
            "Requests that reached the limit of connections to endpoints, by whether they waited for one or were refused.",
            ["outcome"],
        );
        let passwords = registry.counters(
            "portolan_password_checks_total",
            "Passwords of basic authentication, by whether they were verified, remembered, or refused because too many waited.",
            ["outcome"],
        );
        let subrequest_cache = registry.counters(
            "portolan_auth_cache_total",
            "Responses of authentication servers (auth-cache-key), by whether they were found (hit), not found (miss), or forgotten to make room (evicted).",
            ["outcome"],
        );
        let mirror = registry.counters(
            "portolan_mirror_requests_total",
            "Copies of requests (mirror-target), by whether the server responded (sent), did not (failed), or was not asked because too many copies were open or the body was too long or incomplete (dropped).",
            ["outcome"],
        );
        let buffered = Arc::new(AtomicU64::new(0));
        let shown = buffered.clone();
        let help = "Bytes of bodies that are buffered for slow clients or endpoints.";
        registry.callback_gauges("portolan_buffered_bytes", help, [], move |report| {
            report([], shown.load(Relaxed) as f64);
        });
        Self {
            drained: closed.with(["drained"]),
            refused: closed.with(["refused"]),
            buffers: closed.with(["buffers"]),
            flood: closed.with(["h2_flood"]),
            goaway: closed.with(["goaway_ignored"]),
            no_descriptor: registry.counter(
                "portolan_accept_failures_total",
                "Connections that could not be accepted because no file descriptor was free.",
            ),
            upstream_waits: upstream.with(["waited"]),
            upstream_refused: upstream.with(["refused"]),
            passwords: PasswordMetrics {
                verified: passwords.with(["verified"]),
                remembered: passwords.with(["remembered"]),
                refused: passwords.with(["refused"]),
            },
            subrequest_cache: SubrequestCacheMetrics {
                hits: subrequest_cache.with(["hit"]),
                misses: subrequest_cache.with(["miss"]),
                evicted: subrequest_cache.with(["evicted"]),
            },
            mirror: MirrorMetrics {
                sent: mirror.with(["sent"]),
                failed: mirror.with(["failed"]),
                dropped: mirror.with(["dropped"]),
            },
            not_compressed: registry.counter(
                "portolan_compression_refused_total",
                "Responses that were not compressed with a coding because encoders took too much memory.",
            ),
            buffered,
        }
    }
}
