//! The metrics of one name, which differ by their labels.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use crate::metrics::label::pair;
use crate::metrics::value::Metric;

/// Maximum number of series of one name: several for each Ingress of a large cluster.
pub(super) const MAX_SERIES: usize = 200_000;
/// Maximum length in bytes of a label value given to [`Family::with`]; the rest is cut off.
const MAX_VALUE: usize = 1024;

/// Metrics that are not exported because their family was full.
static DROPPED_SERIES: AtomicU64 = AtomicU64::new(0);

/// The number of metrics that are not exported because their family was full.
pub(super) fn dropped_series() -> u64 {
    DROPPED_SERIES.load(Relaxed)
}

/// The values of `N` labels, in the order of the family's label names. Families with the same labels can share them.
pub type Labels<const N: usize> = Arc<[String; N]>;

/// The metrics of one name, by the values of their `N` labels. A label whose name is empty is not exported.
pub struct Family<M: Metric, const N: usize>(Arc<Inner<M, N>>);

struct Inner<M: Metric, const N: usize> {
    desc: Desc,
    labels: [String; N],
    shape: M::Shape,
    children: Mutex<BTreeMap<Labels<N>, M>>,
}

impl<M: Metric, const N: usize> Clone for Family<M, N> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Metric, const N: usize> Family<M, N> {
    pub(super) fn new(desc: Desc, labels: [&str; N], shape: M::Shape) -> Self {
        let labels = labels.map(str::to_owned);
        Self(Arc::new(Inner { desc, labels, shape, children: Mutex::default() }))
    }

    /// Returns the metric with these label values, in the order of the family's label names. Takes a lock: call it when a
    /// configuration is built, and keep the result.
    pub fn with(&self, values: [&str; N]) -> M {
        self.of(&Arc::new(values.map(|value| cut(value).to_owned())))
    }

    /// Returns the metric with these label values and stores them without copying. If the family has `MAX_SERIES` metrics, a
    /// new metric is not exported.
    pub fn of(&self, values: &Labels<N>) -> M {
        if let Some(known) = self.children().get(values) {
            return known.clone();
        }
        self.insert(values, M::new(&self.0.shape)).0
    }

    /// Stores a metric and returns it, or the one that has these label values already. If the family has `MAX_SERIES` metrics, it
    /// is not exported; the second value says whether it is.
    pub(super) fn insert(&self, values: &Labels<N>, metric: M) -> (M, bool) {
        let mut children = self.children();
        if let Some(known) = children.get(values) {
            return (known.clone(), true);
        }
        let has_room = children.len() < MAX_SERIES;
        if has_room {
            children.insert(values.clone(), metric.clone());
        } else {
            DROPPED_SERIES.fetch_add(1, Relaxed);
        }
        (metric, has_room)
    }

    /// The parameters of its metrics.
    pub(super) fn shape(&self) -> &M::Shape {
        &self.0.shape
    }

    /// Removes the metric with these labels, such as that of a deleted Ingress. Remaining clones still count, but are not
    /// exported.
    pub fn remove(&self, values: &[String; N]) {
        self.children().remove(values);
    }

    /// Removes the metrics for whose labels `keep` returns false.
    pub fn retain(&self, mut keep: impl FnMut(&[String; N]) -> bool) {
        self.children().retain(|values, _| keep(values));
    }

    /// Calls `read` with the labels and the value of each metric, in the order of the labels. Takes the lock of
    /// [`Family::with`] meanwhile.
    pub fn each(&self, mut read: impl FnMut(&[String; N], &M)) {
        self.children().iter().for_each(|(values, metric)| read(values, metric));
    }

    pub(super) fn fits(&self, labels: [&str; N], shape: &M::Shape) -> bool {
        self.0.labels == labels && self.0.shape == *shape
    }

    fn children(&self) -> MutexGuard<'_, BTreeMap<Labels<N>, M>> {
        self.0.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cut(value: &str) -> &str {
    let end = (0..=value.len().min(MAX_VALUE)).rfind(|end| value.is_char_boundary(*end));
    &value[..end.unwrap_or_default()]
}

impl<M: Metric, const N: usize> Collector for Family<M, N> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let children = self.children();
        let samples = children.iter().map(|(values, child)| {
            let mut sample = child.sample();
            let labels = self.0.labels.iter().zip(values.iter()).filter(|(name, _)| !name.is_empty());
            sample.set_label(labels.map(|(name, value)| pair(name, value)).collect());
            sample
        });
        let mut family = proto::MetricFamily::default();
        family.set_name(self.0.desc.fq_name.clone());
        family.set_help(self.0.desc.help.clone());
        family.set_field_type(M::TYPE);
        family.set_metric(samples.collect());
        vec![family]
    }
}
