//! The registry of metrics.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricType;

use crate::admin_message::{AdminRequest, AdminResponse};
use crate::metrics::callback::{CallbackFamily, SampleSink};
use crate::metrics::description::MetricDescription;
use crate::metrics::family::{Family, dropped_series};
use crate::metrics::process::ProcessMetrics;
use crate::metrics::renamed::RenamedFamily;
use crate::metrics::value::{Counter, Gauge, Histogram, Metric};

/// The metrics of a process or of one of its services. Clones share the metrics.
#[derive(Clone, Default)]
pub struct Registry(Arc<Inner>);

#[derive(Default)]
struct Inner {
    registry: prometheus::Registry,
    families: Mutex<HashMap<String, Box<dyn Any + Send>>>,
    descriptions: Mutex<BTreeMap<String, MetricDescription>>,
    /// The collectors by the name of their metric, for [`Registry::read`].
    collectors: Mutex<HashMap<String, Arc<dyn Collector>>>,
}

/// One series of a metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricSample {
    /// Names and values of its labels.
    pub labels: Vec<(String, String)>,
    /// The value of a counter or gauge; the sum of a histogram.
    pub value: f64,
    /// The number of values of a histogram.
    pub count: u64,
    /// The upper bounds of a histogram's buckets, each with the number of values up to it.
    pub buckets: Vec<(f64, u64)>,
}

impl MetricSample {
    /// The value of a label; empty if it has none.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

impl Registry {
    /// Creates an empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a registry with `process_*` (CPU, memory, file descriptors, start time) and `portolan_metric_series_dropped_total`.
    pub fn with_process() -> Self {
        let registry = Self::default();
        let process = ProcessMetrics::new();
        for family in process.collect() {
            let kind = family.get_field_type();
            registry.describe(MetricDescription::new(family.name(), kind, &[], family.help()));
        }
        registry.register("process", process);
        let help = "Metrics that are not exported because there are too many of their name.";
        registry.callback_counters("portolan_metric_series_dropped_total", help, [], |samples| {
            samples([], dropped_series() as f64);
        });
        registry
    }

    /// Returns the counter of that name; creates it if needed.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        self.counters(name, help, []).with([])
    }

    /// Returns the family of counters of that name; creates it if needed.
    pub fn counters<const N: usize>(&self, name: &str, help: &str, labels: [&str; N]) -> Family<Counter, N> {
        self.family(name, help, labels, ())
    }

    /// Returns the gauge of that name; creates it if needed.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        self.gauges(name, help, []).with([])
    }

    /// Returns the family of gauges of that name; creates it if needed.
    pub fn gauges<const N: usize>(&self, name: &str, help: &str, labels: [&str; N]) -> Family<Gauge, N> {
        self.family(name, help, labels, ())
    }

    /// Returns the histogram of that name; creates it if needed. `bounds` are the upper bounds of its buckets, ascending.
    pub fn histogram(&self, name: &str, help: &str, bounds: &[f64]) -> Histogram {
        self.histograms(name, help, [], bounds).with([])
    }

    /// Returns the family of histograms of that name; creates it if needed.
    pub fn histograms<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        bounds: &[f64],
    ) -> Family<Histogram, N> {
        self.family(name, help, labels, bounds.into())
    }

    /// Registers gauges whose values `read` produces at each scrape. If the name is registered already, this has no effect.
    pub fn callback_gauges<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        read: impl Fn(&mut SampleSink<'_, N>) + Send + Sync + 'static,
    ) {
        self.callback(name, help, labels, MetricType::GAUGE, read);
    }

    /// Registers counters whose values `read` produces at each scrape. If the name is registered already, this has no effect.
    pub fn callback_counters<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        read: impl Fn(&mut SampleSink<'_, N>) + Send + Sync + 'static,
    ) {
        self.callback(name, help, labels, MetricType::COUNTER, read);
    }

    /// Exports the metrics of a family under a second name as well. `rename` returns the labels there, or `None` to leave a
    /// metric out; it must not give two metrics the same labels. If the name is registered already, this has no effect.
    pub fn renamed<M: Metric, const S: usize, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        source: Family<M, S>,
        rename: impl Fn(&[String; S]) -> Option<[&str; N]> + Send + Sync + 'static,
    ) {
        self.describe(MetricDescription::new(name, M::TYPE, &labels, help));
        let (desc, labels) = (desc(name, help, &labels), labels.map(str::to_owned));
        self.register(name, RenamedFamily { desc, labels, source, rename });
    }

    /// All metrics that are registered, with or without values, by name.
    pub fn descriptions(&self) -> Vec<MetricDescription> {
        self.0.descriptions.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// All metrics in Prometheus's text format 0.0.4.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let families = self.0.registry.gather();
        // A family that cannot be encoded is omitted; the others are written.
        for family in families {
            let length = text.len();
            if prometheus::TextEncoder::new().encode_utf8(&[family], &mut text).is_err() {
                text.truncate(length);
            }
        }
        text
    }

    /// All series of a metric; empty if it is not registered. Takes as long as they are many.
    pub fn read(&self, name: &str) -> Vec<MetricSample> {
        let collectors = self.0.collectors.lock().unwrap_or_else(PoisonError::into_inner);
        // The metrics of the process are one collector.
        let key = if name.starts_with("process_") { "process" } else { name };
        let Some(collector) = collectors.get(key).cloned() else { return Vec::new() };
        drop(collectors);
        let families = collector.collect();
        families
            .iter()
            .filter(|family| family.name() == name)
            .flat_map(|family| family.get_metric())
            .map(sample)
            .collect()
    }

    /// The page `/metrics`.
    pub fn page(&self) -> impl Fn(&AdminRequest) -> AdminResponse + Send + Sync + 'static {
        let registry = self.clone();
        move |_| {
            let content_type = prometheus::TEXT_FORMAT;
            AdminResponse { status: StatusCode::OK, content_type, body: registry.text().into() }
        }
    }

    fn callback<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        kind: MetricType,
        read: impl Fn(&mut SampleSink<'_, N>) + Send + Sync + 'static,
    ) {
        self.describe(MetricDescription::new(name, kind, &labels, help));
        let (desc, labels) = (desc(name, help, &labels), labels.map(str::to_owned));
        self.register(name, CallbackFamily { desc, labels, kind, read });
    }

    fn register(&self, name: &str, collector: impl Collector + 'static) {
        let collector: Arc<dyn Collector> = Arc::new(collector);
        if self.0.registry.register(Box::new(SharedCollector(collector.clone()))).is_ok() {
            let mut collectors = self.0.collectors.lock().unwrap_or_else(PoisonError::into_inner);
            collectors.insert(name.to_owned(), collector);
        }
    }

    /// Lists a metric that is registered elsewhere. If the name is known already, this has no effect.
    pub fn describe(&self, description: MetricDescription) {
        let mut known = self.0.descriptions.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(description.name.clone()).or_insert(description);
    }

    fn family<M: Metric, const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
        shape: M::Shape,
    ) -> Family<M, N> {
        let mut families = self.0.families.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = families.get(name) {
            let family = known.downcast_ref::<Family<M, N>>().filter(|family| family.fits(labels, &shape));
            return family.expect("all uses of a metric name have the same type and labels").clone();
        }
        self.describe(MetricDescription::new(name, M::TYPE, &labels, help));
        let family = Family::new(desc(name, help, &labels), labels, shape);
        self.register(name, family.clone());
        families.insert(name.to_owned(), Box::new(family.clone()));
        family
    }
}

/// A collector that is registered and can be read by name.
struct SharedCollector(Arc<dyn Collector>);

impl Collector for SharedCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.0.collect()
    }
}

fn sample(metric: &prometheus::proto::Metric) -> MetricSample {
    let labels = metric.get_label().iter();
    let labels = labels.map(|label| (label.name().to_owned(), label.value().to_owned())).collect();
    let histogram = metric.get_histogram();
    let buckets = histogram.get_bucket().iter();
    MetricSample {
        labels,
        value: metric.get_counter().get_value() + metric.get_gauge().get_value() + histogram.get_sample_sum(),
        count: histogram.get_sample_count(),
        buckets: buckets.map(|bucket| (bucket.upper_bound(), bucket.cumulative_count())).collect(),
    }
}

fn desc(name: &str, help: &str, labels: &[&str]) -> Desc {
    let labels = labels.iter().filter(|label| !label.is_empty()).map(|label| (*label).to_owned()).collect();
    let desc = Desc::new(name.to_owned(), help.to_owned(), labels, HashMap::new());
    desc.expect("names of metrics and labels are constants and valid")
}

#[cfg(test)]
mod tests;
