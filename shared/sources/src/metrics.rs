//! Metrics of the sources and of the writer.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cluster::{Kind, ObjectChange, Snapshot};
use telemetry::metrics::{Counter, Family, Gauge, Histogram, Registry, exponential};

/// The state of sources by kind. With several clusters, the values are those of the source that last set them.
#[derive(Clone)]
pub(crate) struct SourceMetrics {
    connected: Family<Gauge, 1>,
    last_event: Family<Gauge, 1>,
}

impl SourceMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self {
            connected: registry.gauges(
                "portolan_source_connected",
                "1 while changes of the kind arrive, 0 while its source cannot be reached or refuses.",
                ["kind"],
            ),
            last_event: registry.gauges(
                "portolan_source_last_event_timestamp_seconds",
                "When the source last sent anything about the kind, in Unix time.",
                ["kind"],
            ),
        }
    }

    pub(crate) fn set_connected(&self, kind: Kind, connected: bool) {
        self.connected.with([kind.name()]).set(if connected { 1.0 } else { 0.0 });
    }

    pub(crate) fn received(&self, kind: Kind) {
        self.last_event.with([kind.name()]).set(unix_now().as_secs_f64());
    }

    /// The kind is no longer read.
    pub(crate) fn forget(&self, kind: Kind) {
        let labels = [kind.name().to_owned()];
        self.connected.remove(&labels);
        self.last_event.remove(&labels);
    }
}

impl std::fmt::Debug for SourceMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceMetrics").finish_non_exhaustive()
    }
}

/// Time since the Unix epoch.
pub(crate) fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Metrics of one writer. Their names begin with `portolan_cluster_`.
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

    /// Counts an event.
    pub(crate) fn received(&self) {
        self.events.inc();
    }

    /// Counts a batch whose views are published, and whose first event was received at `oldest`.
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
