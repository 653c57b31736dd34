//! What outlives a request and a configuration: the state of a worker thread.

pub(crate) mod client_table;
pub(crate) mod worker;

mod balancer;
