//! Clients' connections, as nginx's status module counts them.

use telemetry::metrics::{Counter, Registry, UpDownCounter};

use super::names::{OWN, name, own};
use crate::options::Controller;

/// The counters and levels of clients' connections.
#[derive(Clone)]
pub(crate) struct ConnectionMetrics {
    pub(crate) accepted: Counter,
    pub(crate) handled: Counter,
    pub(crate) requests: Counter,
    /// Panics while a connection was served, which end that connection, or in a worker.
    pub(crate) panics: Counter,
    pub(crate) active: UpDownCounter,
    /// Connections whose request head has begun and is not complete.
    pub(crate) reading: UpDownCounter,
    /// Connections with an open request. All others are waiting.
    pub(crate) writing: UpDownCounter,
}

impl ConnectionMetrics {
    pub(super) fn new(registry: &Registry, controller: &Controller) -> Self {
        let labels = [OWN[0], OWN[1], OWN[2], "state"];
        let [class, namespace, pod] = own(controller);
        let total = registry.counters(
            &name("nginx_process_connections_total"),
            "total number of connections with state {accepted, handled}",
            labels,
        );
        let requests =
            registry.counters(&name("nginx_process_requests_total"), "total number of client requests", OWN);
        let (active, reading, writing) = <(UpDownCounter, UpDownCounter, UpDownCounter)>::default();
        let shown = (controller.clone(), active.clone(), reading.clone(), writing.clone());
        registry.callback_gauges(
            &name("nginx_process_connections"),
            "current number of client connections with state {active, reading, writing, waiting}",
            labels,
            move |report| {
                let (controller, active, reading, writing) = &shown;
                let [class, namespace, pod] = own(controller);
                let now = [active, reading, writing].map(|level| level.value().max(0));
                let waiting = (now[0] - now[1] - now[2]).max(0);
                let states = ["active", "reading", "writing"].into_iter().zip(now);
                for (state, count) in states.chain([("waiting", waiting)]) {
                    report([class, namespace, pod, state], count as f64);
                }
            },
        );
        Self {
            accepted: total.with([class, namespace, pod, "accepted"]),
            handled: total.with([class, namespace, pod, "handled"]),
            requests: requests.with([class, namespace, pod]),
            panics: registry.counter(
                "portolan_ingress_panics_total",
                "Bugs that ended a connection or a worker of the proxy.",
            ),
            active,
            reading,
            writing,
        }
    }
}
