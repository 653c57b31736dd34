//! What the proxy counts, under ingress-nginx's names (reference §3.17).

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use ingress_routes::{Route, Target};
use telemetry::metrics::{Counter, Family, Gauge, Histogram, Registry};

use crate::options::Controller;

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
const PREFIX: &str = "nginx_ingress_controller";
/// Prometheus' default buckets, which ingress-nginx takes for times (`--time-buckets`).
const TIMES: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// `--length-buckets`.
const LENGTHS: [f64; 10] = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0];
/// `--size-buckets`.
const SIZES: [f64; 7] = [10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7];

/// The families, shared by all workers.
#[derive(Clone)]
pub(crate) struct Metrics {
    controller: Controller,
    requests: Family<Counter, 11>,
    request_duration: Family<Histogram, 11>,
    response_duration: Family<Histogram, 11>,
    header_duration: Family<Histogram, 11>,
    connect_duration: Family<Histogram, 11>,
    request_size: Family<Histogram, 11>,
    response_size: Family<Histogram, 11>,
    bytes_sent: Family<Histogram, 11>,
    pub(crate) connections: Connections,
}

/// The gauges and counters of clients' connections, as nginx's status module has them.
#[derive(Clone)]
pub(crate) struct Connections {
    pub(crate) accepted: Counter,
    pub(crate) handled: Counter,
    pub(crate) requests: Counter,
    pub(crate) active: Gauge,
}

/// What happened to one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) request: Duration,
    /// From asking the endpoint to the end of its answer, to its head, to the connection.
    pub(crate) response: Option<Duration>,
    pub(crate) header: Option<Duration>,
    pub(crate) connect: Option<Duration>,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry, controller: Controller) -> Self {
        let times =
            |name: &str, help: &str| registry.histograms(&format!("{PREFIX}_{name}"), help, LABELS, &TIMES);
        let lengths =
            |name: &str, help: &str| registry.histograms(&format!("{PREFIX}_{name}"), help, LABELS, &LENGTHS);
        let own = ["controller_class", "controller_namespace", "controller_pod", "state"];
        let Controller { class, namespace, pod } = &controller;
        let state = |state| [class.as_str(), namespace, pod, state];
        let total = registry.counters(
            &format!("{PREFIX}_nginx_process_connections_total"),
            "total number of connections with state {accepted, handled}",
            own,
        );
        let now = registry.gauges(
            &format!("{PREFIX}_nginx_process_connections"),
            "current number of client connections with state {active, reading, writing, waiting}",
            own,
        );
        let all = registry.counters(
            &format!("{PREFIX}_nginx_process_requests_total"),
            "total number of client requests",
            ["controller_class", "controller_namespace", "controller_pod"],
        );
        // There is no configuration file that could fail to load; alerts that watch for it stay quiet.
        let whole = ["controller_class", "controller_namespace", "controller_pod"];
        registry
            .gauges(
                &format!("{PREFIX}_config_last_reload_successful"),
                "Whether the last configuration reload attempt was successful",
                whole,
            )
            .with([class, namespace, pod])
            .set(1.0);
        let connections = Connections {
            accepted: total.with(state("accepted")),
            handled: total.with(state("handled")),
            requests: all.with([class, namespace, pod]),
            active: now.with(state("active")),
        };
        Self {
            requests: registry.counters(
                &format!("{PREFIX}_requests"),
                "The total number of client requests",
                LABELS,
            ),
            request_duration: times("request_duration_seconds", "The request processing time in seconds"),
            response_duration: times(
                "response_duration_seconds",
                "The time spent on receiving the response from the upstream server",
            ),
            header_duration: times(
                "header_duration_seconds",
                "The time spent on receiving first header from the upstream server",
            ),
            connect_duration: times(
                "connect_duration_seconds",
                "The time spent on establishing a connection with the upstream server",
            ),
            request_size: lengths(
                "request_size",
                "The request length (including request line, header, and request body)",
            ),
            response_size: lengths(
                "response_size",
                "The response length (including request line, header, and request body)",
            ),
            bytes_sent: registry.histograms(
                &format!("{PREFIX}_bytes_sent"),
                "DEPRECATED The number of bytes sent to a client",
                LABELS,
                &SIZES,
            ),
            connections,
            controller,
        }
    }

    fn cells(&self, of: &Of<'_>) -> Cells {
        let Of { route, canary, status, method } = of;
        let status = status.as_u16().to_string();
        let Controller { class, namespace, pod } = &self.controller;
        let ingress = route.ingress.as_ref();
        let labels = [
            class.as_str(),
            namespace,
            pod,
            &status,
            method_label(method),
            &route.path,
            ingress.map_or("", |key| &key.namespace),
            ingress.map_or("", |key| &key.name),
            route.service.as_ref().map_or("", |(name, _)| name),
            canary.map_or("", |target| &target.name),
            &route.host,
        ];
        Cells {
            requests: self.requests.with(labels),
            request_duration: self.request_duration.with(labels),
            response_duration: self.response_duration.with(labels),
            header_duration: self.header_duration.with(labels),
            connect_duration: self.connect_duration.with(labels),
            request_size: self.request_size.with(labels),
            response_size: self.response_size.with(labels),
            bytes_sent: self.bytes_sent.with(labels),
        }
    }
}

/// A method that is no standard one would let clients make as many series as they like.
fn method_label(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH" | "OPTIONS") => known,
        _ => "_",
    }
}

/// The series of one kind of request.
struct Cells {
    requests: Counter,
    request_duration: Histogram,
    response_duration: Histogram,
    header_duration: Histogram,
    connect_duration: Histogram,
    request_size: Histogram,
    response_size: Histogram,
    bytes_sent: Histogram,
}

/// Whose request it was and how it ended.
pub(crate) struct Of<'a> {
    pub(crate) route: &'a Arc<Route>,
    pub(crate) canary: Option<&'a Target>,
    pub(crate) status: StatusCode,
    pub(crate) method: &'a Method,
}

/// A worker's series, found again by the identity of the route. The route is held, so its address stays its own.
pub(crate) struct Series {
    metrics: Metrics,
    known: RefCell<Known>,
}

type Known = HashMap<Identity, (Arc<Route>, Rc<Cells>), foldhash::fast::RandomState>;
type Identity = (usize, usize, u16, &'static str);

impl Series {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics, known: RefCell::default() }
    }

    /// Counts a request. Hot: one look-up in a map of this thread, no lock and no allocation once the series is known.
    ///
    /// Hosts without an Ingress are left out (`--metrics-per-undefined-host` is off).
    pub(crate) fn count(&self, of: &Of<'_>, sample: &Sample) {
        if of.route.ingress.is_none() {
            return;
        }
        let cells = self.cells(of);
        cells.requests.inc();
        cells.request_duration.observe(sample.request.as_secs_f64());
        let times = [
            (&cells.response_duration, sample.response),
            (&cells.header_duration, sample.header),
            (&cells.connect_duration, sample.connect),
        ];
        for (histogram, time) in times {
            if let Some(time) = time {
                histogram.observe(time.as_secs_f64());
            }
        }
        cells.request_size.observe(sample.request_bytes as f64);
        cells.response_size.observe(sample.response_bytes as f64);
        cells.bytes_sent.observe(sample.response_bytes as f64);
    }

    fn cells(&self, of: &Of<'_>) -> Rc<Cells> {
        let canary = of.canary.map_or(0, |target| std::ptr::from_ref(target) as usize);
        let method = match method_label(of.method) {
            "GET" => "GET",
            "HEAD" => "HEAD",
            "POST" => "POST",
            "PUT" => "PUT",
            "DELETE" => "DELETE",
            "PATCH" => "PATCH",
            "OPTIONS" => "OPTIONS",
            _ => "_",
        };
        let identity = (Arc::as_ptr(of.route) as usize, canary, of.status.as_u16(), method);
        if let Some((_, cells)) = self.known.borrow().get(&identity) {
            return cells.clone();
        }
        let cells = Rc::new(self.metrics.cells(of));
        self.known.borrow_mut().insert(identity, (of.route.clone(), cells.clone()));
        cells
    }

    /// Lets go of routes that no table has any more.
    pub(crate) fn sweep(&self) {
        // The table's Arc and this one; a route that is on its way through a request besides is looked at later.
        let mut own = HashMap::<usize, usize>::new();
        let mut known = self.known.borrow_mut();
        known.values().for_each(|(route, _)| *own.entry(Arc::as_ptr(route) as usize).or_default() += 1);
        known.retain(|(route, ..), (arc, _)| Arc::strong_count(arc) > own.get(route).copied().unwrap_or(0));
    }
}
