//! How many connections to endpoints a worker may have, in all and to one endpoint.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::observe::metrics::LimitMetrics;

/// The limits of a worker, and what is used of them.
#[derive(Debug)]
pub(crate) struct UpstreamLimit {
    total: usize,
    /// Three quarters of `total`, so that an endpoint that never answers leaves connections for the others.
    per_endpoint: usize,
    open: Cell<usize>,
    by_endpoint: RefCell<HashMap<SocketAddr, usize, foldhash::fast::RandomState>>,
    /// Requests that wait for a connection to be closed.
    waiting: Cell<usize>,
    closed: Notify,
}

/// One connection to an endpoint, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct UpstreamSlot {
    limit: Rc<UpstreamLimit>,
    address: SocketAddr,
}

/// Which limit does not allow a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LimitReached {
    /// The endpoint's.
    Endpoint,
    /// The worker's.
    Total,
}

impl UpstreamLimit {
    /// A limit of `total` connections.
    pub(crate) fn new(total: usize) -> Rc<Self> {
        let total = total.max(1);
        Rc::new(Self {
            total,
            per_endpoint: total - total / 4,
            open: Cell::new(0),
            by_endpoint: RefCell::default(),
            waiting: Cell::new(0),
            closed: Notify::new(),
        })
    }

    /// A slot for a new connection to an endpoint.
    fn take(self: &Rc<Self>, address: SocketAddr) -> Result<UpstreamSlot, LimitReached> {
        if self.open.get() >= self.total {
            return Err(LimitReached::Total);
        }
        let mut by_endpoint = self.by_endpoint.borrow_mut();
        if by_endpoint.get(&address).is_some_and(|open| *open >= self.per_endpoint) {
            return Err(LimitReached::Endpoint);
        }
        *by_endpoint.entry(address).or_default() += 1;
        self.open.set(self.open.get() + 1);
        Ok(UpstreamSlot { limit: self.clone(), address })
    }

    /// Waits until a connection is closed. The request that has waited longest continues first.
    async fn closed(&self) {
        struct Waiting<'a>(&'a Cell<usize>);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.set(self.0.get() - 1);
            }
        }
        self.waiting.set(self.waiting.get() + 1);
        let _waiting = Waiting(&self.waiting);
        self.closed.notified().await;
    }

    /// A slot for a new connection to an endpoint. If the worker has reached its limit, closes an idle connection
    /// (`close_idle`), or waits for `within` at most until a connection is closed. `None` if the endpoint has reached its limit,
    /// or the time is over.
    pub(crate) async fn acquire(
        self: &Rc<Self>,
        address: SocketAddr,
        close_idle: impl FnOnce() -> bool,
        within: Duration,
        metrics: &LimitMetrics,
    ) -> Option<UpstreamSlot> {
        let slot = match self.take(address) {
            Ok(slot) => Some(slot),
            Err(LimitReached::Endpoint) => None,
            Err(LimitReached::Total) => {
                if !close_idle() {
                    metrics.upstream_waits.inc();
                    let _ = tokio::time::timeout(within, self.closed()).await;
                }
                self.take(address).ok()
            }
        };
        if slot.is_none() {
            metrics.upstream_refused.inc();
        }
        slot
    }

    /// Whether a request is waiting for a slot.
    fn is_wanted(&self) -> bool {
        self.waiting.get() > 0
    }
}

impl UpstreamSlot {
    /// Whether a request is waiting for a slot, so that this connection should be closed rather than kept idle.
    pub(crate) fn is_wanted(&self) -> bool {
        self.limit.is_wanted()
    }
}

impl Drop for UpstreamSlot {
    fn drop(&mut self) {
        let limit = &self.limit;
        limit.open.set(limit.open.get() - 1);
        let mut by_endpoint = limit.by_endpoint.borrow_mut();
        if let Some(open) = by_endpoint.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                by_endpoint.remove(&self.address);
            }
        }
        if limit.is_wanted() {
            limit.closed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 80))
    }

    #[test]
    fn one_endpoint_leaves_a_quarter_of_the_connections_for_the_others() {
        let limit = UpstreamLimit::new(8);
        let mut slots: Vec<_> = (0..6).map(|_| limit.take(address(1)).unwrap()).collect();
        assert_eq!(limit.take(address(1)).unwrap_err(), LimitReached::Endpoint);
        slots.extend([limit.take(address(2)).unwrap(), limit.take(address(3)).unwrap()]);
        assert_eq!(limit.take(address(2)).unwrap_err(), LimitReached::Total);
        drop(slots);
        assert!(limit.take(address(1)).is_ok());
        assert!(limit.by_endpoint.borrow().is_empty(), "endpoints without connections are removed");
    }

    #[tokio::test]
    async fn a_waiting_request_gets_the_slot_of_a_closed_connection() {
        let limit = UpstreamLimit::new(1);
        let slot = limit.take(address(1)).unwrap();
        let waiting = async {
            limit.closed().await;
            limit.take(address(2)).unwrap()
        };
        let closing = async {
            tokio::task::yield_now().await;
            assert!(slot.is_wanted());
            drop(slot);
        };
        let (slot, ()) = tokio::join!(waiting, closing);
        assert!(!slot.is_wanted());
    }
}
