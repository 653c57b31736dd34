//! The properties of a metric that are known before it has a value.

use prometheus::proto::MetricType;

/// Name, type, labels and help text of a registered metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricDescription {
    /// The full name. A histogram is exported under this name with the suffixes `_bucket`, `_sum` and `_count`.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// The text of its `# HELP` line.
    pub help: String,
}

impl MetricDescription {
    pub(super) fn new(name: &str, kind: MetricType, labels: &[&str], help: &str) -> Self {
        let labels = labels.iter().filter(|label| !label.is_empty());
        let labels = labels.map(|label| (*label).to_owned()).collect();
        Self { name: name.to_owned(), kind: kind_name(kind), labels, help: help.to_owned() }
    }
}

fn kind_name(kind: MetricType) -> &'static str {
    match kind {
        MetricType::COUNTER => "counter",
        MetricType::HISTOGRAM => "histogram",
        _ => "gauge",
    }
}
