//! Metrics in Prometheus's text format.
//!
//! Requesting a registered name again returns the same metric, so values survive a reload of the configuration. Labels are
//! resolved when a configuration is built; the hot path adds to a metric that it already holds.

mod description;
mod label;
mod process;
mod value;

mod family;
mod event_family;
mod callback;
mod renamed;

mod registry;

pub use callback::SampleSink;
pub use description::MetricDescription;
pub use event_family::{EventFamily, EventSeries};
pub use family::{Family, Labels};
pub use process::Process;
pub use registry::{MetricSample, Registry};
pub use value::{Counter, Gauge, Histogram, Metric, UpDownCounter, exponential};
