//! Streams and UDP sessions: the proxy's own metrics, since ingress-nginx has none of them.

use cluster::Protocol;
use ingress_routes::StreamService;
use telemetry::metrics::{Counter, Family, Registry, UpDownCounter};

/// The counters of TCP and UDP services.
#[derive(Clone)]
pub(crate) struct StreamMetrics {
    ended: Family<Counter, 3>,
    bytes: Family<Counter, 3>,
    tcp: UpDownCounter,
    udp: UpDownCounter,
    /// UDP sessions that ended because there were too many.
    pub(crate) evicted: Counter,
    /// Datagrams of unknown clients to a port that is being closed.
    pub(crate) dropped_closed: Counter,
    /// Datagrams of new clients when the worker had as many connections as it may have.
    pub(crate) dropped_limit: Counter,
    /// Datagrams that a socket did not take, or that waited for an endpoint with too many others.
    pub(crate) dropped_busy: Counter,
}

/// Counts a stream as open until it is dropped.
pub(crate) struct OpenGuard(UpDownCounter);

impl StreamMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let (tcp, udp) = <(UpDownCounter, UpDownCounter)>::default();
        let shown = (tcp.clone(), udp.clone());
        registry.callback_gauges(
            "portolan_streams_open",
            "Open streams of TCP services and sessions of UDP services.",
            ["protocol"],
            move |report| {
                report(["tcp"], shown.0.value().max(0) as f64);
                report(["udp"], shown.1.value().max(0) as f64);
            },
        );
        let dropped = registry.counters(
            "portolan_stream_datagrams_dropped_total",
            "Datagrams of UDP services that were not passed on: of new clients to a port that is being closed (closed) or when the limit of connections was reached (limit), and those that a socket did not take (busy).",
            ["reason"],
        );
        Self {
            ended: registry.counters(
                "portolan_streams_total",
                "Streams of TCP services and sessions of UDP services that have ended, by the status in the access log.",
                ["protocol", "port", "status"],
            ),
            bytes: registry.counters(
                "portolan_stream_bytes_total",
                "Bytes of TCP and UDP services that were received from clients, and sent to them.",
                ["protocol", "port", "direction"],
            ),
            tcp,
            udp,
            evicted: registry.counter(
                "portolan_stream_sessions_evicted_total",
                "Sessions of UDP services that ended because there were too many: those that had been idle longest.",
            ),
            dropped_closed: dropped.with(["closed"]),
            dropped_limit: dropped.with(["limit"]),
            dropped_busy: dropped.with(["busy"]),
        }
    }

    /// Counts a stream as open.
    pub(crate) fn open(&self, protocol: Protocol) -> OpenGuard {
        let open = if protocol == Protocol::Udp { &self.udp } else { &self.tcp };
        open.inc();
        OpenGuard(open.clone())
    }

    /// Counts a stream that has ended.
    pub(crate) fn count(&self, service: &StreamService, status: u16, received: u64, sent: u64) {
        let (mut port, mut code) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (protocol, port) = (service.protocol.label(), port.format(service.port));
        self.ended.with([protocol, port, code.format(status)]).inc();
        self.bytes.with([protocol, port, "received"]).add(received);
        self.bytes.with([protocol, port, "sent"]).add(sent);
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
