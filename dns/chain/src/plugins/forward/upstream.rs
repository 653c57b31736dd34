//! One upstream: its connections, its health, its numbers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use config::Scheme;
use dns_wire::Query;
use dns_wire::codes::rtype;
use telemetry::metrics::{Counter, Family, Histogram, Registry, exponential};
use tokio::runtime::Handle;

use super::address::UpstreamAddress;
use super::https::{HttpsUpstream, Sender};
use super::options::{ForwardOptions, HealthCheck};
use super::quic::QuicUpstream;
use super::shared_connection::SharedConnection;
use super::tls;
use super::transport::{Dialer, UpstreamQuery, UpstreamTransport, connector};
use crate::codes::Rcode;

/// The value of the `proxy_name` label.
const PROXY: &str = "forward";

/// An upstream server.
pub(super) struct ForwardUpstream {
    address: SocketAddr,
    /// The `to` label.
    to: String,
    link: UpstreamTransport,
    health: HealthCheck,
    max_fails: u32,
    read_timeout: Duration,
    force_tcp: bool,
    /// Checks in a row that failed.
    fails: AtomicU32,
    checking: AtomicBool,
    failures: Counter,
    durations: Family<Histogram, 3>,
    runtime: Handle,
}

impl ForwardUpstream {
    /// What is wrong comes with the name of the property that says it.
    pub(super) fn new(
        target: UpstreamAddress,
        options: &ForwardOptions,
        metrics: &Registry,
    ) -> Result<Self, (&'static str, String)> {
        let to = target.address.to_string();
        let labels = ["proxy_name", "to", "proto"];
        let hits = metrics.counters(
            "coredns_proxy_conn_cache_hits_total",
            "Counter of connection cache hits per upstream and protocol.",
            labels,
        );
        let misses = metrics.counters(
            "coredns_proxy_conn_cache_misses_total",
            "Counter of connection cache misses per upstream and protocol.",
            labels,
        );
        let of = |family: &Family<Counter, 3>, proto| family.with([PROXY, &to, proto]);
        let (limits, source) = (options.limits, options.source);
        let server_name = || {
            let named = options.tls.server_name.as_ref().or(target.server_name.as_ref());
            named.cloned().unwrap_or_else(|| target.address.ip().to_string())
        };
        let client = |protocol: &[u8]| tls::client(&options.tls, protocol).map_err(|what| ("tls", what));
        let name = || tls::name(&server_name()).map_err(|what| ("tls_servername", what));
        let link = match target.scheme {
            Scheme::Tls => UpstreamTransport::Tls {
                streams: Dialer::new(limits, source, of(&hits, "tcp-tls"), of(&misses, "tcp-tls")),
                connector: connector(&client(b"")?),
                name: name()?,
            },
            Scheme::Https => UpstreamTransport::Https(HttpsUpstream {
                connector: connector(&client(b"h2")?),
                name: name()?,
                uri: uri(&server_name(), target.address.port(), &target.path),
                verb: options.doh_method,
                source,
                shared: SharedConnection::new(
                    limits,
                    of(&hits, "https"),
                    of(&misses, "https"),
                    Sender::is_closed,
                ),
            }),
            Scheme::Quic => UpstreamTransport::Quic(QuicUpstream {
                config: client(b"doq")?,
                name: server_name().into(),
                source,
                // A stream on one that is closed fails.
                shared: SharedConnection::new(limits, of(&hits, "quic"), of(&misses, "quic"), |_| false),
            }),
            Scheme::Dns | Scheme::Grpc | Scheme::Https3 => UpstreamTransport::Plain {
                udp: Dialer::new(limits.of_ports(), source, of(&hits, "udp"), of(&misses, "udp")),
                tcp: Dialer::new(limits, source, of(&hits, "tcp"), of(&misses, "tcp")),
            },
        };
        let failures = metrics.counters(
            "coredns_proxy_healthcheck_failures_total",
            "Counter of the number of failed healthchecks.",
            ["proxy_name", "to"],
        );
        let durations = metrics.histograms(
            "coredns_proxy_request_duration_seconds",
            "Histogram of the time each outgoing took.",
            ["proxy_name", "to", "rcode"],
            &exponential(0.00025, 2.0, 16),
        );
        Ok(Self {
            address: target.address,
            failures: failures.with([PROXY, &to]),
            to,
            link,
            health: options.health.clone(),
            max_fails: options.max_fails,
            read_timeout: options.read_timeout,
            force_tcp: options.force_tcp,
            fails: AtomicU32::new(0),
            checking: AtomicBool::new(false),
            durations,
            runtime: options.runtime.clone(),
        })
    }

    /// Its address, as in labels and messages.
    pub(super) fn to(&self) -> &str {
        &self.to
    }

    /// Whether it is asked over UDP where a query does not say TCP.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.link, UpstreamTransport::Plain { .. })
    }

    /// Whether so many checks failed that it is not asked.
    pub(super) fn is_down(&self) -> bool {
        self.max_fails > 0 && self.fails.load(Relaxed) > self.max_fails
    }

    /// Sends a query and waits for the reply.
    pub(super) async fn exchange(&self, outgoing: &UpstreamQuery<'_>) -> io::Result<Vec<u8>> {
        self.link.exchange(self.address, outgoing).await
    }

    /// Counts an answer and the time it took.
    pub(super) fn took(&self, rcode: u16, time: Duration) {
        self.durations.with([PROXY, &self.to, &Rcode(rcode).to_string()]).observe(time.as_secs_f64());
    }

    /// Closes connections that have been idle for too long.
    pub(super) fn tidy(&self) {
        self.link.tidy();
    }

    /// After a failure: asks again and again until a reply of any kind comes, one check at a time.
    pub(super) fn check(self: &Arc<Self>) {
        if self.max_fails == 0 || self.checking.swap(true, Relaxed) {
            return;
        }
        let weak = Arc::downgrade(self);
        self.runtime.spawn(async move {
            // Ends with the configuration that wanted it.
            while let Some(upstream) = weak.upgrade() {
                if upstream.answers().await {
                    upstream.fails.store(0, Relaxed);
                    upstream.checking.store(false, Relaxed);
                    return;
                }
                upstream.fails.fetch_add(1, Relaxed);
                upstream.failures.inc();
                let interval = upstream.health.interval;
                drop(upstream);
                tokio::time::sleep(interval).await;
            }
        });
    }

    async fn answers(&self) -> bool {
        let id: u16 = rand::random();
        let query = Query::new(id, &self.health.domain, rtype::NS);
        let mut message = [0; 512];
        let length = query.encode(id, &mut message);
        if !self.health.recursion {
            // RD is the lowest bit of the third byte (RFC 1035 §4.1.1).
            message[2] &= !1;
        }
        let read = self.read_timeout.min(Duration::from_secs(1));
        let outgoing = UpstreamQuery { message: &message[..length], tcp: self.force_tcp, size: 4096, read };
        self.exchange(&outgoing).await.is_ok()
    }
}

fn uri(host: &str, port: u16, path: &str) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == 443 { format!("https://{host}{path}") } else { format!("https://{host}:{port}{path}") }
}
