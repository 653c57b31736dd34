//! What the writer tells about itself.

use std::time::Instant;

use cluster::{Kind, ObjectChange, Snapshot};
use telemetry::metrics::{Counter, Family, Gauge, Histogram, Registry, exponential};

/// The numbers of one writer. Names begin with `portolan_cluster_`.
pub(crate) struct WriterMetrics {
    batches: Counter,
    events: Counter,
    publish: Histogram,
    objects: Family<Gauge, 1>,
    changed: Family<Gauge, 1>,
}

impl WriterMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            batches: registry.counter("portolan_cluster_batches_total", "Batches of events applied."),
            events: registry.counter("portolan_cluster_events_total", "Events received from sources."),
            publish: registry.histogram(
                "portolan_cluster_publish_seconds",
                "From the oldest event of a batch to its views being visible.",
                &exponential(0.000_05, 2.0, 16),
            ),
            objects: registry.gauges("portolan_cluster_objects", "Objects held, by kind.", ["kind"]),
            changed: registry.gauges(
                "portolan_cluster_changed_timestamp_seconds",
                "When an object of the kind last changed, in Unix time.",
                ["kind"],
            ),
        }
    }

    /// An event has come.
    pub(crate) fn came(&self) {
        self.events.inc();
    }

    /// A batch is out that began with an event which came at `oldest`.
    pub(crate) fn published(
        &self,
        oldest: Option<Instant>,
        snapshot: &Snapshot,
        touched: &[ObjectChange],
        now: u64,
    ) {
        self.batches.inc();
        if let Some(oldest) = oldest
            && !touched.is_empty()
        {
            self.publish.observe(oldest.elapsed().as_secs_f64());
        }
        for kind in Kind::ALL.into_iter().filter(|kind| touched.iter().any(|touched| touched.kind() == *kind))
        {
            self.objects.with([kind.name()]).set(snapshot.count(kind) as f64);
            self.changed.with([kind.name()]).set(now as f64);
        }
    }
}
