//! The metrics of the controller.

use telemetry::metrics::{Counter, Family, Gauge, Registry};

/// Registered once; series appear when they are used.
pub struct ControllerMetrics {
    /// Whether this process is the leader, by class, namespace, Pod and Lease.
    pub(crate) leader: Family<Gauge, 4>,
    /// Events that were not written.
    pub(crate) dropped_events: Counter,
    /// Requests of the admission webhook, by result.
    pub(crate) reviews: Family<Counter, 1>,
}

impl ControllerMetrics {
    /// Registers the metrics. The name of the first is ingress-nginx's.
    pub fn new(registry: &Registry) -> Self {
        Self {
            leader: registry.gauges(
                "nginx_ingress_controller_leader_election_status",
                "Gauge reporting status of the leader election, 0 indicates follower, 1 indicates leader. 'name' is the string used to identify the lease",
                ["controller_class", "controller_namespace", "controller_pod", "name"],
            ),
            reviews: registry.counters(
                "portolan_controller_admission_reviews_total",
                "Requests of the admission webhook, by result: admitted, refused, failed (no AdmissionReview that could be read).",
                ["result"],
            ),
            dropped_events: registry.counter(
                "portolan_controller_events_dropped_total",
                "Events about objects that were not written: too many in all or of one object, or refused by the API server.",
            ),
        }
    }
}
