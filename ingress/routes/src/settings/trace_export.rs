//! Settings of the export of spans.

use std::time::Duration;

/// Where spans are sent and in which batches; named as keys of the ConfigMap.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceExportSettings {
    /// `otlp-collector-host`: the collector; without one no spans are sent.
    pub host: Option<String>,
    /// `otlp-collector-port`.
    pub port: u16,
    /// `otel-service-name`: the name of this service.
    pub service: String,
    /// `otel-max-queuesize`: how many spans wait at most.
    pub queue: usize,
    /// `otel-max-export-batch-size`: how many are sent in a request.
    pub batch: usize,
    /// `otel-schedule-delay-millis`: how long a span waits for others.
    pub delay: Duration,
}

impl Default for TraceExportSettings {
    fn default() -> Self {
        Self {
            host: None,
            port: 4317,
            service: "nginx".to_owned(),
            queue: 2048,
            batch: 512,
            delay: Duration::from_secs(5),
        }
    }
}
