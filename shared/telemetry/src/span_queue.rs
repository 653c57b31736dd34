//! Spans of traces that wait for a collector, in its format.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::metrics::{Counter, Registry};

/// The numbers of spans that wait and are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// The most spans that wait.
    pub backlog: usize,
    /// The most spans of a request to the collector.
    pub size: usize,
    /// How long a span waits for others.
    pub interval: Duration,
}

/// Spans by what became of them.
#[derive(Clone)]
pub struct SpanMetrics {
    /// The collector has taken them.
    pub sent: Counter,
    /// Too many waited.
    pub dropped: Counter,
    /// The collector did not take them.
    pub failed: Counter,
}

impl SpanMetrics {
    /// Registers the counters under a name.
    pub fn new(metrics: &Registry, name: &'static str, help: &'static str) -> Self {
        let spans = metrics.counters(name, help, ["result"]);
        Self { sent: spans.with(["sent"]), dropped: spans.with(["dropped"]), failed: spans.with(["failed"]) }
    }
}

/// A bounded queue of encoded spans. Any thread adds spans; one task takes them in batches.
pub struct SpanQueue<S> {
    waiting: Mutex<VecDeque<S>>,
    /// Notified when spans wait and none did before.
    any: Notify,
    /// Notified when a whole batch waits.
    full: Notify,
    metrics: SpanMetrics,
}

impl<S: AsRef<[u8]>> SpanQueue<S> {
    /// An empty queue.
    pub fn new(metrics: SpanMetrics) -> Self {
        Self { waiting: Mutex::default(), any: Notify::new(), full: Notify::new(), metrics }
    }

    /// The counters.
    pub fn metrics(&self) -> &SpanMetrics {
        &self.metrics
    }

    /// Adds spans. If too many wait, the oldest are dropped.
    pub fn push(&self, spans: impl IntoIterator<Item = S>, limits: &BatchLimits) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = waiting.is_empty();
        waiting.extend(spans);
        let excess = waiting.len().saturating_sub(limits.backlog);
        waiting.drain(..excess);
        let count = waiting.len();
        drop(waiting);
        self.metrics.dropped.add(excess as u64);
        if was_empty && count > 0 {
            self.any.notify_one();
        }
        if count >= limits.size {
            self.full.notify_one();
        }
    }

    /// Waits until a span waits.
    pub async fn wait_for_any(&self) {
        while self.count() == 0 {
            self.any.notified().await;
        }
    }

    /// Waits until a whole batch waits, for `limits.interval` at most.
    pub async fn wait_for_batch(&self, limits: &BatchLimits) {
        // A notification may be about spans that were taken since.
        let full = async {
            while self.count() < limits.size {
                self.full.notified().await;
            }
        };
        let _ = tokio::time::timeout(limits.interval, full).await;
    }

    fn count(&self) -> usize {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes the oldest spans: `count` of them and `bytes` in all at most, but one at least. Empty if none wait.
    pub fn take(&self, count: usize, bytes: usize) -> Vec<S> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut total = 0;
        let fits = |span: &&S| {
            total += span.as_ref().len();
            total <= bytes
        };
        let fitting = waiting.iter().take(count).take_while(fits).count();
        let taken = fitting.max(1).min(waiting.len());
        waiting.drain(..taken).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BatchLimits = BatchLimits { backlog: 10, size: 4, interval: Duration::from_secs(1) };

    fn queue(registry: &Registry) -> SpanQueue<String> {
        SpanQueue::new(SpanMetrics::new(registry, "spans_total", "Spans."))
    }

    #[test]
    fn of_too_many_spans_the_oldest_are_dropped_and_counted() {
        let registry = Registry::new();
        let queue = queue(&registry);
        for n in 0..25 {
            queue.push([n.to_string()], &LIMITS);
        }
        let batches = std::iter::from_fn(|| Some(queue.take(4, 100)).filter(|batch| !batch.is_empty()));
        assert_eq!(
            batches.map(|batch| batch.join(",")).collect::<Vec<_>>(),
            ["15,16,17,18", "19,20,21,22", "23,24"]
        );
        assert!(registry.text().contains("spans_total{result=\"dropped\"} 15"));
    }

    #[test]
    fn a_batch_has_no_more_bytes_than_allowed_unless_one_span_has() {
        let queue = queue(&Registry::new());
        queue.push(["aa", "bb", "ccccc", "d"].map(str::to_owned), &LIMITS);
        assert_eq!(queue.take(4, 4), ["aa", "bb"]);
        assert_eq!(queue.take(4, 4), ["ccccc"]);
        assert_eq!(queue.take(4, 4), ["d"]);
        assert!(queue.take(4, 4).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_is_due_when_it_is_full_or_its_first_span_has_waited() {
        let queue = queue(&Registry::new());
        let start = tokio::time::Instant::now();
        let wait = || async {
            queue.wait_for_any().await;
            queue.wait_for_batch(&LIMITS).await;
            start.elapsed()
        };
        assert!(tokio::time::timeout(Duration::from_secs(60), queue.wait_for_any()).await.is_err());
        queue.push(["a".to_owned()], &LIMITS);
        assert_eq!(wait().await, Duration::from_secs(61));
        queue.take(4, 100);
        queue.push(["a", "b", "c", "d"].map(str::to_owned), &LIMITS);
        assert_eq!(wait().await, Duration::from_secs(61));
        // One more than a batch: it waits for others, and the notification of the batch is none of another.
        queue.push(["e".to_owned()], &LIMITS);
        assert_eq!(wait().await, Duration::from_secs(61));
        assert_eq!(queue.take(4, 100).len(), 4);
        assert_eq!(wait().await, Duration::from_secs(62));
        assert_eq!(queue.take(4, 100), ["e"]);
    }
}
