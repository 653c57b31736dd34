//! Metrics whose values are read when the page is made.

use prometheus::core::{Collector, Desc};
use prometheus::proto;

use crate::metrics::label::pair;

/// Receives the label values and the value of each metric of a family.
pub type SampleSink<'a, const N: usize> = dyn FnMut([&str; N], f64) + 'a;

/// A family whose metrics are produced by a function at each scrape.
pub(super) struct CallbackFamily<F, const N: usize> {
    pub(super) desc: Desc,
    pub(super) labels: [String; N],
    pub(super) kind: proto::MetricType,
    pub(super) read: F,
}

impl<F, const N: usize> Collector for CallbackFamily<F, N>
where
    F: Fn(&mut SampleSink<'_, N>) + Send + Sync,
{
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut samples = Vec::new();
        (self.read)(&mut |values, number| {
            let mut metric = proto::Metric::default();
            if self.kind == proto::MetricType::COUNTER {
                let mut counter = proto::Counter::default();
                counter.set_value(number);
                metric.set_counter(counter);
            } else {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(number);
                metric.set_gauge(gauge);
            }
            metric.set_label(self.labels.iter().zip(values).map(|(name, value)| pair(name, value)).collect());
            samples.push(metric);
        });
        if samples.is_empty() {
            return Vec::new();
        }
        let mut family = proto::MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(self.kind);
        family.set_metric(samples);
        vec![family]
    }
}
