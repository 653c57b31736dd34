//! What all names and labels begin with.

use crate::options::Controller;

/// The full name of a metric.
pub(super) fn name(name: &str) -> String {
    format!("nginx_ingress_controller_{name}")
}

/// The labels that say whose metric it is.
pub(super) const OWN: [&str; 3] = ["controller_class", "controller_namespace", "controller_pod"];

/// And their values.
pub(super) fn own(controller: &Controller) -> [&str; 3] {
    [&controller.class, &controller.namespace, &controller.pod]
}
