//! How many connections to endpoints a worker may have, in all and to one endpoint.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::waiting_list::{Ticket, WaitingList};
use crate::observe::metrics::LimitMetrics;

/// The limits of a worker, and what is used of them.
#[derive(Debug)]
pub(crate) struct UpstreamLimit {
    total: Cell<usize>,
    /// Three quarters of `total`, so that an endpoint that never answers leaves connections for the others.
    per_endpoint: Cell<usize>,
    open: Cell<usize>,
    by_endpoint: RefCell<HashMap<SocketAddr, usize, foldhash::fast::RandomState>>,
    /// Requests that wait for a connection to be closed.
    waiting: RefCell<WaitingList<oneshot::Sender<UpstreamSlot>>>,
}

/// The place of a request in the list of those that wait, until it has a slot or gives up.
struct WaitingPlace<'l> {
    limit: &'l UpstreamLimit,
    address: SocketAddr,
    ticket: Ticket,
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
        let limit = Rc::new(Self {
            total: Cell::default(),
            per_endpoint: Cell::default(),
            open: Cell::new(0),
            by_endpoint: RefCell::default(),
            waiting: RefCell::default(),
        });
        limit.set_total(total);
        limit
    }

    /// Sets another limit. Connections beyond it stay, and none is added until enough have been closed.
    pub(crate) fn set_total(self: &Rc<Self>, total: usize) {
        let total = total.max(1);
        self.total.set(total);
        self.per_endpoint.set(total - total / 4);
        self.waiting.borrow_mut().set_all_full(|address| self.is_full(address));
        self.hand_over();
    }

    /// A slot for a new connection to an endpoint.
    fn take(self: &Rc<Self>, address: SocketAddr) -> Result<UpstreamSlot, LimitReached> {
        if self.open.get() >= self.total.get() {
            return Err(LimitReached::Total);
        }
        if self.is_full(address) {
            return Err(LimitReached::Endpoint);
        }
        *self.by_endpoint.borrow_mut().entry(address).or_default() += 1;
        self.open.set(self.open.get() + 1);
        self.count_changed(address);
        Ok(UpstreamSlot { limit: self.clone(), address })
    }

    /// Waits for a connection to be closed and returns its slot. `None` when the time is up, or at once if too many requests wait.
    async fn wait(&self, address: SocketAddr, within: Duration) -> Option<UpstreamSlot> {
        let (sender, slot) = oneshot::channel();
        let ticket = self.waiting.borrow_mut().push(address, self.is_full(address), sender)?;
        let _place = WaitingPlace { limit: self, address, ticket };
        tokio::time::timeout(within, slot).await.ok()?.ok()
    }

    /// A slot for a new connection to an endpoint. When the worker has as many as it may have, an idle connection is closed
    /// for it (`close_idle`). If none is idle, or the endpoint has all that one may have, it waits for one to be closed, for
    /// `within` at most. `None` when the time is up, or if too many requests wait.
    pub(crate) async fn acquire(
        self: &Rc<Self>,
        address: SocketAddr,
        close_idle: impl FnOnce() -> bool,
        within: Duration,
        metrics: &LimitMetrics,
    ) -> Option<UpstreamSlot> {
        let mut slot = self.take(address);
        if slot.as_ref().is_err_and(|reached| *reached == LimitReached::Total) && close_idle() {
            slot = self.take(address);
        }
        if let Ok(slot) = slot {
            return Some(slot);
        }
        metrics.upstream_waits.inc();
        let slot = self.wait(address, within).await;
        if slot.is_none() {
            metrics.upstream_refused.inc();
        }
        slot
    }

    /// Gives free slots to the requests that wait, so that no request that comes later is faster.
    fn hand_over(self: &Rc<Self>) {
        while self.open.get() < self.total.get() {
            let Some((address, request)) = self.waiting.borrow_mut().take_first() else { return };
            // Those of endpoints that are full are not taken from the list.
            let Ok(slot) = self.take(address) else { return };
            // A request that has just given up drops its slot, which comes here again.
            let _ = request.send(slot);
        }
    }

    /// Records that an endpoint has another number of connections.
    fn count_changed(&self, address: SocketAddr) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.is_empty() {
            waiting.set_full(address, self.is_full(address));
        }
    }

    /// Whether the endpoint has as many connections as one may have.
    fn is_full(&self, address: SocketAddr) -> bool {
        self.by_endpoint.borrow().get(&address).is_some_and(|open| *open >= self.per_endpoint.get())
    }
}

impl UpstreamSlot {
    /// Whether a request waits for the slot, so that the connection is not kept idle.
    pub(crate) fn is_wanted(&self) -> bool {
        self.limit.waiting.borrow().is_wanted(self.address)
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
        drop(by_endpoint);
        limit.count_changed(self.address);
        limit.hand_over();
    }
}

impl Drop for WaitingPlace<'_> {
    fn drop(&mut self) {
        self.limit.waiting.borrow_mut().remove(self.address, self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use telemetry::metrics::Registry;

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

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    fn acquire(
        limit: &Rc<UpstreamLimit>,
        address: SocketAddr,
        within: Duration,
    ) -> impl Future<Output = Option<UpstreamSlot>> {
        let limit = limit.clone();
        async move { limit.acquire(address, || false, within, &LimitMetrics::new(&Registry::new())).await }
    }

    #[tokio::test]
    async fn a_waiting_request_gets_the_slot_of_a_closed_connection() {
        let limit = UpstreamLimit::new(1);
        let slot = limit.take(address(1)).unwrap();
        let mut waiting = std::pin::pin!(acquire(&limit, address(2), TIMEOUT));
        assert!(poll(waiting.as_mut()).is_pending());
        assert!(slot.is_wanted());
        drop(slot);
        assert_eq!(limit.take(address(3)).unwrap_err(), LimitReached::Total);
        let slot = waiting.await.unwrap();
        assert!(!slot.is_wanted());
    }

    #[tokio::test]
    async fn a_request_waits_for_a_connection_to_an_endpoint_that_has_all_it_may_have() {
        let limit = UpstreamLimit::new(4);
        let mut slots: Vec<_> = (0..3).map(|_| limit.take(address(1)).unwrap()).collect();
        let other = limit.take(address(2)).unwrap();
        let mut waiting = std::pin::pin!(acquire(&limit, address(1), TIMEOUT));
        assert!(poll(waiting.as_mut()).is_pending());
        assert!(!other.is_wanted(), "it is of no use to a request for another endpoint");
        drop(other);
        assert!(poll(waiting.as_mut()).is_pending());
        assert!(slots[0].is_wanted());
        slots.pop();
        assert!(waiting.await.is_some());
    }

    #[tokio::test]
    async fn a_request_that_gives_up_passes_its_slot_on() {
        let limit = UpstreamLimit::new(1);
        let slot = limit.take(address(1)).unwrap();
        assert!(acquire(&limit, address(2), Duration::from_millis(1)).await.is_none());
        assert!(!slot.is_wanted(), "its time is up");
        let mut first = Box::pin(acquire(&limit, address(2), TIMEOUT));
        let mut second = std::pin::pin!(acquire(&limit, address(3), TIMEOUT));
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        drop(slot);
        drop(first);
        assert!(second.await.is_some());
        assert!(limit.take(address(1)).is_ok(), "nothing is left over");
    }

    #[tokio::test]
    async fn thousands_of_requests_that_wait_get_their_connections_in_turn() {
        const REQUESTS: usize = 10_000;
        let limit = UpstreamLimit::new(4);
        let mut slots: Vec<_> = (0..4).map(|at| limit.take(address(at)).unwrap()).collect();
        let mut waiting: Vec<_> = (0..REQUESTS)
            .map(|at| Box::pin(acquire(&limit, address(u8::try_from(at % 200).unwrap()), TIMEOUT)))
            .collect();
        assert!(waiting.iter_mut().all(|request| poll(request.as_mut()).is_pending()));
        // Every other one gives up.
        let mut at = 0;
        waiting.retain(|_| (at += 1, at % 2 == 0).1);
        for request in waiting {
            slots.pop();
            slots.push(request.await.unwrap());
        }
        assert!(limit.waiting.borrow().is_empty());
    }
}
