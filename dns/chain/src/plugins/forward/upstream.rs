//! One upstream: its connections, its health, its metrics.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use config::Scheme;
use dns_wire::Query;
use dns_wire::codes::rtype;
use telemetry::metrics::{Counter, Family, Histogram};
use tokio::runtime::Handle;

use super::address::ForwardTarget;
use super::https::{HttpsUpstream, Sender};
use super::letter_case::LetterCase;
use super::metrics::{PROXY, UpstreamFamilies};
use super::options::{ForwardOptions, HealthCheck};
use super::quic::QuicUpstream;
use super::shared_connection::SharedConnection;
use super::tls;
use super::transport::{Dialer, UpstreamQuery, UpstreamTransport, connector};
use crate::codes::Rcode;
use crate::limits::{LimitReached, WaitingQueries};

/// Response codes with a histogram of their own. Higher ones, which an upstream may choose freely, share one.
const RCODES: usize = 24;

/// Queries that may wait for an upstream that is this server itself. Such queries come back as new ones.
const MAX_FOR_SELF: usize = 16;

/// An upstream server.
pub(super) struct ForwardUpstream {
    target: ForwardTarget,
    /// The `to` label.
    to: String,
    /// The protocol and its connections.
    transport: UpstreamTransport,
    is_plain_dns: bool,
    letter_case: LetterCase,
    health: HealthCheck,
    max_fails: u32,
    read_timeout: Duration,
    force_tcp: bool,
    /// Consecutive health checks that failed.
    fails: AtomicU32,
    checking: AtomicBool,
    failures: Counter,
    durations: Family<Histogram, 3>,
    /// By response code.
    duration: [OnceLock<Histogram>; RCODES + 1],
    /// Queries in flight.
    in_flight: AtomicUsize,
    /// The most queries in flight; 0 for half of all queries that may wait, so that one silent upstream leaves room for
    /// the others.
    max_in_flight: AtomicUsize,
    waiting: WaitingQueries,
    /// Queries that were not sent because too many were in flight.
    busy: Counter,
    runtime: Handle,
}

/// Counts a query in flight until it is dropped.
struct InFlight<'u>(&'u AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl ForwardUpstream {
    /// Creates an upstream. An error comes with the name of the property that causes it.
    pub(super) fn new(
        target: ForwardTarget,
        options: &ForwardOptions,
        metrics: &UpstreamFamilies,
    ) -> Result<Self, (&'static str, String)> {
        let to = target.address.to_string();
        let UpstreamFamilies { connection_hits: hits, connection_misses: misses, .. } = metrics;
        let of = |family: &Family<Counter, 3>, proto| family.with([PROXY, &to, proto]);
        let (limits, source, chain_limits) = (options.limits, options.source, &options.chain_limits);
        let pool_metrics = |proto| [of(hits, proto), of(misses, proto)];
        let server_name = || {
            let named = options.tls.server_name.as_ref().or(target.server_name.as_ref());
            named.cloned().unwrap_or_else(|| target.address.ip().to_string())
        };
        let client = |protocol: &[u8]| tls::client(&options.tls, protocol).map_err(|what| ("tls", what));
        let name = || tls::name(&server_name()).map_err(|what| ("tls_servername", what));
        let transport = match target.scheme {
            Scheme::Tls => UpstreamTransport::Tls {
                streams: Dialer::new(limits, source, chain_limits.clone(), pool_metrics("tcp-tls")),
                connector: connector(&client(b"")?),
                name: name()?,
            },
            Scheme::Https => UpstreamTransport::Https(HttpsUpstream {
                connector: connector(&client(b"h2")?),
                name: name()?,
                uri: uri(&server_name(), target.address.port(), &target.path),
                verb: options.doh_method,
                source,
                partial_replies: chain_limits.partial_replies.clone(),
                shared: SharedConnection::new(
                    limits,
                    of(hits, "https"),
                    of(misses, "https"),
                    Sender::is_closed,
                ),
            }),
            Scheme::Quic => UpstreamTransport::Quic(QuicUpstream {
                config: client(b"doq")?,
                name: server_name().into(),
                source,
                // Opening a stream on a closed connection fails, so no check is needed.
                shared: SharedConnection::new(limits, of(hits, "quic"), of(misses, "quic"), |_| false),
            }),
            Scheme::Dns | Scheme::Grpc | Scheme::Https3 => UpstreamTransport::Plain {
                udp: Dialer::new(limits.for_udp(), source, chain_limits.clone(), pool_metrics("udp")),
                tcp: Dialer::new(limits, source, chain_limits.clone(), pool_metrics("tcp")),
            },
        };
        Ok(Self {
            failures: metrics.health_check_failures.with([PROXY, &to]),
            busy: metrics.busy.with([&to]),
            letter_case: LetterCase::new(metrics.case_mismatches.with([&to])),
            to,
            is_plain_dns: matches!(transport, UpstreamTransport::Plain { .. }),
            transport,
            health: options.health.clone(),
            max_fails: options.max_fails,
            read_timeout: options.read_timeout,
            force_tcp: options.force_tcp,
            fails: AtomicU32::new(0),
            checking: AtomicBool::new(false),
            durations: metrics.durations.clone(),
            duration: Default::default(),
            in_flight: AtomicUsize::new(0),
            // `max_concurrent` replaces this limit.
            max_in_flight: AtomicUsize::new(options.max_concurrent.map_or(0, |_| usize::MAX)),
            waiting: options.chain_limits.waiting.clone(),
            runtime: options.runtime.clone(),
            target,
        })
    }

    /// The target as configured.
    pub(super) fn target(&self) -> &ForwardTarget {
        &self.target
    }

    /// The address, as in labels and messages.
    pub(super) fn to(&self) -> &str {
        &self.to
    }

    /// Whether the upstream uses plain DNS over UDP and TCP.
    pub(super) fn is_plain(&self) -> bool {
        self.is_plain_dns
    }

    /// Whether its replies keep the letter case of the query. Used for plain DNS over UDP only.
    pub(super) fn letter_case(&self) -> &LetterCase {
        &self.letter_case
    }

    /// Marks the upstream as this server itself if it is one of the addresses that the server listens on. Returns whether
    /// it is. Queries to it come back as new queries, and so only a few of them may wait.
    pub(super) fn mark_if_self(&self, is_own: impl Fn(SocketAddr) -> bool) -> bool {
        let own = self.is_plain_dns && is_own(self.target.address);
        if own {
            self.max_in_flight.store(MAX_FOR_SELF, Relaxed);
        }
        own
    }

    /// Whether so many health checks failed that no queries are sent to the upstream.
    pub(super) fn is_down(&self) -> bool {
        self.max_fails > 0 && self.fails.load(Relaxed) > self.max_fails
    }

    /// Sends a query and waits for the reply.
    pub(super) async fn exchange(&self, query: &UpstreamQuery<'_>) -> io::Result<Vec<u8>> {
        let before = self.in_flight.fetch_add(1, Relaxed);
        let _in_flight = InFlight(&self.in_flight);
        let limit = self.limit();
        if before >= limit && !query.health_check {
            self.busy.inc();
            return Err(LimitReached::error(format!("{limit} queries already wait for this upstream")));
        }
        self.transport.exchange(self.target.address, query).await
    }

    /// The most queries in flight.
    fn limit(&self) -> usize {
        match self.max_in_flight.load(Relaxed) {
            0 => (self.waiting.limit() / 2).max(1),
            limit => limit,
        }
    }

    /// Returns whether the most queries are in flight. Then also counts a query that is not sent.
    pub(super) fn is_busy(&self) -> bool {
        let busy = self.in_flight.load(Relaxed) >= self.limit();
        if busy {
            self.busy.inc();
        }
        busy
    }

    /// Records the response code and the duration of an exchange.
    pub(super) fn observe_duration(&self, rcode: u16, time: Duration) {
        let cell = &self.duration[usize::from(rcode).min(RCODES)];
        let new = || self.durations.with([PROXY, &self.to, Rcode(rcode).label()]);
        cell.get_or_init(new).observe(time.as_secs_f64());
    }

    /// Closes connections that have been idle for too long.
    pub(super) fn close_expired(&self) {
        self.transport.close_expired();
    }

    /// Starts health checks after a failure, one at a time, until there is a reply of any kind.
    pub(super) fn check(self: &Arc<Self>) {
        if self.max_fails == 0 || self.checking.swap(true, Relaxed) {
            return;
        }
        let weak = Arc::downgrade(self);
        self.runtime.spawn(async move {
            // Stops when the configuration, and with it the upstream, is dropped.
            while let Some(upstream) = weak.upgrade() {
                if upstream.is_answering().await {
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

    async fn is_answering(&self) -> bool {
        let id: u16 = rand::random();
        let query = Query::new(id, &self.health.domain, rtype::NS);
        let mut message = [0; 512];
        let length = query.encode(id, &mut message);
        if !self.health.recursion {
            // RD is the lowest bit of the third byte (RFC 1035 §4.1.1).
            message[2] &= !1;
        }
        let read = self.read_timeout.min(Duration::from_secs(1));
        let message = &message[..length];
        let query = UpstreamQuery { message, tcp: self.force_tcp, size: 4096, read, health_check: true };
        self.exchange(&query).await.is_ok()
    }
}

fn uri(host: &str, port: u16, path: &str) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    if port == 443 { format!("https://{host}{path}") } else { format!("https://{host}:{port}{path}") }
}
