//! Metrics under the names they are given, in Prometheus's text format.
//!
//! Asking the registry for a name that it has gives the same numbers again, so they outlive a reload. Labels
//! are resolved when something is built; the hot path only adds to a number it holds.

mod family;
mod registry;
mod value;

pub use family::Family;
pub use registry::Registry;
pub use value::{Counter, Gauge, Histogram, Metric, exponential};
