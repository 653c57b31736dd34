//! The time from a change of endpoints until it is served: the DNS programming latency of Kubernetes' service level
//! indicators, under CoreDNS's metric name.

use std::collections::HashMap;

use cluster::{EndpointSlice, Event, Key, Kind, Kinds, Object, ObjectChange, Service, ServiceKind, Snapshot};
use jiff::Timestamp;
use telemetry::metrics::{Family, Histogram, Registry, exponential};

/// The histograms, by kind of Service.
pub(crate) struct ProgrammingLatency(Family<Histogram, 1>);

impl ProgrammingLatency {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self(registry.histograms(
            "coredns_kubernetes_dns_programming_duration_seconds",
            "Histogram of the time (in seconds) it took to program a dns instance.",
            ["service_kind"],
            // From a millisecond to about nine minutes.
            &exponential(0.001, 2.0, 20),
        ))
    }
}

/// The trigger times of the EndpointSlices in a batch, each once.
#[derive(Default)]
pub(crate) struct TriggerTimes(HashMap<Key, Vec<Timestamp>>);

impl TriggerTimes {
    /// Records the trigger time of a new or changed slice, if it is one. A relist repeats old times with unchanged slices, and the
    /// changes behind the first list happened before this process started: their times are not even parsed.
    pub(crate) fn add(&mut self, event: &Event, since: &str, cluster: &Snapshot) {
        let Event::Apply(Object::EndpointSlice(slice)) = event else { return };
        let listed = cluster.synced(Kinds::of(&[Kind::EndpointSlice]));
        if !listed || cluster.get::<EndpointSlice>(&slice.key) == Some(slice) {
            return;
        }
        let Ok(since) = since.parse() else { return };
        let times = self.0.entry(slice.key.clone()).or_default();
        if times.last() != Some(&since) {
            times.push(since);
        }
    }

    /// Measures the slices that changed. A headless Service whose slice has a trigger time has a selector: only the
    /// controller that evaluates selectors writes trigger times.
    pub(crate) fn measure(
        self,
        programming: &ProgrammingLatency,
        cluster: &Snapshot,
        touched: &[ObjectChange],
    ) {
        if self.0.is_empty() {
            return;
        }
        let now = Timestamp::now();
        for touched in touched {
            let ObjectChange::EndpointSlice(change) = touched else { continue };
            let Some(slice) = &change.after else { continue };
            let Some(times) = self.0.get(&slice.key) else { continue };
            let Some(service) = cluster.get::<Service>(&slice.service_key()) else { continue };
            let kind = match service.kind {
                ServiceKind::Headless => "headless_with_selector",
                ServiceKind::ClusterIp(_) | ServiceKind::ExternalName(_) => "cluster_ip",
            };
            for since in times {
                // The clock of the machine that wrote the time may be ahead of ours.
                programming.0.with([kind]).observe(now.duration_since(*since).as_secs_f64().max(0.0));
            }
        }
    }
}
