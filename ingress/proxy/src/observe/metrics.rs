//! The metrics of the proxy, with ingress-nginx's names, labels and help texts.
//!
//! The names are a contract: dashboards and alerts use them. A golden test compares the whole page.

mod names;

mod configuration;
mod connections;
mod limits;
mod process;
mod requests;
mod streams;
mod views;

mod series;

use ingress_routes::CertificateInfo;
use telemetry::metrics::Registry;
use telemetry::span_queue::SpanMetrics;

pub use self::configuration::ConfigurationMetrics;
pub(crate) use self::connections::ConnectionMetrics;
pub(crate) use self::limits::{LimitMetrics, PasswordMetrics, SubrequestCacheMetrics};
pub(crate) use self::requests::{RequestLabels, RequestSample};
pub(crate) use self::series::RequestSeries;
pub(crate) use self::streams::{OpenGuard, StreamMetrics};

use self::requests::RequestMetrics;
use crate::observe::upstream_log::UpstreamLog;
use crate::options::{Controller, MetricsOptions};
use crate::views::ProxyViews;

/// All metrics of the proxy, shared by its workers.
#[derive(Clone)]
pub(crate) struct ProxyMetrics {
    requests: RequestMetrics,
    pub(crate) connections: ConnectionMetrics,
    pub(crate) limits: LimitMetrics,
    pub(crate) streams: StreamMetrics,
    /// Spans for OpenTelemetry.
    pub(crate) spans: SpanMetrics,
    pub(crate) upstream_log: UpstreamLog,
}

impl ProxyMetrics {
    pub(crate) fn new(
        registry: &Registry,
        controller: &Controller,
        options: &MetricsOptions,
        views: &ProxyViews,
        self_signed: Option<CertificateInfo>,
    ) -> Self {
        views::show(registry, controller, views, self_signed);
        process::show(registry, controller);
        let requests = RequestMetrics::new(registry, controller, options);
        let connections = ConnectionMetrics::new(registry, controller);
        let limits = LimitMetrics::new(registry);
        let streams = StreamMetrics::new(registry);
        let spans = SpanMetrics::new(
            registry,
            "portolan_ingress_spans_total",
            "Spans of requests by result: sent, dropped because too many waited, or failed because the collector did not take them.",
        );
        Self { requests, connections, limits, streams, spans, upstream_log: UpstreamLog::default() }
    }
}
