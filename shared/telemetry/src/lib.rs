//! Metrics, logs, readiness gates, the admin pages and the reports of what is wrong.
//!
//! Holds what every service tells about itself. Knows nothing of DNS, HTTP proxying or Kubernetes. A number or a
//! line of a hot path costs its caller a write to memory of its own thread; see [`Seat`].

mod answer;
mod causes;
pub mod json;
mod seat;

mod door;
mod page;

mod cells;
mod gates;
pub mod log;

pub mod metrics;

mod lines;
mod report;

pub use answer::{Answer, Asked};
pub use causes::causes;
pub use door::{Admission, Door, Later, Stream};
pub use gates::{Gate, Gates, Monitor};
pub use lines::Lines;
pub use page::{Admin, Doorway, Pages, Route, listen};
pub use report::{Problem, Reports};
pub use seat::Seat;
