//! The timeouts of a client's connection, and what the proxy records of it between and during requests.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use telemetry::metrics::UpDownCounter;

use crate::io::clock::{Clock, Timer, WaitingFor};
use crate::state::client_table::ClientEntry;

/// The state of a connection, shared by its stream and its requests.
pub(crate) struct ConnectionState {
    /// The connection in the worker's table.
    pub(crate) entry: Rc<ClientEntry>,
    pub(crate) timer: Rc<Timer>,
    pub(super) clock: Rc<Clock>,
    pub(super) head_timeout: Duration,
    pub(super) send_timeout: Duration,
    /// For HTTP/2: the last write had to wait for the client.
    pub(super) write_blocked: Cell<bool>,
    /// How long the connection may be idle between two requests.
    idle: Cell<Duration>,
    /// The buffers of an idle connection are released after [`BUFFERS_KEPT`].
    releases_buffers: Cell<bool>,
    /// The first byte of the next head was received, or of empty lines before it.
    head_begun: Cell<bool>,
    /// Set while the timer runs until the buffers are released: how long the connection may be idle after that.
    idle_afterwards: Cell<Option<Duration>>,
    /// The client has sent too many HTTP/2 frames that carry nothing.
    pub(super) flooded: Cell<bool>,
    /// The proxy is stopping.
    stopping: Cell<bool>,
    /// The timer has a deadline for the end of the connection.
    ending: Cell<bool>,
    /// A head has begun and is not complete. Counted in `all_reading`.
    reading: Cell<bool>,
    /// The worker's connections whose head has begun and is not complete.
    all_reading: UpDownCounter,
}

/// How long an idle connection stays open when the proxy stops, for a request that the client may have sent already. Its
/// response has `Connection: close` (RFC 9112 §9.6). nginx's option for this is `keepalive_min_timeout`.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long an idle connection of HTTP/1 keeps its buffers and the state of its requests, 5 KiB or more, for the next request.
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
            write_blocked: Cell::new(false),
            idle: Cell::new(head_timeout),
            releases_buffers: Cell::new(false),
            idle_afterwards: Cell::new(None),
            head_begun: Cell::new(false),
            flooded: Cell::new(false),
            stopping: Cell::new(false),
            ending: Cell::new(false),
            reading: Cell::new(false),
            all_reading,
        })
    }

    /// Begins a request of HTTP/1, or the end of the connection: the timer is left to it.
    pub(super) fn begin(&self) {
        self.idle_afterwards.set(None);
        self.timer.set_waiting_for(WaitingFor::Upstream);
        self.timer.disarm();
    }

    /// Begins the time that the client has for reading the next part of the response.
    pub(super) fn wait_for_client(&self) {
        self.clock.wait_for_client(&self.timer, self.send_timeout);
    }

    /// Ends a request of HTTP/1: the client has taken the whole response.
    pub(super) fn end(&self, keep_alive: Duration) {
        self.head_begun.set(false);
        self.timer.set_waiting_for(WaitingFor::Request);
        self.rest(if self.stopping.get() { LAST_CALL } else { keep_alive });
    }

    /// Allows the connection to be idle for this long. While the client has not taken the last response, the timeout for
    /// writing applies instead.
    pub(crate) fn rest(&self, idle: Duration) {
        self.idle.set(idle);
        self.idle_afterwards.set(None);
        if self.write_blocked.get() {
            return self.clock.arm(&self.timer, self.send_timeout);
        }
        if self.head_begun.get() {
            return self.clock.arm(&self.timer, self.head_timeout);
        }
        if self.releases_buffers.get() && idle > BUFFERS_KEPT {
            self.idle_afterwards.set(Some(idle - BUFFERS_KEPT));
            return self.clock.arm(&self.timer, BUFFERS_KEPT);
        }
        self.clock.arm(&self.timer, idle);
    }

    /// Sets a deadline that no write puts off, however slowly the client reads.
    pub(super) fn set_deadline(&self, after: Duration) {
        self.ending.set(true);
        self.clock.arm(&self.timer, after);
    }

    /// Makes [`Self::rest`] first wait until the buffers may be released.
    pub(super) fn release_buffers_when_idle(&self) {
        self.releases_buffers.set(true);
    }

    /// Whether the timer has expired because the buffers may be released. If so, sets it to the rest of the idle time.
    pub(super) fn wait_without_buffers(&self) -> bool {
        let Some(idle) = self.idle_afterwards.take() else { return false };
        self.clock.arm(&self.timer, idle);
        true
    }

    /// Starts the timeout of a request's head at its first byte. Further empty lines before the head do not extend it.
    pub(super) fn begin_head(&self) {
        if !self.head_begun.replace(true) {
            self.idle_afterwards.set(None);
            self.clock.arm(&self.timer, self.head_timeout);
        }
    }

    /// For HTTP/2: records whether a write had to wait for the client.
    pub(super) fn writes(&self, blocked: bool) {
        let was_blocked = self.write_blocked.replace(blocked);
        match self.timer.waiting_for() {
            WaitingFor::Client if !blocked => self.clock.arm(&self.timer, self.send_timeout),
            WaitingFor::Request if was_blocked != blocked && !self.ending.get() => self.rest(self.idle.get()),
            _ => {}
        }
    }

    /// Records that the proxy stops: an idle connection is closed after [`LAST_CALL`], a busy one after its request.
    pub(crate) fn stop(&self) {
        let idle = self.timer.waiting_for() == WaitingFor::Request && !self.reading.get();
        if !self.stopping.replace(true) && idle {
            self.rest(LAST_CALL);
        }
    }

    /// Records whether a head has begun and is not complete.
    pub(super) fn reads(&self, reading: bool) {
        if self.reading.replace(reading) == reading {
            return;
        }
        self.entry.set_reading(reading);
        if reading { self.all_reading.inc() } else { self.all_reading.dec() }
    }

    /// Whether the connection ends because of a flood of HTTP/2 frames.
    pub(crate) fn is_flooded(&self) -> bool {
        self.flooded.get()
    }
}

impl Drop for ConnectionState {
    fn drop(&mut self) {
        self.reads(false);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::io::buffers::BufferBudget;
    use crate::state::client_table::ClientTable;

    #[test]
    fn no_write_puts_the_end_of_a_connection_off() {
        let table = ClientTable::new(1, BufferBudget::new(1 << 20, 1, Default::default()));
        let place = table.admit(0).unwrap();
        let (clock, minute) = (Rc::new(Clock::new(jiff::tz::TimeZone::UTC)), Duration::from_secs(60));
        let state = ConnectionState::new(
            place.entry.clone(),
            clock.clone(),
            minute,
            minute,
            UpDownCounter::default(),
        );
        let expired = || state.timer.poll_expired(&mut Context::from_waker(Waker::noop()));
        state.rest(minute);
        state.writes(true);
        state.set_deadline(Duration::from_secs(1));
        for now in 1..=11 {
            assert!(!expired());
            state.writes(now % 2 == 0);
            clock.tick_at(now * 100);
        }
        assert!(expired());
    }
}
