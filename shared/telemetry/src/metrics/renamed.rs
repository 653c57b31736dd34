//! The metrics of a family under a second name.

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use crate::metrics::family::Family;
use crate::metrics::label::pair;
use crate::metrics::value::Metric;

/// A family exported once more under another name, with `N` labels that a function derives from the `S` labels of the source.
/// It stores no values, so a metric is counted once and costs nothing more on a hot path.
pub(super) struct RenamedFamily<M: Metric, F, const S: usize, const N: usize> {
    pub(super) desc: Desc,
    pub(super) labels: [String; N],
    pub(super) source: Family<M, S>,
    pub(super) rename: F,
}

impl<M: Metric, F, const S: usize, const N: usize> Collector for RenamedFamily<M, F, S, N>
where
    F: Fn(&[String; S]) -> Option<[&str; N]> + Send + Sync,
{
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut samples = Vec::new();
        self.source.each(|values, metric| {
            let Some(values) = (self.rename)(values) else { return };
            let mut sample = metric.sample();
            sample.set_label(self.labels.iter().zip(values).map(|(name, value)| pair(name, value)).collect());
            samples.push(sample);
        });
        let mut family = proto::MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(M::TYPE);
        family.set_metric(samples);
        vec![family]
    }
}
