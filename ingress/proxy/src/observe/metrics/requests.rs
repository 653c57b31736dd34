//! The counter and the histograms of requests, and the labels that they share.

use std::sync::Arc;
use std::time::Duration;

use cluster::Key;
use http::StatusCode;
use ingress_routes::{Route, UpstreamTarget};
use ingress_wire::request::Method;
use telemetry::metrics::{EventFamily, EventSeries, Labels, Registry};

use super::names::{name, own};
use crate::options::{Controller, MetricsOptions};

/// Labels of a request: the controller's three, then the request's.
const LABELS: [&str; 11] = [
    "controller_class",
    "controller_namespace",
    "controller_pod",
    "status",
    "method",
    "path",
    "namespace",
    "ingress",
    "service",
    "canary",
    "host",
];

/// The measured values of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestSample {
    pub(crate) request: Duration,
    /// From the start of the attempt to the end of the response, to its head, and to the connection.
    pub(crate) response: Option<Duration>,
    pub(crate) header: Option<Duration>,
    pub(crate) connect: Option<Duration>,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

impl RequestSample {
    /// The values of [`HISTOGRAMS`].
    fn values(&self) -> [Option<f64>; HISTOGRAMS.len()] {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let (received, sent) = (Some(self.request_bytes as f64), Some(self.response_bytes as f64));
        [
            Some(self.request.as_secs_f64()),
            seconds(self.response),
            seconds(self.header),
            seconds(self.connect),
            received,
            sent,
            sent,
        ]
    }
}

/// Which flag sets the buckets of a histogram.
enum Buckets {
    Time,
    Length,
    Size,
}

/// A histogram: name, help, buckets.
type Row = (&'static str, &'static str, Buckets);

/// The histograms, in the order of [`RequestSample::values`].
const HISTOGRAMS: [Row; 7] = [
    (
        "request_duration_seconds",
        // ingress-nginx's text, although the unit is seconds.
        "The request processing time in milliseconds",
        Buckets::Time,
    ),
    (
        "response_duration_seconds",
        "The time spent on receiving the response from the upstream server",
        Buckets::Time,
    ),
    (
        "header_duration_seconds",
        "The time spent on receiving first header from the upstream server",
        Buckets::Time,
    ),
    (
        "connect_duration_seconds",
        "The time spent on establishing a connection with the upstream server",
        Buckets::Time,
    ),
    (
        "request_size",
        "The request length (including request line, header, and request body)",
        Buckets::Length,
    ),
    (
        "response_size",
        "The response length (including request line, header, and request body)",
        Buckets::Length,
    ),
    ("bytes_sent", "DEPRECATED The number of bytes sent to a client", Buckets::Size),
];

/// The labels of a request.
pub(crate) struct RequestLabels<'a> {
    pub(crate) route: &'a Arc<Route>,
    /// Its number among the route's canaries, and the canary itself.
    pub(crate) canary: Option<(usize, &'a UpstreamTarget)>,
    pub(crate) status: StatusCode,
    pub(crate) method: Method,
    /// The host of the request.
    pub(crate) host: &'a str,
}

/// The metrics of requests, each of which may have been left out (`--exclude-socket-metrics`).
#[derive(Clone)]
pub(super) struct RequestMetrics {
    controller: Controller,
    options: MetricsOptions,
    events: EventFamily<11, { HISTOGRAMS.len() }>,
}

impl RequestMetrics {
    pub(super) fn new(registry: &Registry, controller: &Controller, options: &MetricsOptions) -> Self {
        let shown = |suffix: &str| {
            let left_out = |given: &String| *given == suffix || *given == name(suffix);
            (!options.exclude.iter().any(left_out)).then(|| name(suffix))
        };
        let is_shown = |label: &str| options.per_host || label != "host";
        let labels = LABELS.map(|label| if is_shown(label) { label } else { "" });
        let requests = shown("requests")
            .map(|name| registry.counters(&name, "The total number of client requests", labels));
        let histograms = HISTOGRAMS.map(|(suffix, help, buckets)| {
            let bounds = match buckets {
                Buckets::Time => &options.time_buckets,
                Buckets::Length => &options.length_buckets,
                Buckets::Size => &options.size_buckets,
            };
            shown(suffix).map(|name| registry.histograms(&name, help, labels, bounds))
        });
        let (controller, options) = (controller.clone(), options.clone());
        Self { controller, options, events: EventFamily::new(requests, histograms) }
    }

    pub(super) fn options(&self) -> &MetricsOptions {
        &self.options
    }

    /// The series of a request. All workers share them, to save memory.
    pub(super) fn series(&self, of: &RequestLabels<'_>, host: &str) -> LabelledSeries {
        let labels = self.labels(of, host);
        LabelledSeries { numbers: self.events.of(&labels), labels }
    }

    /// Removes a series.
    pub(super) fn remove(&self, series: &LabelledSeries) {
        self.events.remove(&series.labels);
    }

    /// Counts a request. Hot: no lock and no allocation.
    pub(super) fn count(&self, series: &LabelledSeries, sample: &RequestSample) {
        self.events.count(&series.numbers, sample.values());
    }

    /// The labels.
    fn labels(&self, of: &RequestLabels<'_>, host: &str) -> Labels<11> {
        let RequestLabels { route, canary, method, .. } = of;
        let [class, namespace, pod] = own(&self.controller);
        let status = match status_label(of.status, self.options.status_classes) {
            class @ ..10 => format!("{class}xx"),
            status => status.to_string(),
        };
        let ingress = route.ingress.as_ref();
        Labels::new(
            [
                class,
                namespace,
                pod,
                &status,
                method_label(*method).1,
                &route.path,
                ingress.map_or("", |key| &key.namespace),
                ingress.map_or("", |key| &key.name),
                route.service.as_ref().map_or("", |(name, _)| name),
                canary.map_or("", |(_, target)| &target.name),
                if self.options.per_host { host } else { "" },
            ]
            .map(str::to_owned),
        )
    }
}

/// The series of one kind of request.
pub(super) struct LabelledSeries {
    numbers: EventSeries,
    labels: Labels<11>,
}

impl LabelledSeries {
    /// The Ingress of the requests; `None` for hosts without one.
    pub(super) fn ingress(&self) -> Option<Key> {
        let [.., namespace, ingress, _, _, _] = &*self.labels;
        (!ingress.is_empty()).then(|| Key::new(namespace, ingress))
    }
}

/// The status for the label: itself, or its first digit for the whole class. Endpoints choose the status, so one that is
/// neither registered nor used by nginx counts as its class: at most nine more labels, whatever an endpoint sends.
pub(super) fn status_label(status: StatusCode, classes: bool) -> u16 {
    let code = status.as_u16();
    let is_known = status.canonical_reason().is_some() || matches!(code, 444 | 494..=499);
    if classes || !is_known { code / 100 } else { code }
}

/// A method's number and its label value. All unknown methods share one: clients choose them.
pub(super) fn method_label(method: Method) -> (u8, &'static str) {
    match method {
        Method::Get => (0, "GET"),
        Method::Head => (1, "HEAD"),
        Method::Post => (2, "POST"),
        Method::Put => (3, "PUT"),
        Method::Delete => (4, "DELETE"),
        Method::Patch => (5, "PATCH"),
        Method::Options => (6, "OPTIONS"),
        Method::Lock | Method::Other => (7, "_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_statuses_share_the_label_of_their_class() {
        let all = (100..1000).map(|code| status_label(StatusCode::from_u16(code).unwrap(), false));
        let labels: std::collections::BTreeSet<_> = all.collect();
        assert!(labels.len() < 80, "{labels:?}");
        for (code, label) in [(200, 200), (404, 404), (499, 499), (299, 2), (799, 7), (999, 9)] {
            assert_eq!(status_label(StatusCode::from_u16(code).unwrap(), false), label, "{code}");
        }
    }
}
