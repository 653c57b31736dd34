//! What the fronts of one address share.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use dns_chain::Routes;
use telemetry::metrics::Counter;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// The routes that are served now, and what is counted and waited for.
pub(crate) struct Shared {
    /// Swapped at a reload: a query sees the old ones or the new ones, whole.
    pub routes: ArcSwap<Routes>,
    /// `coredns_panics_total`.
    pub panics: Counter,
    /// Queries that wait for somebody else.
    pub tasks: TaskTracker,
    /// Where they wait.
    pub runtime: Handle,
}

impl Shared {
    pub(crate) fn new(routes: Arc<Routes>, panics: Counter, runtime: Handle) -> Self {
        Self { routes: ArcSwap::new(routes), panics, tasks: TaskTracker::new(), runtime }
    }
}

/// The message that `write` makes in this room; nothing if there is none.
pub(crate) fn written(room: &mut [u8], write: impl FnOnce(&mut [u8]) -> usize) -> Option<Vec<u8>> {
    let length = write(room);
    (length > 0).then(|| room[..length].to_vec())
}

/// The address that stands for all of this host's: one UDP socket takes both families.
pub(crate) const ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
