//! Metrics under the names they are given, in Prometheus's text format.
//!
//! Asking the registry for a name that it has gives the same numbers again, so they outlive a reload. Labels
//! are resolved when something is built; the hot path only adds to a number it holds.

mod label;
mod process;
mod value;

mod family;
mod callback;

mod registry;

pub use callback::SampleSink;
pub use family::{Family, Labels};
pub use process::Process;
pub use registry::Registry;
pub use value::{Counter, Gauge, Histogram, Metric, UpDownCounter, exponential};
