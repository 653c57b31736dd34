//! How long a request waits for endpoint and client, and how much it reads at once.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::io::clock::{Clock, Timer, WaitingFor};
use crate::io::scratch;
use crate::upstream::error::{TimeoutKind, UpstreamError};

/// How much is read at once, at first and at most. At first the thread's buffer is used, so that a request holds no buffer
/// while it waits for its response.
pub(super) const READ: usize = scratch::SIZE;
const READ_MAX: usize = 128 * 1024;
/// At most for an HTTP/2 stream. The client has to take each piece within its timeout, and h2 does not report how much of
/// a piece was sent, so a piece must be small. A frame is no larger either.
const READ_MAX_OF_STREAM: usize = READ;
/// How long a request waits for endpoint and client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamTimeouts {
    /// For the endpoint to read the request (`proxy-send-timeout`).
    pub(crate) send: Duration,
    /// For the endpoint to answer (`proxy-read-timeout`).
    pub(crate) read: Duration,
    /// For the client to send its body (`client-body-timeout`).
    pub(crate) body: Duration,
    /// For the client to take the response (nginx's `send_timeout`).
    pub(crate) client_send: Duration,
}

/// The timer of a request, which is that of the client's connection or of its HTTP/2 stream, and the timeouts.
pub(crate) struct UpstreamTimer {
    clock: Rc<Clock>,
    timer: Rc<Timer>,
    timeouts: UpstreamTimeouts,
    /// The client speaks HTTP/2.
    is_stream: bool,
    /// The timeout that the timer runs for.
    wait: TimeoutKind,
    /// Something was sent or received since the timer was set.
    progress: bool,
}

impl UpstreamTimer {
    /// `is_stream`: the client speaks HTTP/2.
    pub(crate) fn new(
        clock: Rc<Clock>,
        timer: Rc<Timer>,
        timeouts: UpstreamTimeouts,
        is_stream: bool,
    ) -> Self {
        Self { clock, timer, timeouts, is_stream, wait: TimeoutKind::Send, progress: true }
    }

    pub(super) fn read_max(&self) -> usize {
        if self.is_stream { READ_MAX_OF_STREAM } else { READ_MAX }
    }

    /// The timeouts.
    pub(super) fn timeouts(&self) -> UpstreamTimeouts {
        self.timeouts
    }

    /// Records that something was sent or received.
    pub(crate) fn set_progress(&mut self) {
        self.progress = true;
    }

    /// From now on the client has to take what was read.
    pub(super) fn wait_for_client(&mut self) {
        self.wait = TimeoutKind::Client;
        self.clock.wait_for_client(&self.timer, self.timeouts.client_send);
    }

    /// Fails once nothing has happened for the time that belongs to `wait`.
    pub(crate) fn poll_timeout<T>(
        &mut self,
        cx: &mut Context<'_>,
        wait: TimeoutKind,
    ) -> Poll<Result<T, UpstreamError>> {
        if self.progress || self.wait != wait {
            self.progress = false;
            if self.wait == TimeoutKind::Client {
                self.timer.set_waiting_for(WaitingFor::Upstream);
            }
            self.wait = wait;
            let timeouts = &self.timeouts;
            let timeout = match wait {
                TimeoutKind::Send => timeouts.send,
                TimeoutKind::Read | TimeoutKind::Client => timeouts.read,
                TimeoutKind::Body => timeouts.body,
            };
            self.clock.arm(&self.timer, timeout);
        }
        if self.timer.poll_expired(cx) {
            Poll::Ready(Err(UpstreamError::Timeout(wait)))
        } else {
            Poll::Pending
        }
    }
}
