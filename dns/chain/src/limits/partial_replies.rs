//! The memory of replies that are still arriving.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use telemetry::metrics::{Counter, Gauge, Registry};

use super::LimitReached;

/// The bytes that long replies over streams may take while they arrive. An upstream that begins a long reply to each of the waiting
/// queries and does not end it would otherwise take 64 KiB for each.
pub(super) const PARTIAL_BYTES: usize = 32 << 20;

/// The longest buffer of a reply that is not counted. Most replies are shorter, and the limit on waiting queries bounds these.
pub(crate) const UNCOUNTED: usize = 2048;

/// Counts the bytes of replies that have arrived in part. Copies share the count.
#[derive(Clone)]
pub struct PartialReplies(Arc<Partial>);

struct Partial {
    bytes: AtomicUsize,
    limit: usize,
    gauge: Gauge,
    rejected: Counter,
}

/// The bytes of one reply. Dropping it makes room for others.
pub(crate) struct ReplyBytes {
    partial: Arc<Partial>,
    held: usize,
}

impl PartialReplies {
    /// A limit of this many bytes.
    pub fn new(metrics: &Registry, limit: usize) -> Self {
        Self(Arc::new(Partial {
            bytes: AtomicUsize::new(0),
            limit,
            gauge: metrics.gauge(
                "portolan_forward_partial_reply_bytes",
                "Bytes of long replies over TCP, TLS and HTTPS that have arrived in part.",
            ),
            rejected: metrics.counter(
                "portolan_forward_partial_replies_rejected_total",
                "Exchanges with upstreams that failed because replies that had arrived in part took too many bytes.",
            ),
        }))
    }

    /// Begins a reply that holds nothing yet.
    pub(crate) fn begin(&self) -> ReplyBytes {
        ReplyBytes { partial: self.0.clone(), held: 0 }
    }
}

impl ReplyBytes {
    /// Makes room in the reply's buffer. It doubles, so that an upstream which announces a long reply and sends nothing costs
    /// little. An error says that the limit is reached.
    pub(crate) fn reserve(&mut self, buffer: &mut Vec<u8>, more: usize) -> io::Result<()> {
        let needed = buffer.len() + more;
        if needed > buffer.capacity() {
            let capacity = needed.max(2 * buffer.capacity());
            if capacity > UNCOUNTED {
                self.grow_to(capacity)?;
            }
            buffer.reserve_exact(capacity - buffer.len());
        }
        Ok(())
    }

    /// Counts `bytes` for this reply in all.
    fn grow_to(&mut self, bytes: usize) -> io::Result<()> {
        let Partial { bytes: all, limit, gauge, rejected } = &*self.partial;
        let more = bytes.saturating_sub(self.held);
        let fits = |all: usize| all.checked_add(more).filter(|sum| sum <= limit);
        match all.fetch_update(Relaxed, Relaxed, fits) {
            Ok(before) => {
                self.held += more;
                gauge.set((before + more) as f64);
                Ok(())
            }
            Err(_) => {
                rejected.inc();
                let what = format!(
                    "replies of upstreams that have arrived in part take {limit} bytes, which is the limit"
                );
                Err(LimitReached::error(what))
            }
        }
    }
}

impl Drop for ReplyBytes {
    fn drop(&mut self) {
        if self.held > 0 {
            let before = self.partial.bytes.fetch_sub(self.held, Relaxed);
            self.partial.gauge.set(before.saturating_sub(self.held) as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_hold_no_more_bytes_together_than_allowed() {
        let metrics = Registry::new();
        let replies = PartialReplies::new(&metrics, 100);
        let (mut first, mut second) = (replies.begin(), replies.begin());
        first.grow_to(40).unwrap();
        first.grow_to(60).unwrap();
        second.grow_to(40).unwrap();
        let error = second.grow_to(41).expect_err("all are taken");
        assert!(LimitReached::caused(&error), "{error}");
        let text = metrics.text();
        assert!(text.contains("portolan_forward_partial_reply_bytes 100\n"), "{text}");
        assert!(text.contains("portolan_forward_partial_replies_rejected_total 1\n"), "{text}");
        drop(first);
        second.grow_to(100).unwrap();
        drop(second);
        assert!(metrics.text().contains("portolan_forward_partial_reply_bytes 0\n"));
    }
}
