//! The prefix of the names, and the constant labels.

use crate::options::Controller;

/// The full name of a metric.
pub(super) fn name(name: &str) -> String {
    format!("nginx_ingress_controller_{name}")
}

/// The labels of the controller, on every metric.
pub(super) const OWN: [&str; 3] = ["controller_class", "controller_namespace", "controller_pod"];

/// The values of these labels.
pub(super) fn own(controller: &Controller) -> [&str; 3] {
    [&controller.class, &controller.namespace, &controller.pod]
}
