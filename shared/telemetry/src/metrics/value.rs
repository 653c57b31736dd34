//! One number, or one distribution.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus::proto;

use crate::cells::Rows;

/// What a registry can hold a family of.
pub trait Metric: Clone + Send + Sync + 'static {
    /// What has to be known to make one.
    type Shape: Clone + PartialEq + Send + Sync + 'static;
    /// How it is announced.
    const TYPE: proto::MetricType;

    /// A new one that stands at zero.
    fn new(shape: &Self::Shape) -> Self;

    /// Its value at the moment, without labels.
    fn sample(&self) -> proto::Metric;
}

/// A number that only grows. Copies count together.
#[derive(Clone)]
pub struct Counter(Arc<Rows>);

impl Counter {
    /// One more. Hot: no allocation.
    pub fn inc(&self) {
        self.0.own().add(0, 1);
    }

    /// So many more. Hot: no allocation.
    pub fn add(&self, amount: u64) {
        self.0.own().add(0, amount);
    }

    /// The sum over all threads.
    pub fn value(&self) -> u64 {
        self.0.total(0)
    }
}

impl Default for Counter {
    /// A counter that no registry shows.
    fn default() -> Self {
        Self(Arc::new(Rows::new(1)))
    }
}

impl Metric for Counter {
    type Shape = ();
    const TYPE: proto::MetricType = proto::MetricType::COUNTER;

    fn new((): &()) -> Self {
        Self::default()
    }

    fn sample(&self) -> proto::Metric {
        let mut counter = proto::Counter::default();
        counter.set_value(self.value() as f64);
        let mut metric = proto::Metric::default();
        metric.set_counter(counter);
        metric
    }
}

/// A number that goes up and down. Copies are the same number.
#[derive(Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// It stands at `value`.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// So much more, or less.
    pub fn add(&self, amount: f64) {
        let _always_some =
            self.0.fetch_update(Relaxed, Relaxed, |bits| Some((f64::from_bits(bits) + amount).to_bits()));
    }

    /// Where it stands.
    pub fn value(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }
}

impl Metric for Gauge {
    type Shape = ();
    const TYPE: proto::MetricType = proto::MetricType::GAUGE;

    fn new((): &()) -> Self {
        Self::default()
    }

    fn sample(&self) -> proto::Metric {
        let mut gauge = proto::Gauge::default();
        gauge.set_value(self.value());
        proto::Metric::from_gauge(gauge)
    }
}

/// How many there are of something that threads begin and end all the time, even on each other's behalf. Copies are
/// the same number. Costs what a counter costs, where a [`Gauge`] costs a locked instruction.
#[derive(Clone)]
pub struct UpDownCounter(Arc<Rows>);

impl UpDownCounter {
    /// One more. Hot: no allocation.
    pub fn inc(&self) {
        self.0.own().add(0, 1);
    }

    /// One less. Hot: no allocation.
    pub fn dec(&self) {
        self.0.own().add(0, u64::MAX);
    }

    /// The sum over all threads; what moves while it is read may be seen half.
    pub fn value(&self) -> i64 {
        self.0.total(0) as i64
    }
}

impl Default for UpDownCounter {
    /// A level that no registry shows.
    fn default() -> Self {
        Self(Arc::new(Rows::new(1)))
    }
}

/// How often something was how large. Copies count together.
#[derive(Clone)]
pub struct Histogram {
    /// A row for each bucket, one for what is above them all, and the sum.
    rows: Arc<Rows>,
    bounds: Arc<[f64]>,
}

impl Histogram {
    /// Counts a value. Hot: no allocation.
    pub fn observe(&self, value: f64) {
        // Few bounds, small values mostly: a walk is as fast as a search here.
        let bucket = self.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.bounds.len());
        let rows = self.rows.own();
        rows.add(bucket, 1);
        rows.add_float(self.bounds.len() + 1, value);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        (0..=self.bounds.len()).map(|row| self.rows.total(row)).sum()
    }
}

impl Metric for Histogram {
    /// The buckets' upper bounds, ascending, without infinity.
    type Shape = Arc<[f64]>;
    const TYPE: proto::MetricType = proto::MetricType::HISTOGRAM;

    fn new(bounds: &Arc<[f64]>) -> Self {
        Self { rows: Arc::new(Rows::new(bounds.len() + 2)), bounds: bounds.clone() }
    }

    fn sample(&self) -> proto::Metric {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (row, bound) in self.bounds.iter().enumerate() {
            count += self.rows.total(row);
            let mut bucket = proto::Bucket::default();
            bucket.set_cumulative_count(count);
            bucket.set_upper_bound(*bound);
            buckets.push(bucket);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_sample_count(count + self.rows.total(self.bounds.len()));
        histogram.set_sample_sum(self.rows.total_float(self.bounds.len() + 1));
        histogram.set_bucket(buckets);
        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        metric
    }
}

/// Bounds that grow by a factor: `exponential(0.00025, 2.0, 16)` are CoreDNS's for durations.
pub fn exponential(first: f64, factor: f64, count: usize) -> Vec<f64> {
    std::iter::successors(Some(first), |bound| Some(bound * factor)).take(count).collect()
}
