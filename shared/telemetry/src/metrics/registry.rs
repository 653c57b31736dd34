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
mod tests {
    use super::*;
    use crate::metrics::exponential;

    #[test]
    fn metrics_are_written_in_the_text_format() {
        let registry = Registry::new();
        registry.counters("nginx_ingress_controller_requests", "Requests.", ["host", "status"]);
        let requests =
            registry.counters("nginx_ingress_controller_requests", "Requests.", ["host", "status"]);
        requests.with(["a.example", "200"]).add(2);
        requests.with(["a\"b", "404"]).inc();
        registry.gauge("up", "Whether it is.").set(1.5);
        let sizes = registry.histograms("size_bytes", "Sizes.", ["proto"], &[1.0, 10.0]);
        for size in [0.5, 1.0, 5.0, 50.0] {
            sizes.with(["udp"]).observe(size);
        }
        let wanted = "\
# HELP nginx_ingress_controller_requests Requests.
# TYPE nginx_ingress_controller_requests counter
nginx_ingress_controller_requests{host=\"a\\\"b\",status=\"404\"} 1
nginx_ingress_controller_requests{host=\"a.example\",status=\"200\"} 2
# HELP size_bytes Sizes.
# TYPE size_bytes histogram
size_bytes_bucket{proto=\"udp\",le=\"1\"} 2
size_bytes_bucket{proto=\"udp\",le=\"10\"} 3
size_bytes_bucket{proto=\"udp\",le=\"+Inf\"} 4
size_bytes_sum{proto=\"udp\"} 56.5
size_bytes_count{proto=\"udp\"} 4
# HELP up Whether it is.
# TYPE up gauge
up 1.5
";
        assert_eq!(registry.text(), wanted);
        let read = registry.read("nginx_ingress_controller_requests");
        let hosts: Vec<_> = read.iter().map(|sample| (sample.label("host"), sample.value)).collect();
        assert_eq!(hosts, [("a\"b", 1.0), ("a.example", 2.0)]);
        let sizes = registry.read("size_bytes");
        assert_eq!(
            (sizes[0].value, sizes[0].count, &*sizes[0].buckets),
            (56.5, 4, &[(1.0, 2), (10.0, 3)][..])
        );
        assert_eq!(registry.read("unknown"), []);
    }

    #[test]
    fn callbacks_are_called_at_each_scrape() {
        let registry = Registry::new();
        let level = crate::metrics::UpDownCounter::default();
        let read = level.clone();
        registry.callback_gauges("open", "What is open.", ["state"], move |sample| {
            if read.value() > 0 {
                sample(["now"], read.value() as f64);
            }
        });
        assert_eq!(registry.text(), "", "no samples");
        level.inc();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _slot = crate::ThreadSlot::claim();
                level.inc();
                level.inc();
            });
        });
        level.dec();
        assert!(registry.text().ends_with("open{state=\"now\"} 2\n"), "{}", registry.text());
    }

    #[test]
    fn a_family_is_exported_under_a_second_name() {
        let registry = Registry::new();
        let labels = ["proxy_name", "to"];
        let source = registry.histograms("proxy_seconds", "Durations.", labels, &[1.0]);
        registry.renamed("forward_seconds", "Old.", ["to"], source.clone(), |[proxy, to]| {
            (proxy == "forward").then_some([to])
        });
        source.with(["forward", "a"]).observe(0.5);
        source.with(["grpc", "b"]).observe(0.5);
        let text = registry.text();
        let renamed: Vec<_> = text.lines().filter(|line| line.starts_with("forward_seconds")).collect();
        let wanted = [
            "forward_seconds_bucket{to=\"a\",le=\"1\"} 1",
            "forward_seconds_bucket{to=\"a\",le=\"+Inf\"} 1",
            "forward_seconds_sum{to=\"a\"} 0.5",
            "forward_seconds_count{to=\"a\"} 1",
        ];
        assert_eq!(renamed, wanted);
        assert!(text.contains("# TYPE forward_seconds histogram\n"), "{text}");
    }

    #[test]
    fn metrics_without_values_are_described() {
        let registry = Registry::with_process();
        let requests = registry.counters("requests", "Requests.", ["host"]);
        registry.histograms("seconds", "Durations.", ["host"], &[1.0]);
        registry.callback_gauges("open", "What is open.", ["state"], |_| {});
        registry.renamed("old", "Requests.", [], requests, |_| Some([]));
        let described: Vec<_> = registry.descriptions();
        let line = |metric: &MetricDescription| {
            format!("{} {} [{}] {}", metric.name, metric.kind, metric.labels.join(","), metric.help)
        };
        let lines: Vec<_> = described.iter().map(line).collect();
        for wanted in [
            "old counter [] Requests.",
            "open gauge [state] What is open.",
            "requests counter [host] Requests.",
            "seconds histogram [host] Durations.",
        ] {
            assert!(lines.iter().any(|line| line == wanted), "{wanted}: {lines:?}");
        }
        for line in registry.text().lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let known = described.iter().any(|metric| line == format!("{} {}", metric.name, metric.kind));
            assert!(known, "{line} is not described");
        }
    }

    #[test]
    fn a_name_has_one_metric_and_removed_labels_are_not_exported() {
        let registry = Registry::new();
        registry.counter("queries_total", "Queries.").add(3);
        assert_eq!(registry.counter("queries_total", "Queries.").value(), 3);
        let hosts = registry.counters("requests", "Requests.", ["host"]);
        hosts.with(["kept"]).inc();
        hosts.with(["gone"]).inc();
        hosts.remove(&["gone".to_owned()]);
        assert!(registry.text().contains("kept") && !registry.text().contains("gone"));
    }

    #[test]
    fn metrics_beyond_the_limit_of_a_family_are_counted() {
        let registry = Registry::with_process();
        let hosts = registry.counters("requests", "Requests.", ["host"]);
        (0..crate::metrics::family::MAX_SERIES).for_each(|host| drop(hosts.with([&host.to_string()])));
        hosts.with(["one-too-many"]).inc();
        hosts.with(["7"]).inc();
        let text = registry.text();
        assert!(!text.contains("one-too-many") && text.contains("requests{host=\"7\"} 1\n"));
        assert!(text.contains("portolan_metric_series_dropped_total 1\n"));
        let long = registry.counters("paths", "Paths.", ["path"]);
        long.with([&"ü".repeat(1 << 20)]).inc();
        assert!(registry.text().lines().all(|line| line.len() < 1100));
    }

    #[test]
    fn a_registry_with_process_metrics_exports_them() {
        assert!(Registry::with_process().text().contains("process_resident_memory_bytes"));
    }

    #[test]
    fn exponential_bounds_are_those_of_coredns() {
        let bounds = exponential(0.00025, 2.0, 16);
        assert_eq!((bounds.len(), bounds[15]), (16, 8.192));
    }
}
