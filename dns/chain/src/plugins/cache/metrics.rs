//! The metrics of a cache.

use telemetry::metrics::{Counter, Gauge, Registry};

/// The metrics of a cache for one server, list of zones and view.
pub(super) struct CacheMetrics {
    pub requests: Counter,
    pub misses: Counter,
    pub prefetches: Counter,
    pub stale: Counter,
    pub success: TableMetrics,
    pub denial: TableMetrics,
}

/// The metrics of one kind of answers.
pub(super) struct TableMetrics {
    pub entries: Gauge,
    pub hits: Counter,
    pub evictions: Counter,
    pub bytes: Gauge,
    pub evictions_for_bytes: Counter,
}

impl CacheMetrics {
    pub(super) fn new(metrics: &Registry, [server, zones, view]: [&str; 3]) -> Self {
        let counter = |name, help| {
            metrics.counters(name, help, ["server", "zones", "view"]).with([server, zones, view])
        };
        let by_kind = |kind| {
            let labels = ["server", "type", "zones", "view"];
            let values = [server, kind, zones, view];
            let entries = "The number of elements in the cache.";
            let evictions = "The count of cache evictions.";
            let bytes = "Bytes of memory that the cached answers take.";
            let for_bytes = "Answers evicted, or not cached, because cached answers took too many bytes.";
            TableMetrics {
                entries: metrics.gauges("coredns_cache_entries", entries, labels).with(values),
                hits: metrics
                    .counters("coredns_cache_hits_total", "The count of cache hits.", labels)
                    .with(values),
                evictions: metrics.counters("coredns_cache_evictions_total", evictions, labels).with(values),
                bytes: metrics.gauges("portolan_cache_bytes", bytes, labels).with(values),
                evictions_for_bytes: metrics
                    .counters("portolan_cache_evictions_for_bytes_total", for_bytes, labels)
                    .with(values),
            }
        };
        Self {
            requests: counter("coredns_cache_requests_total", "The count of cache requests."),
            misses: counter(
                "coredns_cache_misses_total",
                "The count of cache misses. Deprecated, derive misses from cache hits/requests counters.",
            ),
            prefetches: counter(
                "coredns_cache_prefetch_total",
                "The number of times the cache has prefetched a cached item.",
            ),
            stale: counter(
                "coredns_cache_served_stale_total",
                "The number of requests served from stale cache entries.",
            ),
            success: by_kind("success"),
            denial: by_kind("denial"),
        }
    }
}
