//! What the fronts of one address share.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use dns_chain::ZoneRoutes;
use telemetry::metrics::Counter;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// The routes that are served now, and what is counted and waited for.
pub(crate) struct ListenerState {
    /// Swapped at a reload: a query sees the old ones or the new ones, whole.
    pub routes: ArcSwap<ZoneRoutes>,
    /// `coredns_panics_total`.
    pub panics: Counter,
    /// Queries that wait for somebody else.
    pub tasks: TaskTracker,
    /// Where they wait.
    pub runtime: Handle,
}

impl ListenerState {
    pub(crate) fn new(routes: Arc<ZoneRoutes>, panics: Counter, runtime: Handle) -> Self {
        Self { routes: ArcSwap::new(routes), panics, tasks: TaskTracker::new(), runtime }
    }
}

thread_local! {
    /// Where messages are written. They leave in buffers of their own size, so that neither a connection that is open
    /// nor a query that waits takes the room of the longest reply there could be.
    static ROOM: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_MESSAGE].into());
}

/// The message that `write` makes in so many bytes; nothing if there is none.
pub(crate) fn encode_message(limit: usize, write: impl FnOnce(&mut [u8]) -> usize) -> Option<Vec<u8>> {
    ROOM.with_borrow_mut(|room| {
        let room = &mut room[..limit.min(MAX_MESSAGE)];
        let length = write(room);
        (length > 0).then(|| room[..length].to_vec())
    })
}

/// The longest message there is (RFC 1035 §4.2.2).
pub(crate) const MAX_MESSAGE: usize = u16::MAX as usize;

/// The address that stands for all of this host's: one UDP socket takes both families.
pub(crate) const ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
