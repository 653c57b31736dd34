//! The memory that the encoders of compressed responses may take, of all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use ingress_routes::plan::compression::ContentCoding;
use telemetry::metrics::Counter;

/// How many bytes all encoders may take. Beyond it responses are sent as they are: an encoder lives until its response has been read from
/// the endpoint, which a slow client can delay.
const LIMIT: usize = 128 << 20;

/// The memory of all encoders.
pub(crate) struct EncoderMemory {
    limit: usize,
    used: AtomicUsize,
    refused: Counter,
}

/// The memory of one encoder. Dropping it gives it back.
pub(crate) struct EncoderHold {
    memory: Arc<EncoderMemory>,
    bytes: usize,
}

impl EncoderMemory {
    /// `refused` counts the encoders that got no memory.
    pub(crate) fn new(refused: Counter) -> Arc<Self> {
        Self::with_limit(LIMIT, refused)
    }

    fn with_limit(limit: usize, refused: Counter) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), refused })
    }

    /// The memory for an encoder; `None` if all is used.
    pub(crate) fn take(self: &Arc<Self>, coding: ContentCoding) -> Option<EncoderHold> {
        let bytes = needed(coding);
        let hold = EncoderHold { memory: self.clone(), bytes };
        if self.used.fetch_add(bytes, Relaxed) + bytes > self.limit {
            self.refused.inc();
            return None;
        }
        Some(hold)
    }
}

impl Drop for EncoderHold {
    fn drop(&mut self) {
        self.memory.used.fetch_sub(self.bytes, Relaxed);
    }
}

/// The most that an encoder allocates: measured for gzip, the sum of its tables and buffers for brotli.
fn needed(coding: ContentCoding) -> usize {
    match coding {
        ContentCoding::Gzip => 384 << 10,
        ContentCoding::Brotli => 1 << 20,
    }
}

#[cfg(test)]
mod tests {
    use telemetry::metrics::Registry;

    use super::*;

    #[test]
    fn encoders_beyond_the_limit_get_no_memory_until_others_end() {
        let registry = Registry::default();
        let memory = EncoderMemory::with_limit(2 << 20, registry.counter("refused", "refused"));
        let (gzip, brotli) = (ContentCoding::Gzip, ContentCoding::Brotli);
        let large = memory.take(brotli);
        let mut small: Vec<_> = std::iter::from_fn(|| memory.take(gzip)).collect();
        assert!(large.is_some() && small.len() == 2 && memory.take(brotli).is_none());
        assert!(registry.text().contains("refused 2\n"), "{}", registry.text());
        small.pop();
        assert!(memory.take(gzip).is_some() && memory.take(brotli).is_none());
        drop(large);
        assert!(memory.take(brotli).is_some());
        assert_eq!(memory.used.load(Relaxed), small.len() * (384 << 10), "all others have ended");
    }
}
