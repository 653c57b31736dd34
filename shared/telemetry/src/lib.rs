//! Observability of a service: metrics, logs, readiness gates, admin listeners and problem reports.
//!
//! Independent of DNS, HTTP proxying and Kubernetes. Incrementing a counter or writing a log line on a hot path costs a write to
//! memory of the calling thread; see [`ThreadSlot`].

mod admin_address;
mod admin_message;
mod causes;
pub mod json;
pub mod otlp;
mod thread_slot;

mod cells;
pub mod metrics;

mod log_writer;
mod log_target;
pub mod span_queue;

pub mod log;
pub mod panics;

mod admin;
mod readiness;

mod report;
mod web_config;

pub use admin::access::{AccessDecision, AccessPolicy, AdminStream, BoxFuture};
pub use admin::{AdminListener, AdminRoute, AdminServer, EventSource, PolicyGuard, listen};
pub use admin_address::AdminAddress;
pub use admin_message::{AdminPeer, AdminRequest, AdminResponse};
pub use causes::causes;
pub use log_target::{LogTarget, LogTargetControl, LogTargetOutput};
pub use log_writer::LogWriter;
pub use readiness::{Monitor, ReadinessGate, ReadinessGates};
pub use report::{Problem, Reports, Severity};
pub use thread_slot::ThreadSlot;
pub use web_config::WebConfigPolicy;
