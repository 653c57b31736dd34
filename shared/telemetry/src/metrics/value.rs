//! Metric types: counters, gauges, histograms.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus::proto;

use crate::cells::{Rows, ThreadRows};

/// A type of metric that a registry can hold.
pub trait Metric: Clone + Send + Sync + 'static {
    /// The parameters of a new metric.
    type Shape: Clone + PartialEq + Send + Sync + 'static;
    /// The type in the exposition format.
    const TYPE: proto::MetricType;

    /// Creates a metric with value zero.
    fn new(shape: &Self::Shape) -> Self;

    /// The current value, without labels.
    fn sample(&self) -> proto::Metric;
}

/// A monotonically increasing number. Clones share the number.
#[derive(Clone)]
pub struct Counter {
    rows: Arc<Rows>,
    row: usize,
}

impl Counter {
    /// Adds 1. Hot: no allocation.
    #[inline(always)]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `amount`. Hot: no allocation.
    #[inline(always)]
    pub fn add(&self, amount: u64) {
        self.rows.of_thread().add(self.row, amount);
    }

    /// The sum over all threads.
    pub fn value(&self) -> u64 {
        self.rows.total(self.row)
    }

    /// The counter of a row among others.
    pub(super) fn in_rows(rows: &Arc<Rows>, row: usize) -> Self {
        Self { rows: rows.clone(), row }
    }
}

impl Default for Counter {
    /// A counter that belongs to no registry.
    fn default() -> Self {
        Self { rows: Arc::new(Rows::new(1)), row: 0 }
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

/// A number that can go up and down. Clones share the number.
#[derive(Clone, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Relaxed);
    }

    /// Adds `amount`, which may be negative.
    pub fn add(&self, amount: f64) {
        let _always_some =
            self.0.fetch_update(Relaxed, Relaxed, |bits| Some((f64::from_bits(bits) + amount).to_bits()));
    }

    /// The current value.
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

/// The number of things of a kind that exist now, for frequent changes from many threads; one thread may decrement what another
/// has incremented. Clones share the number. As cheap as a [`Counter`]; a [`Gauge`] needs a locked instruction.
#[derive(Clone)]
pub struct UpDownCounter(Arc<Rows>);

impl UpDownCounter {
    /// Adds 1. Hot: no allocation.
    #[inline(always)]
    pub fn inc(&self) {
        self.0.of_thread().add(0, 1);
    }

    /// Subtracts 1. Hot: no allocation.
    #[inline(always)]
    pub fn dec(&self) {
        self.0.of_thread().add(0, u64::MAX);
    }

    /// The sum over all threads. A change during the call may be included in part.
    pub fn value(&self) -> i64 {
        self.0.total(0) as i64
    }
}

impl Default for UpDownCounter {
    /// A number that belongs to no registry.
    fn default() -> Self {
        Self(Arc::new(Rows::new(1)))
    }
}

/// A distribution of values over buckets. Clones share the counts.
#[derive(Clone)]
pub struct Histogram {
    rows: Arc<Rows>,
    layout: Arc<HistogramLayout>,
}

/// Where a histogram is among its rows.
pub(super) struct HistogramLayout {
    /// The upper bounds of its buckets.
    pub(super) bounds: Arc<[f64]>,
    /// The row of the first bucket. The others follow, the last of them for values above all bounds.
    pub(super) buckets: usize,
    /// The row of the sum.
    pub(super) sum: usize,
}

impl HistogramLayout {
    /// Adds a value.
    #[inline]
    pub(super) fn observe(&self, rows: &ThreadRows, value: f64) {
        // Most values are small or above all bounds: for those, this is faster than a binary search.
        let is_above = self.bounds.last().is_none_or(|last| value > *last);
        let bounded = if is_above { None } else { self.bounds.iter().position(|bound| value <= *bound) };
        let bucket = bounded.unwrap_or(self.bounds.len());
        rows.add(self.buckets + bucket, 1);
        rows.add_float(self.sum, value);
    }
}

impl Histogram {
    /// Adds a value. Hot: no allocation.
    #[inline(always)]
    pub fn observe(&self, value: f64) {
        self.layout.observe(&self.rows.of_thread(), value);
    }

    /// The number of values.
    pub fn count(&self) -> u64 {
        (0..=self.layout.bounds.len()).map(|bucket| self.in_bucket(bucket)).sum()
    }

    fn in_bucket(&self, bucket: usize) -> u64 {
        self.rows.total(self.layout.buckets + bucket)
    }

    /// The histogram of some rows among others.
    pub(super) fn in_rows(rows: &Arc<Rows>, layout: &Arc<HistogramLayout>) -> Self {
        Self { rows: rows.clone(), layout: layout.clone() }
    }
}

impl Metric for Histogram {
    /// The upper bounds of the buckets, ascending, without infinity.
    type Shape = Arc<[f64]>;
    const TYPE: proto::MetricType = proto::MetricType::HISTOGRAM;

    fn new(bounds: &Arc<[f64]>) -> Self {
        let layout = HistogramLayout { bounds: bounds.clone(), buckets: 0, sum: bounds.len() + 1 };
        Self { rows: Arc::new(Rows::new(bounds.len() + 2)), layout: Arc::new(layout) }
    }

    fn sample(&self) -> proto::Metric {
        let mut count = 0;
        let bounds = &self.layout.bounds;
        let mut buckets = Vec::with_capacity(bounds.len());
        for (number, bound) in bounds.iter().enumerate() {
            count += self.in_bucket(number);
            let mut bucket = proto::Bucket::default();
            bucket.set_cumulative_count(count);
            bucket.set_upper_bound(*bound);
            buckets.push(bucket);
        }
        let mut histogram = proto::Histogram::default();
        histogram.set_sample_count(count + self.in_bucket(bounds.len()));
        histogram.set_sample_sum(self.rows.total_float(self.layout.sum));
        histogram.set_bucket(buckets);
        let mut metric = proto::Metric::default();
        metric.set_histogram(histogram);
        metric
    }
}

/// Bucket bounds that grow by a factor: `exponential(0.00025, 2.0, 16)` are CoreDNS's for durations.
pub fn exponential(first: f64, factor: f64, count: usize) -> Vec<f64> {
    std::iter::successors(Some(first), |bound| Some(bound * factor)).take(count).collect()
}
