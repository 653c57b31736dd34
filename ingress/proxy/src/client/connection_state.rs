//! What a client's stream and the requests on it know of each other, for HTTP/1.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use telemetry::metrics::UpDownCounter;

use crate::client::table::ClientEntry;
use crate::io::clock::{Clock, Timer, WaitingFor};
use crate::wire::request_head::{HeadError, RequestHead};

/// What the stream and the requests on it know of each other.
pub(crate) struct ConnectionState {
    /// The connection in the worker's table.
    pub(crate) entry: Rc<ClientEntry>,
    pub(crate) timer: Rc<Timer>,
    pub(super) clock: Rc<Clock>,
    pub(super) head_timeout: Duration,
    pub(super) send_timeout: Duration,
    /// Heads that hyper has got and no request has taken yet.
    pub(super) heads: RefCell<VecDeque<RequestHead>>,
    /// A request is being worked on.
    pub(super) in_flight: Cell<bool>,
    pub(super) refusal: Cell<Option<HeadError>>,
    /// The first line of what was refused, for the log.
    pub(super) refused: RefCell<Bytes>,
    pub(super) waker: RefCell<Option<Waker>>,
    /// The client takes nothing at the moment of what is written.
    pub(super) write_blocked: Cell<bool>,
    /// How long there may be nothing between two requests.
    idle: Cell<Duration>,
    /// The buffers of an idle connection are released after [`BUFFERS_KEPT`].
    releases_buffers: Cell<bool>,
    /// The first byte of the next head has come, if only of empty lines before it.
    head_begun: Cell<bool>,
    /// The timer is set for that; how long the connection may be idle afterwards.
    idle_afterwards: Cell<Option<Duration>>,
    /// The client has more to send of its body than has come.
    pub(super) body_due: Cell<bool>,
    /// Bytes of bodies read from the client since the last request was over.
    pub(super) body_bytes: Cell<u64>,
    /// The client has sent too many HTTP/2 frames that carry nothing.
    pub(super) flooded: Cell<bool>,
    /// The proxy stops.
    stopping: Cell<bool>,
    /// A head has begun and is not complete; counted among all connections.
    reading: Cell<bool>,
    all_reading: UpDownCounter,
}

/// How long an idle connection is kept after the word to stop, for a request that is on its way already: it is answered
/// and told that it was the last (RFC 9112 §9.6). nginx has `keepalive_min_timeout` for this.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long an idle connection keeps hyper's buffers, 16 KiB, for the next request.
const BUFFERS_KEPT: Duration = Duration::from_secs(1);

impl ConnectionState {
    pub(crate) fn new(
        entry: Rc<ClientEntry>,
        clock: Rc<Clock>,
        head_timeout: Duration,
        send_timeout: Duration,
        all_reading: UpDownCounter,
    ) -> Rc<Self> {
        let timer = clock.timer();
        clock.arm(&timer, head_timeout);
        Rc::new(Self {
            entry,
            timer,
            clock,
            head_timeout,
            send_timeout,
            heads: RefCell::default(),
            in_flight: Cell::new(false),
            refusal: Cell::new(None),
            refused: RefCell::default(),
            waker: RefCell::default(),
            write_blocked: Cell::new(false),
            idle: Cell::new(head_timeout),
            releases_buffers: Cell::new(false),
            idle_afterwards: Cell::new(None),
            head_begun: Cell::new(false),
            body_due: Cell::new(false),
            body_bytes: Cell::new(0),
            flooded: Cell::new(false),
            stopping: Cell::new(false),
            reading: Cell::new(false),
            all_reading,
        })
    }

    /// The head of the request that hyper has just read.
    pub(crate) fn begin(&self) -> Option<RequestHead> {
        self.in_flight.set(true);
        self.idle_afterwards.set(None);
        self.timer.set_waiting_for(WaitingFor::Upstream);
        self.timer.disarm();
        self.heads.borrow_mut().pop_front()
    }

    /// The request is over: its response has been handed to hyper whole, or was given up.
    pub(crate) fn end(&self, keep_alive: Duration) {
        self.in_flight.set(false);
        self.head_begun.set(false);
        self.body_bytes.set(0);
        self.timer.set_waiting_for(WaitingFor::Request);
        self.rest(if self.stopping.get() { LAST_CALL } else { keep_alive });
        self.wake();
    }

    /// Nothing need come for so long. A response that was handed to hyper whole may be on its way still: first the client
    /// has the usual time to take what is left of it.
    pub(crate) fn rest(&self, idle: Duration) {
        self.idle.set(idle);
        self.idle_afterwards.set(None);
        if self.write_blocked.get() {
            return self.clock.arm(&self.timer, self.send_timeout);
        }
        if self.releases_buffers.get() && idle > BUFFERS_KEPT {
            self.idle_afterwards.set(Some(idle - BUFFERS_KEPT));
            return self.clock.arm(&self.timer, BUFFERS_KEPT);
        }
        self.clock.arm(&self.timer, idle);
    }

    /// From now on [`Self::rest`] first waits until the buffers may be released.
    pub(super) fn release_buffers_when_idle(&self) {
        self.releases_buffers.set(true);
    }

    /// Whether the timer has expired only for the buffers to be released. It goes on with the rest of the idle time.
    pub(super) fn wait_without_buffers(&self) -> bool {
        let Some(idle) = self.idle_afterwards.take() else { return false };
        self.clock.arm(&self.timer, idle);
        true
    }

    /// The first byte of a request has come: the rest of its head has the usual time, however many empty lines precede it.
    pub(super) fn begin_head(&self) {
        if !self.in_flight.get() && !self.head_begun.replace(true) {
            self.idle_afterwards.set(None);
            self.clock.arm(&self.timer, self.head_timeout);
        }
    }

    /// What came of writing to the client.
    pub(super) fn writes(&self, blocked: bool) {
        let was_blocked = self.write_blocked.replace(blocked);
        if was_blocked && !blocked {
            // Somebody may wait for the response to be gone.
            self.wake();
        }
        match self.timer.waiting_for() {
            WaitingFor::Client if !blocked => self.clock.arm(&self.timer, self.send_timeout),
            WaitingFor::Request if was_blocked != blocked => self.rest(self.idle.get()),
            _ => {}
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// The proxy stops: a connection that is idle waits a moment longer, and one that is not goes on.
    pub(crate) fn stop(&self) {
        let idle = self.timer.waiting_for() == WaitingFor::Request && !self.reading.get();
        if !self.stopping.replace(true) && idle {
            self.rest(LAST_CALL);
        }
    }

    /// Whether a head has begun and is not complete.
    pub(super) fn reads(&self, reading: bool) {
        if self.reading.replace(reading) == reading {
            return;
        }
        self.entry.set_reading(reading);
        if reading { self.all_reading.inc() } else { self.all_reading.dec() }
    }

    /// Why the connection ends, if what the client sent is the reason.
    pub(crate) fn refusal(&self) -> Option<HeadError> {
        self.refusal.get()
    }

    /// Whether the connection ends because of a flood of HTTP/2 frames.
    pub(crate) fn is_flooded(&self) -> bool {
        self.flooded.get()
    }

    /// The first line of what was refused, as far as it came; empty where it was no head.
    pub(crate) fn refused(&self) -> Bytes {
        self.refused.take()
    }

    /// Whether a response that ends now ends the connection: hyper does not wait for the rest of a body that nobody wants.
    pub(crate) fn is_body_due(&self) -> bool {
        self.body_due.get()
    }

    /// Body bytes of the request, with chunk framing.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.body_bytes.get()
    }
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        self.reads(false);
    }
}
