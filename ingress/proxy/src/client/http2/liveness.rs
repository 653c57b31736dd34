//! Detects a client that has disappeared, which would keep its streams for ever: a client that sends nothing gets a PING
//! (RFC 9113 §6.7), which it has to answer.

use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use h2::{Ping, PingPong};

use crate::io::clock::{Clock, Timer};

/// How long a client has at most to answer a PING.
const PONG_TIMEOUT: Duration = Duration::from_secs(20);

/// The PINGs of one connection.
pub(super) struct Liveness {
    pings: PingPong,
    clock: Rc<Clock>,
    timer: Rc<Timer>,
    /// How long the client may be silent before a PING is sent.
    interval: Duration,
    /// When the PING was sent that is not answered yet, in milliseconds of the clock.
    ping_sent_at: Option<u64>,
}

impl Liveness {
    pub(super) fn new(pings: PingPong, clock: Rc<Clock>, interval: Duration) -> Self {
        let timer = clock.timer();
        clock.arm(&timer, interval);
        Self { pings, clock, timer, interval, ping_sent_at: None }
    }

    /// Whether the client has left a PING unanswered. `last_read` is when it has sent something, in milliseconds of the clock. Hot: one
    /// look at a timer.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, last_read: u64) -> bool {
        if self.ping_sent_at.is_some() && self.pings.poll_pong(cx).is_ready() {
            self.ping_sent_at = None;
            self.clock.arm(&self.timer, self.interval);
        }
        while self.timer.poll_expired(cx) {
            // A client that sends is there, even if its answer waits behind much else.
            if self.ping_sent_at.is_some_and(|ping_sent_at| last_read <= ping_sent_at) {
                return true;
            }
            let silent = Duration::from_millis(self.clock.now().saturating_sub(last_read));
            if silent < self.interval {
                self.clock.arm(&self.timer, self.interval - silent);
            } else {
                // Fails only while another PING is not answered, or once the connection has ended.
                if self.pings.send_ping(Ping::opaque()).is_ok() || self.ping_sent_at.is_some() {
                    self.ping_sent_at = Some(self.clock.now());
                }
                let _ = self.pings.poll_pong(cx);
                self.clock.arm(&self.timer, self.interval.min(PONG_TIMEOUT));
            }
        }
        false
    }
}
