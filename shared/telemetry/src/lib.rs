//! Metrics, logs, readiness gates, the admin pages and the reports of what is wrong.
//!
//! Holds what every service tells about itself. Knows nothing of DNS, HTTP proxying or Kubernetes. A number or a
//! line of a hot path costs its caller a write to memory of its own thread; see [`Seat`].

pub mod json;
mod page;
mod seat;

mod cells;
mod gates;
pub mod log;

pub mod metrics;

mod lines;
mod report;

pub use gates::{Gate, Gates, Monitor};
pub use lines::Lines;
pub use page::{Admin, Answer, Asked, Pages, Route, listen};
pub use report::{Problem, Reports};
pub use seat::Seat;
