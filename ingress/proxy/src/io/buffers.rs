//! Limits on the bytes that are buffered for slow clients and slow endpoints, per connection and per worker.
//!
//! A response is read from its endpoint only as fast as its client takes it. A connection may buffer [`CONNECTION`] bytes.
//! Beyond that each HTTP/2 stream may buffer one small piece, so that a stream whose flow-control window is closed cannot
//! stop the others. When half of the worker's budget is used, every response may buffer one small piece only. When all of
//! the budget is used, the connections that buffer most are closed.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use tokio::sync::Notify;

/// How many bytes of responses may be buffered for one client.
const CONNECTION: usize = 128 * 1024;
/// How many bytes of request bodies that are received before they are sent a connection may hold.
const RECEIVED_OF_CONNECTION: usize = 2 << 20;
/// How much of request bodies a connection of HTTP/2 may send that no request has taken: its flow-control window.
pub(crate) const UPLOAD_WINDOW: u32 = 512 * 1024;
/// The size of a piece that is read when the connection or the worker has little of its limit left.
const SMALL_PIECE: usize = 4 * 1024;
/// The smallest budget of a worker, however many workers there are.
const WORKER_LEAST: usize = 16 << 20;

/// How many bytes a worker may buffer.
#[derive(Debug)]
pub(crate) struct BufferBudget {
    limit: usize,
    used: Cell<usize>,
    exceeded: Notify,
    /// For the metrics: the bytes that all workers buffer.
    shown: Arc<AtomicU64>,
    /// This worker's part of `shown`.
    last_shown: Cell<u64>,
}

/// The bytes that are buffered for one client's connection.
#[derive(Debug)]
pub(crate) struct BufferUse {
    budget: Rc<BufferBudget>,
    bytes: Cell<usize>,
    /// Of these, the bytes of HTTP/2 request bodies that were received and that no request has read.
    received: Cell<usize>,
    /// Responses that wait until the client has taken some of the buffered bytes.
    waiting: RefCell<Vec<Weak<BufferCharge>>>,
}

/// The bytes of one response that are buffered for its client.
#[derive(Debug)]
pub(crate) struct BufferCharge {
    connection: Rc<BufferUse>,
    bytes: Cell<usize>,
    waker: RefCell<Option<Waker>>,
    /// It is in `waiting` of its connection.
    is_queued: Cell<bool>,
}

/// A piece of a body that counts as buffered until it is written or dropped.
#[derive(Debug)]
pub(crate) struct ChargedBytes {
    bytes: Bytes,
    charge: Option<Rc<BufferCharge>>,
}

impl BufferBudget {
    /// A worker's share of the budget of all workers.
    pub(crate) fn new(total: usize, workers: usize, shown: Arc<AtomicU64>) -> Rc<Self> {
        let limit = (total / workers.max(1)).max(WORKER_LEAST.min(total));
        Rc::new(Self { limit, used: Cell::new(0), exceeded: Notify::new(), shown, last_shown: Cell::new(0) })
    }

    /// Waits until the budget is exceeded.
    pub(crate) async fn exceeded(&self) {
        self.exceeded.notified().await;
    }

    /// By how many bytes the budget is exceeded.
    pub(crate) fn excess(&self) -> usize {
        self.used.get().saturating_sub(self.limit)
    }

    /// Brings the metrics up to date.
    pub(crate) fn show(&self) {
        let (now, before) = (self.used.get() as u64, self.last_shown.get());
        self.shown.fetch_add(now.wrapping_sub(before), Relaxed);
        self.last_shown.set(now);
    }

    /// Whether half of the budget is used.
    fn is_tight(&self) -> bool {
        self.used.get() > self.limit / 2
    }
}

impl Drop for BufferBudget {
    fn drop(&mut self) {
        self.used.set(0);
        self.show();
    }
}

impl BufferUse {
    /// The use of a new connection: nothing.
    pub(crate) fn new(budget: Rc<BufferBudget>) -> Rc<Self> {
        Rc::new(Self { budget, bytes: Cell::new(0), received: Cell::new(0), waiting: RefCell::default() })
    }

    /// How many bytes are buffered.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Adds a part of a request's body that was received over HTTP/2.
    /// Counts at most the flow-control window: more can only replace bytes of bodies that were dropped.
    pub(crate) fn receive(&self, bytes: usize) {
        let bytes = bytes.min((UPLOAD_WINDOW as usize).saturating_sub(self.received.get()));
        self.add(bytes);
        self.received.set(self.received.get() + bytes);
    }

    /// Removes a part of a received body that its request has read.
    fn take(&self, bytes: usize) {
        let taken = bytes.min(self.received.get());
        self.received.set(self.received.get() - taken);
        self.remove(taken);
    }

    /// Removes all received bodies: no request is open any more, so h2 has dropped the parts that were not read.
    pub(crate) fn forget_received(&self) {
        self.take(usize::MAX);
    }

    /// Whether half of the worker's budget is used.
    fn is_tight(&self) -> bool {
        self.budget.is_tight()
    }

    fn add(&self, bytes: usize) {
        let budget = &self.budget;
        budget.used.set(budget.used.get() + bytes);
        self.bytes.set(self.bytes.get() + bytes);
        if budget.used.get() > budget.limit {
            budget.exceeded.notify_one();
        }
    }

    fn remove(&self, bytes: usize) {
        self.budget.used.set(self.budget.used.get() - bytes);
        let before = self.bytes.get();
        self.bytes.set(before - bytes);
        if before > CONNECTION / 2 && before - bytes <= CONNECTION / 2 {
            for charge in self.waiting.take().iter().filter_map(Weak::upgrade) {
                charge.is_queued.set(false);
                charge.wake();
            }
        }
    }
}

impl Drop for BufferUse {
    fn drop(&mut self) {
        self.remove(self.bytes.get());
    }
}

impl BufferCharge {
    /// The charge of a new response on a connection.
    pub(crate) fn new(connection: Rc<BufferUse>) -> Rc<Self> {
        let (bytes, is_queued) = (Cell::new(0), Cell::new(false));
        Rc::new(Self { connection, bytes, waker: RefCell::default(), is_queued })
    }

    /// How many bytes may be read at once; pending while none may be. `large` unless buffers are short. Hot: a few cells.
    pub(crate) fn poll_allowance(self: &Rc<Self>, cx: &mut Context<'_>, large: usize) -> Poll<usize> {
        let connection = &self.connection;
        let tight = connection.is_tight();
        if self.bytes.get() > 0 && (tight || connection.bytes() >= CONNECTION) {
            if !tight && !self.is_queued.replace(true) {
                connection.waiting.borrow_mut().push(Rc::downgrade(self));
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let short = tight || connection.bytes() > CONNECTION / 2;
        Poll::Ready(if short { SMALL_PIECE.min(large) } else { large })
    }

    /// How many bytes are buffered.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Waits until all pieces are written or dropped.
    pub(crate) fn poll_written(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.bytes.get() == 0 {
            return Poll::Ready(());
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Counts a piece as buffered until it is written or dropped.
    pub(crate) fn charge(self: &Rc<Self>, bytes: Bytes) -> ChargedBytes {
        self.bytes.set(self.bytes.get() + bytes.len());
        self.connection.add(bytes.len());
        ChargedBytes { bytes, charge: Some(self.clone()) }
    }

    fn release(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() - bytes);
        self.connection.remove(bytes);
        if self.bytes.get() == 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// The bytes of an HTTP/1 response that wait for its client: one piece.
#[derive(Debug)]
pub(crate) struct Buffered {
    connection: Rc<BufferUse>,
    bytes: usize,
}

impl Buffered {
    pub(crate) fn new(connection: Rc<BufferUse>) -> Self {
        Self { connection, bytes: 0 }
    }

    /// How many bytes may be read for the next piece, which is read when the client has taken this one.
    pub(crate) fn allowance(&self) -> usize {
        if self.connection.is_tight() { SMALL_PIECE } else { usize::MAX }
    }

    /// Counts so many bytes as buffered.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.release_to(bytes);
        self.connection.add(bytes - self.bytes);
        self.bytes = bytes;
    }

    /// Counts no more than so many bytes as buffered.
    pub(crate) fn release_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.connection.remove(self.bytes - bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.release_to(0);
    }
}

/// Bytes of a request body that are kept for a retry. They count as buffered until this is dropped.
#[derive(Debug)]
pub(crate) struct BufferHold {
    connection: Rc<BufferUse>,
    bytes: usize,
}

impl BufferHold {
    /// Holds nothing yet.
    pub(crate) fn new(connection: Rc<BufferUse>) -> Self {
        Self { connection, bytes: 0 }
    }

    /// Adds bytes; false, without adding them, if half of the worker's budget is used.
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        if self.connection.is_tight() {
            return false;
        }
        self.bytes += bytes;
        self.connection.add(bytes);
        true
    }

    /// Adds bytes of a body that is received before it is sent; false, without adding them, if a quarter of the worker's budget or the
    /// part of the connection is used: uploads must not make responses wait.
    pub(crate) fn add_received(&mut self, bytes: usize) -> bool {
        let budget = &self.connection.budget;
        let has_room = budget.used.get() <= budget.limit / 4
            && self.connection.bytes() + bytes <= RECEIVED_OF_CONNECTION;
        has_room && self.add(bytes)
    }

    /// Removes a part of a received body that its request has read.
    pub(crate) fn take(&self, bytes: usize) {
        self.connection.take(bytes);
    }

    /// Releases all kept bytes.
    pub(crate) fn clear(&mut self) {
        self.connection.remove(std::mem::take(&mut self.bytes));
    }
}

impl Drop for BufferHold {
    fn drop(&mut self) {
        self.clear();
    }
}

impl From<Bytes> for ChargedBytes {
    /// A piece that does not count as buffered: a page that the proxy made itself.
    fn from(bytes: Bytes) -> Self {
        Self { bytes, charge: None }
    }
}

impl Buf for ChargedBytes {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(charge) = &self.charge {
            charge.release(count);
        }
    }
}

impl Drop for ChargedBytes {
    fn drop(&mut self) {
        if let Some(charge) = &self.charge
            && !self.bytes.is_empty()
        {
            charge.release(self.bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Relaxed);
        }
    }

    const LARGE: usize = 64 * 1024;

    fn budget(limit: usize) -> Rc<BufferBudget> {
        BufferBudget::new(limit, 1, Arc::default())
    }

    fn piece(length: usize) -> Bytes {
        vec![0; length].into()
    }

    fn allowance(charge: &Rc<BufferCharge>) -> Poll<usize> {
        charge.poll_allowance(&mut Context::from_waker(Waker::noop()), LARGE)
    }

    #[test]
    fn the_bytes_buffered_for_a_slow_client_are_bounded() {
        let budget = budget(64 << 20);
        let connection = BufferUse::new(budget.clone());
        let charge = BufferCharge::new(connection.clone());
        let mut pieces = Vec::new();
        while let Poll::Ready(allowed) = allowance(&charge) {
            pieces.push(charge.charge(piece(allowed)));
        }
        assert_eq!((connection.bytes(), budget.used.get()), (CONNECTION, CONNECTION));
        // Another stream of the connection may buffer one small piece, and no more.
        let other = BufferCharge::new(connection.clone());
        assert_eq!(allowance(&other), Poll::Ready(SMALL_PIECE));
        pieces.push(other.charge(piece(SMALL_PIECE)));
        assert_eq!(allowance(&other), Poll::Pending);
        pieces.clear();
        assert_eq!((connection.bytes(), budget.used.get()), (0, 0));
        assert_eq!(allowance(&other), Poll::Ready(LARGE));
    }

    #[test]
    fn a_waiting_response_continues_when_the_client_has_taken_half() {
        let connection = BufferUse::new(budget(64 << 20));
        let (charge, other) = (BufferCharge::new(connection.clone()), BufferCharge::new(connection));
        let _rest = charge.charge(piece(CONNECTION / 2));
        let mut first = charge.charge(piece(CONNECTION / 2));
        let _small = other.charge(piece(1));
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        assert_eq!(other.poll_allowance(&mut Context::from_waker(&waker), LARGE), Poll::Pending);
        first.advance(CONNECTION / 2);
        assert!(!woken.0.load(Relaxed), "a byte more than half is left");
        drop(_rest);
        assert!(woken.0.load(Relaxed));
    }

    #[test]
    fn in_a_tight_budget_each_response_has_one_small_piece() {
        let budget = budget(16 << 20);
        let (first, second) = (BufferUse::new(budget.clone()), BufferUse::new(budget.clone()));
        let large = BufferCharge::new(first).charge(piece((8 << 20) + 1));
        assert!(budget.is_tight() && budget.excess() == 0);
        let charge = BufferCharge::new(second);
        assert_eq!(allowance(&charge), Poll::Ready(SMALL_PIECE));
        let mut small = charge.charge(piece(SMALL_PIECE));
        let woken = Arc::new(Woken::default());
        let waker = woken.clone().into();
        assert_eq!(charge.poll_allowance(&mut Context::from_waker(&waker), LARGE), Poll::Pending);
        small.advance(SMALL_PIECE);
        assert!(woken.0.load(Relaxed), "its own piece is written");
        drop(large);
        assert_eq!(allowance(&charge), Poll::Ready(LARGE));
    }

    #[test]
    fn a_piece_of_an_http1_response_counts_while_it_waits() {
        let budget = budget(16 << 20);
        let connection = BufferUse::new(budget.clone());
        let mut buffered = Buffered::new(connection.clone());
        buffered.release_to(5);
        assert_eq!((connection.bytes(), buffered.allowance()), (0, usize::MAX));
        buffered.hold((8 << 20) + 1);
        assert_eq!(buffered.allowance(), SMALL_PIECE);
        buffered.hold(7);
        buffered.release_to(9);
        assert_eq!((connection.bytes(), budget.used.get()), (7, 7));
        buffered.hold(9);
        buffered.release_to(3);
        assert_eq!((connection.bytes(), budget.used.get()), (3, 3));
        drop(buffered);
        assert_eq!((connection.bytes(), budget.used.get()), (0, 0));
    }

    #[tokio::test]
    async fn an_exceeded_budget_is_reported() {
        let budget = budget(16 << 20);
        let connection = BufferUse::new(budget.clone());
        let _most = BufferCharge::new(connection.clone()).charge(piece(16 << 20));
        let exceeding = async {
            tokio::task::yield_now().await;
            BufferCharge::new(connection).charge(piece(1))
        };
        let ((), _last) = tokio::join!(budget.exceeded(), exceeding);
        assert_eq!(budget.excess(), 1);
    }

    #[test]
    fn unread_bodies_count_until_no_request_is_open() {
        let budget = budget(16 << 20);
        let connection = BufferUse::new(budget.clone());
        connection.receive(1000);
        connection.take(600);
        assert_eq!((connection.bytes(), budget.used.get()), (400, 400));
        connection.take(600);
        assert_eq!(connection.bytes(), 0, "never more than was received");
        for _ in 0..20 {
            connection.receive(1 << 20);
        }
        assert_eq!(connection.bytes(), UPLOAD_WINDOW as usize, "bodies that were dropped do not add up");
        assert_eq!(budget.excess(), 0);
        connection.forget_received();
        assert_eq!((connection.bytes(), budget.used.get()), (0, 0));
        connection.receive(5);
        drop(connection);
        assert_eq!(budget.used.get(), 0, "a closed connection buffers nothing");
    }

    #[test]
    fn kept_bytes_count_and_none_are_kept_when_the_budget_is_tight() {
        let budget = budget(1000);
        let connection = BufferUse::new(budget.clone());
        let mut hold = BufferHold::new(connection.clone());
        assert!(hold.add(501));
        assert!(!hold.add(1));
        assert_eq!(connection.bytes(), 501);
        hold.clear();
        assert!(hold.add(1));
        drop(hold);
        assert_eq!((connection.bytes(), budget.used.get()), (0, 0));
    }

    #[test]
    fn bodies_that_are_received_first_leave_room_for_responses() {
        let budget = budget(16 << 20);
        let connection = BufferUse::new(budget.clone());
        let mut hold = BufferHold::new(connection.clone());
        assert!(hold.add_received(RECEIVED_OF_CONNECTION));
        assert!(!hold.add_received(1), "the part of a connection");
        let mut others: Vec<_> = (0..3).map(|_| BufferHold::new(BufferUse::new(budget.clone()))).collect();
        let held: Vec<_> = others.iter_mut().map(|hold| hold.add_received(RECEIVED_OF_CONNECTION)).collect();
        assert_eq!(held, [true, true, false], "a quarter of the budget, which was exceeded by one body");
        assert!(!connection.is_tight());
    }

    #[test]
    fn the_metrics_show_the_bytes_of_all_workers() {
        let shown = Arc::new(AtomicU64::new(0));
        let workers = [(); 2].map(|()| BufferUse::new(BufferBudget::new(64 << 20, 2, shown.clone())));
        for worker in &workers {
            worker.receive(5);
            worker.budget.show();
        }
        assert_eq!(shown.load(Relaxed), 10);
        let [one, two] = workers;
        drop(one);
        assert_eq!(shown.load(Relaxed), 5);
        drop(two);
        assert_eq!(shown.load(Relaxed), 0);
    }
}
