//! Copies of requests for another server (`mirror-target`).

use std::fmt::Debug;

use super::subrequest::Subrequest;
use crate::exchange::Exchange;

/// Makes the copy of each request of a rule, whose response is not read.
pub trait MirrorRule: Debug + Send + Sync {
    /// The copy, without a body; `None` if the variables of the request make no URL.
    fn copy(&self, exchange: &Exchange) -> Option<Subrequest>;

    /// Whether the copy has the body of the request.
    fn copies_body(&self) -> bool;
}
