//! Limits on the bytes that are buffered for slow clients and slow endpoints, per connection and per worker.
//!
//! A response is read from its endpoint only as fast as its client takes it. A connection may buffer [`CONNECTION`] bytes.
//! Beyond that each HTTP/2 stream may buffer one small piece, so that a stream whose flow-control window is closed cannot
//! stop the others. When half of the worker's budget is used, every response may buffer one small piece only. When all of
//! the budget is used, the connections that buffer most are closed.

mod budget;
mod request_hold;
mod response_piece;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

pub(crate) use self::budget::BufferBudget;
pub(crate) use self::request_hold::BufferHold;
pub(crate) use self::response_piece::Buffered;

/// How many bytes of responses may be buffered for one client.
const CONNECTION: usize = 128 * 1024;
/// How much of request bodies a connection of HTTP/2 may send that no request has taken: its flow-control window.
pub(crate) const UPLOAD_WINDOW: u32 = 512 * 1024;
/// The size of a piece that is read when the connection or the worker has little of its limit left.
const SMALL_PIECE: usize = 4 * 1024;

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
        self.budget.add(bytes);
        self.bytes.set(self.bytes.get() + bytes);
    }

    fn remove(&self, bytes: usize) {
        self.budget.remove(bytes);
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
mod tests;
