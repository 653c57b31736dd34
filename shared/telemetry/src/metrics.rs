//! Metrics under the names they are given, in Prometheus's text format.
//!
//! Asking the registry for a name that it has gives the same numbers again, so they outlive a reload. Labels
//! are resolved when something is built; the hot path only adds to a number it holds.

mod label;
mod process;
mod value;

mod family;
mod reading;

mod registry;

pub use family::{Family, Labels};
pub use process::Process;
pub use reading::Tell;
pub use registry::Registry;
pub use value::{Counter, Gauge, Histogram, Level, Metric, exponential};
