//! One exchange of a query with an upstream: the message that is sent, and what is done if the reply cannot be used.

use std::io;
use std::time::{Duration, Instant};

use dns_wire::{EchoedCase, Reply, restore_letter_case, set_letter_case};
use tokio::time::timeout;

use super::Forward;
use super::connect::operation_timed_out;
use super::transport::{UpstreamQuery, truncated};
use super::upstream::ForwardUpstream;
use crate::limits::LimitReached;
use crate::request::{Request, Transport};

/// How long an upstream may take to answer over TCP after a reply that did not repeat the letter case: less than a query may wait.
const RETRY_TIMEOUT: Duration = Duration::from_secs(2);

impl Forward {
    /// One exchange with an upstream. With `prefer_udp` the query is retried over TCP after a truncated reply, and with
    /// `randomize_case` after one that does not repeat the letter case. Returns false if the reply is to another question.
    pub(super) async fn exchange(
        &self,
        upstream: &ForwardUpstream,
        request: &Request,
        reply: &mut Reply,
    ) -> io::Result<bool> {
        let start = Instant::now();
        // Header, question and OPT record.
        let mut message = vec![0; 12 + 255 + 4 + 11 + request.query.options().len()];
        let mut tcp =
            self.options.force_tcp || (!self.options.prefer_udp && request.transport == Transport::Tcp);
        // Whether a reply over UDP has not repeated the letter case: forged, or of an upstream that does not.
        let mut has_changed = false;
        loop {
            // A new unpredictable ID for each attempt (RFC 5452 §9.2).
            let id: u16 = rand::random();
            let length = request.query.encode(id, &mut message);
            if self.cached.contain(&request.query) {
                // AD is the sixth bit of the fourth byte (RFC 4035 §3.1.6).
                message[3] |= 0x20;
            }
            let is_random = has_changed || (!tcp && self.randomizes(upstream, start));
            if is_random {
                // More bits than a name has letters.
                set_letter_case(&mut message[..length], &rand::random::<[u8; 32]>());
            }
            let outgoing = UpstreamQuery {
                message: &message[..length],
                tcp,
                size: request.query.udp_limit(),
                read: self.options.read_timeout,
                health_check: false,
            };
            let exchanged = match has_changed {
                true => timeout(RETRY_TIMEOUT, upstream.exchange(&outgoing))
                    .await
                    .unwrap_or_else(|_| Err(operation_timed_out("read tcp", upstream.target().address))),
                false => upstream.exchange(&outgoing).await,
            };
            let mut packet = match exchanged {
                Err(error) if has_changed && !LimitReached::caused(&error) => {
                    // Over UDP it does not repeat the case, and over TCP it cannot be asked.
                    upstream.letter_case().suspend(start);
                    return Err(error);
                }
                exchanged => exchanged?,
            };
            let echoed =
                is_random.then(|| restore_letter_case(&mut packet, outgoing.message, request.query.name()));
            if echoed == Some(EchoedCase::Changed) {
                if !tcp {
                    upstream.letter_case().count_mismatch();
                    (tcp, has_changed) = (true, true);
                    continue;
                }
                // A reply over TCP cannot be forged from afar: this upstream does not repeat the case.
                upstream.letter_case().suspend(start);
            }
            let parsed = match reply.parse(&packet, &request.query) {
                // A pointer in the name of the question hides its letter case.
                Ok(parsed) if parsed.matches && !tcp && echoed == Some(EchoedCase::OtherQuestion) => {
                    upstream.letter_case().count_mismatch();
                    (tcp, has_changed) = (true, true);
                    continue;
                }
                // A datagram that cannot be parsed may be cut off. It becomes a truncated reply, so that the client retries
                // over TCP.
                Err(_) if !tcp && upstream.is_plain() => {
                    let mut cut = truncated(outgoing.message, &packet);
                    restore_letter_case(&mut cut, outgoing.message, request.query.name());
                    reply.parse(&cut, &request.query)
                }
                parsed => parsed,
            }
            .map_err(io::Error::other)?;
            if reply.truncated && !tcp && self.options.prefer_udp {
                tcp = true;
                continue;
            }
            upstream.observe_duration(reply.rcode, start.elapsed());
            return Ok(parsed.matches);
        }
    }

    /// Whether the letter case of a query over UDP is a reply's proof that the upstream got it.
    fn randomizes(&self, upstream: &ForwardUpstream, now: Instant) -> bool {
        self.options.randomize_case && upstream.is_plain() && upstream.letter_case().is_randomized(now)
    }
}
