//! The state of a worker thread, which outlives requests and configurations.

pub(crate) mod client_table;
pub(crate) mod encoder_memory;
pub(crate) mod listening;
pub(crate) mod open_streams;
pub(crate) mod passthrough_limit;
mod generations;
pub(crate) mod password_verifier;
pub(crate) mod request_memory;
pub(crate) mod span_exporter;
pub(crate) mod shared;
pub(crate) mod subrequest_cache;
pub(crate) mod udp_sessions;
pub(crate) mod streams;
pub(crate) mod worker;

mod balancer;
