//! The metrics of `etcd`.

use telemetry::metrics::{Counter, Registry};

#[derive(Clone)]
pub(super) struct EtcdMetrics {
    answered: Counter,
    failed: Counter,
    /// Queries that are refused because too many wait for etcd.
    pub rejected: Counter,
}

impl EtcdMetrics {
    pub(super) fn new(metrics: &Registry) -> Self {
        let requests = metrics.counters(
            "portolan_etcd_requests_total",
            "Requests to etcd by result: answered or failed.",
            ["result"],
        );
        Self {
            answered: requests.with(["answered"]),
            failed: requests.with(["failed"]),
            rejected: metrics.counter(
                "portolan_etcd_rejected_total",
                "Queries that were refused because too many were waiting for etcd.",
            ),
        }
    }

    pub(super) fn count(&self, is_answered: bool) {
        if is_answered { self.answered.inc() } else { self.failed.inc() }
    }
}
