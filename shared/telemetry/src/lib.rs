//! Metrics, logs, readiness gates, the admin listeners and the reports of what is wrong.
//!
//! Holds what every service tells about itself. Knows nothing of DNS, HTTP proxying or Kubernetes. A number or a
//! line of a hot path costs its caller a write to memory of its own thread; see [`ThreadSlot`].

mod admin_message;
mod causes;
pub mod json;
mod thread_slot;

mod cells;
pub mod metrics;

mod log_writer;

pub mod log;
pub mod panics;

mod admin;
mod readiness;

mod report;
mod web_config;

pub use admin::access::{AccessDecision, AccessPolicy, AdminStream, BoxFuture};
pub use admin::{AdminListener, AdminRoute, AdminServer, PolicyGuard, listen};
pub use admin_message::{AdminRequest, AdminResponse};
pub use causes::causes;
pub use log_writer::LogWriter;
pub use readiness::{Monitor, ReadinessGate, ReadinessGates};
pub use report::{Problem, Reports, Severity};
pub use thread_slot::ThreadSlot;
pub use web_config::WebConfigPolicy;
