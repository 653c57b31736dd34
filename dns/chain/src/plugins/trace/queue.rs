//! The spans that wait for the collector, and the task that sends them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use telemetry::metrics::{Counter, Registry};
use tokio::sync::Notify;

use crate::http_client::HttpClient;
use crate::limits::{Throttle, WARNING_INTERVAL};

/// How long the collector may take for a request.
const LIMIT: Duration = Duration::from_secs(5);

/// The most bytes of its response, which are not read otherwise.
const MAX_RESPONSE: usize = 64 << 10;

/// The numbers of spans that wait and are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    /// The most spans that wait.
    pub backlog: usize,
    /// The most spans of a request.
    pub size: usize,
    /// How long a span waits for others.
    pub interval: Duration,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self { backlog: 1000, size: 100, interval: Duration::from_secs(1) }
    }
}

/// The metrics of `trace`.
#[derive(Clone)]
pub(super) struct TraceMetrics {
    sent: Counter,
    dropped: Counter,
    failed: Counter,
}

impl TraceMetrics {
    pub(super) fn new(metrics: &Registry) -> Self {
        let spans = metrics.counters(
            "portolan_trace_spans_total",
            "Spans by result: sent, dropped because too many waited, or failed because the collector took no request.",
            ["result"],
        );
        Self { sent: spans.with(["sent"]), dropped: spans.with(["dropped"]), failed: spans.with(["failed"]) }
    }
}

/// The spans that wait.
pub(super) struct SpanQueue {
    limits: BatchLimits,
    waiting: Mutex<VecDeque<String>>,
    /// Notified when a whole batch waits.
    full: Notify,
    warning: Throttle,
    metrics: TraceMetrics,
}

impl SpanQueue {
    pub(super) fn new(limits: BatchLimits, metrics: TraceMetrics) -> Self {
        let (waiting, full, warning) = (Mutex::default(), Notify::new(), Throttle::new(WARNING_INTERVAL));
        Self { limits, waiting, full, warning, metrics }
    }

    /// Adds spans. If too many wait, the oldest are dropped.
    pub(super) fn push(&self, spans: Vec<String>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(spans);
        let excess = waiting.len().saturating_sub(self.limits.backlog);
        waiting.drain(..excess);
        if waiting.len() >= self.limits.size {
            self.full.notify_one();
        }
        drop(waiting);
        self.metrics.dropped.add(excess as u64);
    }

    /// Sends the spans in batches, for ever. Those of a request that fails are lost.
    pub(super) async fn send(&self, client: &HttpClient, path: &str) {
        loop {
            // Either a batch is complete or the time is up.
            let _ = tokio::time::timeout(self.limits.interval, self.full.notified()).await;
            while let Some((count, body)) = self.batch() {
                let sent = tokio::time::timeout(LIMIT, client.post(path, None, body, MAX_RESPONSE)).await;
                let result = match sent {
                    Ok(Ok(response)) if response.status.is_success() => Ok(()),
                    Ok(Ok(response)) => Err(format!("HTTP status {}", response.status)),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_elapsed) => Err("i/o timeout".to_owned()),
                };
                match result {
                    Ok(()) => self.metrics.sent.add(count),
                    Err(why) => self.report(client, count, &why),
                }
            }
        }
    }

    /// The oldest spans as a request, and their number; `None` if there are none.
    fn batch(&self) -> Option<(u64, Bytes)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(self.limits.size);
        let spans: Vec<String> = waiting.drain(..count).collect();
        drop(waiting);
        (count > 0).then(|| (count as u64, Bytes::from(format!("[{}]", spans.join(",")))))
    }

    fn report(&self, client: &HttpClient, count: u64, why: &str) {
        self.metrics.failed.add(count);
        if self.warning.due(Instant::now()).is_some() {
            tracing::warn!(target: "plugin/trace", "spans are lost: {}: {why}", client.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_spans_the_oldest_are_dropped_and_counted() {
        let registry = Registry::new();
        let limits = BatchLimits { backlog: 10, size: 4, interval: Duration::from_secs(1) };
        let queue = SpanQueue::new(limits, TraceMetrics::new(&registry));
        for n in 0..25 {
            queue.push(vec![n.to_string()]);
        }
        let batches: Vec<_> = std::iter::from_fn(|| queue.batch()).collect();
        let texts: Vec<&[u8]> = batches.iter().map(|(_, body)| &**body).collect();
        assert_eq!(texts, [&b"[15,16,17,18]"[..], b"[19,20,21,22]", b"[23,24]"]);
        assert!(registry.text().contains("portolan_trace_spans_total{result=\"dropped\"} 15"));
    }
}
