//! The client connections of a worker: how many there may be, and which are closed to make room.
//!
//! The rules are nginx's (`worker_connections`, `ngx_drain_connections`): when few slots are free, the connections that
//! have been idle longest are closed. When none is free, a new connection is closed at once.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::io::buffers::{BufferBudget, BufferUse};
use crate::wire::frame_budget::FrameCredit;

/// Draining begins when at most a sixteenth of the slots are free.
const MARGIN: usize = 16;
/// How many connections are closed at once at most, and no more than an eighth of the idle ones.
const DRAINED_AT_ONCE: usize = 32;
const DRAINED_SHARE: usize = 8;
/// A connection with an incomplete request head is not closed before it is this old, in milliseconds.
const HEAD_GRACE: u64 = 1000;
/// The shortest time between two warnings about refused connections, in milliseconds.
const WARNING_INTERVAL: u64 = 10_000;

/// Which limit makes the proxy close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// It was idle, and its slot was needed.
    Drained,
    /// It held the most buffered bytes when the worker's budget was used up.
    Buffers,
}

/// The connections of one worker.
#[derive(Debug)]
pub(crate) struct ClientTable {
    limit: Cell<usize>,
    buffers: Rc<BufferBudget>,
    entries: RefCell<Vec<Rc<ClientEntry>>>,
    warned: Cell<Option<u64>>,
}

/// The state of one connection that the limits need.
#[derive(Debug)]
pub(crate) struct ClientEntry {
    /// Its index in the table.
    index: Cell<usize>,
    /// How many requests are open.
    open_requests: Cell<u32>,
    /// GOAWAY was sent, and the time that a client has to react to it is over: new requests are late.
    last_call: Cell<bool>,
    /// How many late requests there have been, and how many of them are open.
    late_requests: Cell<u32>,
    open_late_requests: Cell<u32>,
    /// When the last request ended, or the connection was accepted; milliseconds of the worker's clock.
    idle_since: Cell<u64>,
    /// A request's head has begun and is not complete.
    reading: Cell<bool>,
    close: Cell<Option<CloseReason>>,
    waker: RefCell<Option<Waker>>,
    /// Buffered bytes: those for the client, and those of the client for an endpoint.
    pub(crate) buffers: Rc<BufferUse>,
    /// For HTTP/2: the frames that responses allow the client.
    pub(crate) frames: FrameCredit,
}

/// A slot in the table, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct ClientSlot {
    table: Rc<ClientTable>,
    pub(crate) entry: Rc<ClientEntry>,
}

impl ClientTable {
    /// A table of at most `limit` connections, which share a budget of buffered bytes.
    pub(crate) fn new(limit: usize, buffers: Rc<BufferBudget>) -> Rc<Self> {
        Rc::new(Self {
            limit: Cell::new(limit.max(1)),
            buffers,
            entries: RefCell::default(),
            warned: Cell::new(None),
        })
    }

    /// How many connections there may be.
    pub(crate) fn limit(&self) -> usize {
        self.limit.get()
    }

    /// Sets another limit. Connections beyond it stay, and none is admitted until enough have ended.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.set(limit.max(1));
    }

    /// A slot for a connection that was just accepted; `None` if the table is full.
    pub(crate) fn admit(self: &Rc<Self>, now: u64) -> Option<ClientSlot> {
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= self.limit.get() {
            return None;
        }
        let entry = Rc::new(ClientEntry {
            index: Cell::new(entries.len()),
            open_requests: Cell::new(0),
            last_call: Cell::new(false),
            late_requests: Cell::new(0),
            open_late_requests: Cell::new(0),
            idle_since: Cell::new(now),
            reading: Cell::new(false),
            close: Cell::new(None),
            waker: RefCell::default(),
            buffers: BufferUse::new(self.buffers.clone()),
            frames: FrameCredit::default(),
        });
        entries.push(entry.clone());
        Some(ClientSlot { table: self.clone(), entry })
    }

    /// Whether so few slots are free that idle connections have to be closed.
    pub(crate) fn is_crowded(&self) -> bool {
        let limit = self.limit.get();
        limit.saturating_sub(self.entries.borrow().len()) <= limit / MARGIN
    }

    /// Closes the connections that have been idle longest; if none is idle, those whose request head has been incomplete
    /// longest. Returns how many. Their slots are free once their tasks have run.
    pub(crate) fn drain(&self, now: u64) -> usize {
        let entries = self.entries.borrow();
        let unused = |entry: &&Rc<ClientEntry>| entry.open_requests.get() == 0 && entry.close.get().is_none();
        let mut idle: Vec<_> = entries.iter().filter(unused).filter(|entry| !entry.reading.get()).collect();
        if idle.is_empty() {
            let is_recent =
                |entry: &&Rc<ClientEntry>| now.saturating_sub(entry.idle_since.get()) < HEAD_GRACE;
            idle = entries.iter().filter(unused).filter(|entry| !is_recent(entry)).collect();
        }
        let count = (idle.len() / DRAINED_SHARE).clamp(1, DRAINED_AT_ONCE).min(idle.len());
        if count == 0 {
            return 0;
        }
        idle.select_nth_unstable_by_key(count - 1, |entry| entry.idle_since.get());
        idle[..count].iter().for_each(|entry| entry.close(CloseReason::Drained));
        count
    }

    /// Closes the connections with the most buffered bytes, until the others are within the budget.
    pub(crate) fn shed(&self) {
        let entries = self.entries.borrow();
        let (closing, mut open): (Vec<_>, Vec<_>) =
            entries.iter().partition(|entry| entry.close.get().is_some());
        let closing: usize = closing.iter().map(|entry| entry.buffers.bytes()).sum();
        let mut excess = self.buffers.excess().saturating_sub(closing);
        open.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.buffers.bytes()));
        for entry in open {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(entry.buffers.bytes());
            entry.close(CloseReason::Buffers);
        }
    }

    /// Closes connections whenever the budget is exceeded ([`Self::shed`]).
    pub(crate) async fn keep_within_budget(&self) {
        loop {
            self.buffers.exceeded().await;
            self.shed();
        }
    }

    /// Whether a warning about refused connections is due: at most one in ten seconds.
    pub(crate) fn should_warn(&self, now: u64) -> bool {
        let due = self.warned.get().is_none_or(|last| now.saturating_sub(last) >= WARNING_INTERVAL);
        if due {
            self.warned.set(Some(now));
        }
        due
    }
}

impl ClientEntry {
    /// Counts a new request; true if it is late.
    pub(crate) fn begin_request(&self) -> bool {
        let late = self.last_call.get();
        self.open_requests.set(self.open_requests.get() + 1);
        if late {
            self.late_requests.set(self.late_requests.get() + 1);
            self.open_late_requests.set(self.open_late_requests.get() + 1);
        }
        late
    }

    /// Counts the end of a request.
    pub(crate) fn end_request(&self, late: bool, now: u64) {
        self.open_requests.set(self.open_requests.get() - 1);
        if late {
            self.open_late_requests.set(self.open_late_requests.get() - 1);
        }
        self.idle_since.set(now);
        if self.open_requests.get() == 0 {
            self.buffers.forget_received();
        }
    }

    /// How many requests are open.
    pub(crate) fn open_requests(&self) -> u32 {
        self.open_requests.get()
    }

    /// Requests count as late from now on.
    pub(crate) fn set_last_call(&self) {
        self.last_call.set(true);
    }

    /// How many late requests there have been.
    pub(crate) fn late_requests(&self) -> u32 {
        self.late_requests.get()
    }

    /// How many open requests are not late.
    pub(crate) fn open_timely_requests(&self) -> u32 {
        self.open_requests.get() - self.open_late_requests.get()
    }

    /// Sets whether a request's head has begun and is not complete.
    pub(crate) fn set_reading(&self, reading: bool) {
        self.reading.set(reading);
    }

    fn close(&self, reason: CloseReason) {
        self.close.set(Some(reason));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn poll_close(&self, cx: &mut Context<'_>) -> Option<CloseReason> {
        if let Some(reason) = self.close.get() {
            return Some(reason);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        None
    }

    /// Runs a connection until it ends by itself (`None`) or a limit closes it.
    pub(crate) async fn run(&self, mut connection: impl Future<Output = ()> + Unpin) -> Option<CloseReason> {
        std::future::poll_fn(|cx| match self.poll_close(cx) {
            Some(reason) => Poll::Ready(Some(reason)),
            None => Pin::new(&mut connection).poll(cx).map(|()| None),
        })
        .await
    }
}

impl Drop for ClientSlot {
    fn drop(&mut self) {
        let mut entries = self.table.entries.borrow_mut();
        let index = self.entry.index.get();
        entries.swap_remove(index);
        if let Some(moved) = entries.get(index) {
            moved.index.set(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::io::buffers::BufferCharge;

    const BUDGET: usize = 16 << 20;

    fn table(limit: usize) -> Rc<ClientTable> {
        ClientTable::new(limit, BufferBudget::new(BUDGET, 1, Arc::default()))
    }

    fn closed(slot: &ClientSlot) -> Option<CloseReason> {
        slot.entry.close.get()
    }

    #[test]
    fn a_full_table_refuses_and_a_dropped_slot_is_free_again() {
        let table = table(2);
        let (one, two) = (table.admit(1).unwrap(), table.admit(1).unwrap());
        assert!(table.admit(1).is_none());
        drop(one);
        let three = table.admit(1).unwrap();
        drop(two);
        drop(three);
        assert!(table.entries.borrow().is_empty());
    }

    #[test]
    fn connections_idle_longest_are_drained_and_no_request_is_interrupted() {
        let table = table(32);
        let slots: Vec<_> = (0..31).map(|at| table.admit(100 - at).unwrap()).collect();
        assert!(table.is_crowded());
        for busy in &slots[20..] {
            busy.entry.begin_request();
        }
        // An eighth of the 20 that are idle.
        assert_eq!(table.drain(100), 2);
        let drained: Vec<_> = (0..31).filter(|at| closed(&slots[*at]).is_some()).collect();
        assert_eq!(drained, [18, 19]);
        drop(slots);
        assert!(!table.is_crowded());
    }

    #[test]
    fn a_connection_with_an_incomplete_head_is_kept_for_a_second_and_while_others_are_idle() {
        let table = table(4);
        let (slow, idle) = (table.admit(1).unwrap(), table.admit(2).unwrap());
        slow.entry.set_reading(true);
        assert_eq!(table.drain(5000), 1);
        assert_eq!((closed(&slow), closed(&idle)), (None, Some(CloseReason::Drained)));
        drop(idle);
        assert_eq!(table.drain(1000), 0);
        assert_eq!(table.drain(1001), 1);
        assert_eq!(closed(&slow), Some(CloseReason::Drained));
    }

    #[test]
    fn a_request_that_ends_makes_the_connection_the_last_to_be_drained() {
        let table = table(4);
        let (one, two) = (table.admit(1).unwrap(), table.admit(2).unwrap());
        one.entry.begin_request();
        one.entry.begin_request();
        one.entry.end_request(false, 3);
        one.entry.end_request(false, 4);
        assert_eq!(table.drain(4), 1);
        assert_eq!((closed(&one), closed(&two)), (None, Some(CloseReason::Drained)));
    }

    #[test]
    fn the_connections_that_buffer_most_are_closed_until_the_others_fit_the_budget() {
        let table = table(8);
        let slots: Vec<_> = (0..4).map(|_| table.admit(1).unwrap()).collect();
        let charge = |slot: &ClientSlot, bytes| {
            BufferCharge::new(slot.entry.buffers.clone()).charge(vec![0; bytes].into())
        };
        let shares = [BUDGET / 2, BUDGET / 4, 1, BUDGET / 2];
        let pieces: Vec<_> = slots.iter().zip(shares).map(|(slot, bytes)| charge(slot, bytes)).collect();
        table.shed();
        let reasons = |slots: &[ClientSlot]| slots.iter().filter_map(closed).collect::<Vec<_>>();
        assert_eq!(reasons(&slots), [CloseReason::Buffers], "one of the largest is enough");
        table.shed();
        assert_eq!(reasons(&slots).len(), 1, "connections that are being closed no longer count");
        drop(pieces);
    }

    #[test]
    fn requests_after_the_last_call_are_late() {
        let table = table(1);
        let entry = &table.admit(1).unwrap().entry;
        let timely = entry.begin_request();
        entry.set_last_call();
        let late = entry.begin_request();
        assert_eq!((timely, late), (false, true));
        assert_eq!((entry.open_requests(), entry.open_timely_requests(), entry.late_requests()), (2, 1, 1));
        entry.end_request(timely, 2);
        assert_eq!((entry.open_requests(), entry.open_timely_requests()), (1, 0));
        entry.end_request(late, 2);
        assert_eq!((entry.open_requests(), entry.open_timely_requests(), entry.late_requests()), (0, 0, 1));
    }

    #[tokio::test]
    async fn a_connection_that_is_to_be_closed_is_dropped() {
        let table = table(4);
        let slot = table.admit(1).unwrap();
        assert_eq!(slot.entry.run(Box::pin(async {})).await, None);
        let closing = async {
            tokio::task::yield_now().await;
            table.drain(5);
        };
        let (reason, ()) = tokio::join!(slot.entry.run(Box::pin(std::future::pending())), closing);
        assert_eq!(reason, Some(CloseReason::Drained));
    }
}
