//! The task that sends spans to the collector.

use std::time::{Duration, Instant};

use bytes::Bytes;
use telemetry::metrics::Registry;
use telemetry::span_queue::{BatchLimits, SpanMetrics, SpanQueue};

use crate::http_client::HttpClient;
use crate::limits::{Throttle, WARNING_INTERVAL};

/// How long the collector may take for a request.
const LIMIT: Duration = Duration::from_secs(5);

/// The most bytes of its response, which are not read otherwise.
const MAX_RESPONSE: usize = 64 << 10;

/// The limits unless the Corefile has others.
pub(super) const DEFAULT_LIMITS: BatchLimits =
    BatchLimits { backlog: 1000, size: 100, interval: Duration::from_secs(1) };

/// The metrics of `trace`.
pub(super) fn metrics(metrics: &Registry) -> SpanMetrics {
    SpanMetrics::new(
        metrics,
        "portolan_trace_spans_total",
        "Spans by result: sent, dropped because too many waited, or failed because the collector took no request.",
    )
}

/// Sends spans, which are JSON objects, in batches.
pub(super) struct SpanSender {
    pub client: HttpClient,
    pub path: String,
    pub limits: BatchLimits,
}

impl SpanSender {
    /// Sends the spans of a queue for ever. Those of a request that fails are lost.
    pub(super) async fn run(self, queue: &SpanQueue<String>) {
        let Self { client, path, limits } = self;
        let (metrics, warning) = (queue.metrics(), Throttle::new(WARNING_INTERVAL));
        loop {
            queue.wait_for_any().await;
            queue.wait_for_batch(&limits).await;
            // The remaining spans wait for the next batch.
            let spans = queue.take(limits.size, usize::MAX);
            if spans.is_empty() {
                continue;
            }
            let (count, body) = (spans.len() as u64, Bytes::from(format!("[{}]", spans.join(","))));
            let sent = tokio::time::timeout(LIMIT, client.post(&path, None, body, MAX_RESPONSE)).await;
            let result = match sent {
                Ok(Ok(response)) if response.status.is_success() => Ok(()),
                Ok(Ok(response)) => Err(format!("HTTP status {}", response.status)),
                Ok(Err(error)) => Err(net::error_text(&error)),
                Err(_elapsed) => Err("i/o timeout".to_owned()),
            };
            let Err(why) = result else {
                metrics.sent.add(count);
                continue;
            };
            metrics.failed.add(count);
            if warning.due(Instant::now()).is_some() {
                tracing::warn!(target: "plugin/trace", "spans are lost: {}: {why}", client.name());
            }
        }
    }
}
