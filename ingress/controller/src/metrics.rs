//! The metrics of the controller.

use cluster::Key;
use telemetry::metrics::{Counter, Family, Gauge, Registry};

/// Registered once; series appear when they are used.
pub struct ControllerMetrics {
    /// Whether this process is the leader, by class, namespace, Pod and Lease.
    pub(crate) leader: Family<Gauge, 4>,
    /// Events that were not written.
    pub(crate) dropped_events: Counter,
    /// Requests of the admission webhook, by result.
    pub(crate) reviews: Family<Counter, 1>,
    /// The Ingresses that it has judged.
    pub(crate) checks: IngressChecks,
}

/// Counts the Ingresses of the own class that the admission webhook has judged, under ingress-nginx's names: by class, namespace and Pod of the
/// controller, and namespace and name of the Ingress.
pub(crate) struct IngressChecks {
    pub(crate) admitted: Family<Counter, 5>,
    pub(crate) refused: Family<Counter, 5>,
}

impl IngressChecks {
    fn new(registry: &Registry) -> Self {
        let labels = ["controller_class", "controller_namespace", "controller_pod", "namespace", "ingress"];
        Self {
            admitted: registry.counters(
                "nginx_ingress_controller_check_success",
                "Cumulative number of Ingress controller syntax check operations",
                labels,
            ),
            refused: registry.counters(
                "nginx_ingress_controller_check_errors",
                "Cumulative number of Ingress controller errors during syntax check operations",
                labels,
            ),
        }
    }

    /// Counts an Ingress. `controller` has class, namespace and Pod.
    pub(crate) fn count(&self, controller: &[String; 3], ingress: &Key, is_admitted: bool) {
        let family = if is_admitted { &self.admitted } else { &self.refused };
        let [class, namespace, pod] = controller;
        family.with([class, namespace, pod, &ingress.namespace, &ingress.name]).inc();
    }
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
            checks: IngressChecks::new(registry),
            dropped_events: registry.counter(
                "portolan_controller_events_dropped_total",
                "Events about objects that were not written: too many in all or of one object, or refused by the API server.",
            ),
        }
    }
}
