//! Metrics of the requests to the API server, under CoreDNS's names.

use std::time::Duration;

use telemetry::metrics::{Counter, Family, Histogram, Registry};

/// Every request is a GET: a list or a watch.
const METHOD: &str = "GET";

/// The default buckets of Prometheus' client libraries.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics of one client.
#[derive(Clone)]
pub(super) struct ApiMetrics {
    requests: Family<Counter, 3>,
    durations: Family<Histogram, 2>,
    holds: Family<Histogram, 2>,
}

impl ApiMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            requests: registry.counters(
                "coredns_kubernetes_rest_client_requests_total",
                "Number of HTTP requests, partitioned by status code, method, and host.",
                ["code", "method", "host"],
            ),
            durations: registry.histograms(
                "coredns_kubernetes_rest_client_request_duration_seconds",
                "Request latency in seconds. Broken down by verb and host.",
                ["verb", "host"],
                &BOUNDS,
            ),
            holds: registry.histograms(
                "coredns_kubernetes_rest_client_rate_limiter_duration_seconds",
                "Client side rate limiter latency in seconds. Broken down by verb and host.",
                ["verb", "host"],
                &BOUNDS,
            ),
        }
    }

    /// Counts a request to `host` that was delayed by the client's own limit (`apiserver_qps`).
    pub(super) fn held(&self, host: &str, waited: Duration) {
        self.holds.with([METHOD, host]).observe(waited.as_secs_f64());
    }

    /// Counts a request to `host` with the time to the head of its response; `code` is the status or `<error>`. The rest
    /// of a watch takes as long as the watch is open.
    pub(super) fn done(&self, code: &str, host: &str, took: Duration) {
        self.requests.with([code, METHOD, host]).inc();
        self.durations.with([METHOD, host]).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_and_timed_under_the_names_of_coredns() {
        let registry = Registry::new();
        let metrics = ApiMetrics::new(&registry);
        metrics.done("200", "10.96.0.1:443", Duration::from_millis(30));
        metrics.done("<error>", "10.96.0.1:443", Duration::from_secs(30));
        metrics.held("10.96.0.2:443", Duration::from_millis(200));
        let text = registry.text();
        let lines: Vec<&str> =
            text.lines().filter(|line| !line.contains("_bucket") && !line.contains("_sum")).collect();
        assert_eq!(
            lines,
            [
                "# HELP coredns_kubernetes_rest_client_rate_limiter_duration_seconds Client side rate limiter latency in seconds. Broken down by verb and host.",
                "# TYPE coredns_kubernetes_rest_client_rate_limiter_duration_seconds histogram",
                r#"coredns_kubernetes_rest_client_rate_limiter_duration_seconds_count{verb="GET",host="10.96.0.2:443"} 1"#,
                "# HELP coredns_kubernetes_rest_client_request_duration_seconds Request latency in seconds. Broken down by verb and host.",
                "# TYPE coredns_kubernetes_rest_client_request_duration_seconds histogram",
                r#"coredns_kubernetes_rest_client_request_duration_seconds_count{verb="GET",host="10.96.0.1:443"} 2"#,
                "# HELP coredns_kubernetes_rest_client_requests_total Number of HTTP requests, partitioned by status code, method, and host.",
                "# TYPE coredns_kubernetes_rest_client_requests_total counter",
                r#"coredns_kubernetes_rest_client_requests_total{code="200",method="GET",host="10.96.0.1:443"} 1"#,
                r#"coredns_kubernetes_rest_client_requests_total{code="<error>",method="GET",host="10.96.0.1:443"} 1"#,
            ]
        );
        let bounds: Vec<&str> =
            text.lines().filter_map(|line| line.split("le=\"").nth(1)?.split('"').next()).collect();
        let usual = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf"];
        assert_eq!(bounds, [usual, usual].concat());
    }
}
