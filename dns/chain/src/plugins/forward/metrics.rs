//! The metrics of `forward` and of its upstreams.

use std::collections::BTreeMap;

use telemetry::metrics::{Counter, Family, Histogram, Registry, exponential};

/// The value of the `proxy_name` label.
pub(super) const PROXY: &str = "forward";

/// The metrics of all `forward` plugins.
pub(super) struct ForwardMetrics {
    /// Queries over `max_concurrent`.
    pub rejected: Counter,
    /// Queries for which no upstream was healthy.
    pub all_down: Counter,
    pub upstreams: UpstreamFamilies,
}

/// The metrics of upstreams, by their address.
#[derive(Clone)]
pub(super) struct UpstreamFamilies {
    pub connection_hits: Family<Counter, 3>,
    pub connection_misses: Family<Counter, 3>,
    pub health_check_failures: Family<Counter, 2>,
    pub durations: Family<Histogram, 3>,
    /// Queries that were not sent because too many were in flight.
    pub busy: Family<Counter, 1>,
    /// Replies over UDP that did not repeat the random letter case of the query.
    pub case_mismatches: Family<Counter, 1>,
}

impl ForwardMetrics {
    pub(super) fn new(metrics: &Registry) -> Self {
        Self {
            rejected: metrics.counter(
                "coredns_forward_max_concurrent_rejects_total",
                "Counter of the number of queries rejected because the concurrent queries were at maximum.",
            ),
            all_down: metrics.counter(
                "coredns_forward_healthcheck_broken_total",
                "Counter of the number of complete failures of the healthchecks.",
            ),
            upstreams: UpstreamFamilies::new(metrics),
        }
    }
}

impl UpstreamFamilies {
    fn new(metrics: &Registry) -> Self {
        let labels = ["proxy_name", "to", "proto"];
        Self {
            connection_hits: metrics.counters(
                "coredns_proxy_conn_cache_hits_total",
                "Counter of connection cache hits per upstream and protocol.",
                labels,
            ),
            connection_misses: metrics.counters(
                "coredns_proxy_conn_cache_misses_total",
                "Counter of connection cache misses per upstream and protocol.",
                labels,
            ),
            health_check_failures: metrics.counters(
                "coredns_proxy_healthcheck_failures_total",
                "Counter of the number of failed healthchecks.",
                ["proxy_name", "to"],
            ),
            durations: metrics.histograms(
                "coredns_proxy_request_duration_seconds",
                "Histogram of the time each outgoing took.",
                ["proxy_name", "to", "rcode"],
                &exponential(0.00025, 2.0, 16),
            ),
            busy: metrics.counters(
                "portolan_forward_upstream_busy_total",
                "Queries not sent to an upstream because too many were in flight to it.",
                ["to"],
            ),
            case_mismatches: metrics.counters(
                "portolan_forward_case_mismatches_total",
                "Replies over UDP that did not repeat the random letter case of the query (randomize_case).",
                ["to"],
            ),
        }
    }

    /// Exports these metrics under the names that they had before CoreDNS 1.11, too. Widely copied alerts still ask for them.
    /// The values are taken from the current metrics at each scrape.
    pub(super) fn export_legacy(&self, metrics: &Registry) {
        metrics.renamed(
            "coredns_forward_request_duration_seconds",
            "Histogram of the time each request took. Legacy name of coredns_proxy_request_duration_seconds.",
            ["to", "rcode"],
            self.durations.clone(),
            |[_, to, rcode]| Some([to, rcode]),
        );
        metrics.renamed(
            "coredns_forward_healthcheck_failures_total",
            "Counter of the number of failed healthchecks. Legacy name of coredns_proxy_healthcheck_failures_total.",
            ["to"],
            self.health_check_failures.clone(),
            |[_, to]| Some([to]),
        );
        let durations = self.durations.clone();
        metrics.callback_counters(
            "coredns_forward_requests_total",
            "Counter of requests made per upstream. Legacy: the count of coredns_proxy_request_duration_seconds.",
            ["to"],
            move |sample| {
                let mut sums = BTreeMap::<String, u64>::new();
                durations.each(|[_, to, _], duration| *sums.entry(to.clone()).or_default() += duration.count());
                sums.iter().for_each(|(to, sum)| sample([to], *sum as f64));
            },
        );
        let durations = self.durations.clone();
        metrics.callback_counters(
            "coredns_forward_responses_total",
            "Counter of responses received per upstream. Legacy: the count of coredns_proxy_request_duration_seconds.",
            ["to", "rcode"],
            move |sample| {
                durations.each(|[_, to, rcode], duration| sample([to, rcode], duration.count() as f64));
            },
        );
    }
}

/// Registers all metrics of the plugin.
pub(super) fn register(metrics: &Registry) {
    ForwardMetrics::new(metrics).upstreams.export_legacy(metrics);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_names_have_the_values_of_the_current_ones() {
        let registry = Registry::new();
        let upstreams = ForwardMetrics::new(&registry).upstreams;
        upstreams.export_legacy(&registry);
        // A second `forward` exports them again.
        ForwardMetrics::new(&registry).upstreams.export_legacy(&registry);
        for (rcode, count) in [("NOERROR", 3), ("SERVFAIL", 1)] {
            (0..count).for_each(|_| upstreams.durations.with([PROXY, "10.0.0.1:53", rcode]).observe(0.001));
        }
        upstreams.health_check_failures.with([PROXY, "10.0.0.1:53"]).add(2);
        let text = registry.text();
        for line in [
            "coredns_forward_requests_total{to=\"10.0.0.1:53\"} 4",
            "coredns_forward_responses_total{to=\"10.0.0.1:53\",rcode=\"NOERROR\"} 3",
            "coredns_forward_responses_total{to=\"10.0.0.1:53\",rcode=\"SERVFAIL\"} 1",
            "coredns_forward_request_duration_seconds_count{to=\"10.0.0.1:53\",rcode=\"NOERROR\"} 3",
            "coredns_forward_request_duration_seconds_bucket{to=\"10.0.0.1:53\",rcode=\"SERVFAIL\",le=\"0.001\"} 1",
            "coredns_forward_healthcheck_failures_total{to=\"10.0.0.1:53\"} 2",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
        assert_eq!(text.matches("# TYPE coredns_forward_requests_total ").count(), 1);
    }
}
