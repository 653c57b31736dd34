//! The state of a worker thread, which outlives requests and configurations.

pub(crate) mod client_table;
pub(crate) mod worker;

mod balancer;
