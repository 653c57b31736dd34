//! Metrics of one name that differ by their labels.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use crate::metrics::value::Metric;

/// The metrics of one name, by the values of their `N` labels.
pub struct Family<M: Metric, const N: usize>(Arc<Inner<M, N>>);

struct Inner<M: Metric, const N: usize> {
    desc: Desc,
    labels: [String; N],
    shape: M::Shape,
    children: Mutex<BTreeMap<[String; N], M>>,
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

    /// The metric with these labels, in the order in which the family names them. Takes a lock: ask when
    /// something is built and keep what you get.
    pub fn with(&self, values: [&str; N]) -> M {
        let new = || M::new(&self.0.shape);
        self.children().entry(values.map(str::to_owned)).or_insert_with(new).clone()
    }

    /// Drops the metrics whose labels no longer mean anything, such as those of a deleted Ingress. Who still
    /// holds one counts unseen.
    pub fn retain(&self, mut keep: impl FnMut(&[String; N]) -> bool) {
        self.children().retain(|values, _| keep(values));
    }

    pub(super) fn fits(&self, labels: [&str; N], shape: &M::Shape) -> bool {
        self.0.labels == labels && self.0.shape == *shape
    }

    fn children(&self) -> MutexGuard<'_, BTreeMap<[String; N], M>> {
        self.0.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Metric, const N: usize> Collector for Family<M, N> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let children = self.children();
        let samples = children.iter().map(|(values, child)| {
            let mut sample = child.sample();
            sample
                .set_label(self.0.labels.iter().zip(values).map(|(name, value)| pair(name, value)).collect());
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

fn pair(name: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
