//! What the proxy reports about requests: the access log and the metrics.

pub(crate) mod format;

pub(crate) mod upstream_log;

pub(crate) mod metrics;

pub(crate) mod access_log;
mod followed;
pub(crate) mod tls_details;
pub(crate) mod log_line;
pub(crate) mod span;
