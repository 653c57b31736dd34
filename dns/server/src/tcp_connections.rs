//! The open TCP connections of all listeners: how many there may be, and which one is closed to make room for another.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use net::descriptors::DescriptorShares;
use telemetry::metrics::{Counter, Family, Gauge, Registry};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Limits on DNS over TCP. They apply to all listeners together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpLimits {
    /// Open connections. At the limit the connection that has been idle for the longest time is closed; if none is idle,
    /// the new one is rejected.
    pub connections: usize,
    /// Open connections of one client, which is an IPv4 address or an IPv6 /64 network. At the limit one of the client's own
    /// connections is closed, or the new one is rejected.
    pub connections_per_client: usize,
    /// Bytes held for connections: parts of queries, and replies that clients have not read. A connection that would
    /// exceed the limit is closed.
    pub buffered_bytes: usize,
}

/// The most connections, however many descriptors the process may open.
const MAX_CONNECTIONS: usize = 4096;

impl Default for TcpLimits {
    /// Connections take at most half of the client connections' share of the process's descriptors, because the
    /// ingress proxy may run in the same process.
    fn default() -> Self {
        let connections = (DescriptorShares::of_process().clients / 2).clamp(1, MAX_CONNECTIONS);
        Self { connections, connections_per_client: (connections / 4).max(1), buffered_bytes: 32 << 20 }
    }
}

/// Why a connection was closed by the server before the client closed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TcpCloseReason {
    /// No complete query arrived in time.
    Idle,
    /// It was idle and made room for a new connection.
    Evicted,
    /// The client did not read its replies in time.
    Unread,
    /// [`TcpLimits::buffered_bytes`] was exceeded.
    Memory,
}

impl TcpCloseReason {
    const ALL: [Self; 4] = [Self::Idle, Self::Evicted, Self::Unread, Self::Memory];

    fn label(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::Unread => "unread",
            Self::Memory => "memory",
        }
    }
}

/// The limits at which a new connection is rejected.
const CONNECTIONS: &str = "connections";
const CONNECTIONS_PER_CLIENT: &str = "connections_per_client";

/// The open connections of all listeners.
pub(crate) struct TcpConnectionTable {
    limits: TcpLimits,
    open: Mutex<OpenConnections>,
    buffered: AtomicUsize,
    start: Instant,
    metrics: TcpMetrics,
}

struct TcpMetrics {
    open: Gauge,
    rejected: Family<Counter, 1>,
    closed: Family<Counter, 1>,
}

impl TcpMetrics {
    /// Registers the metrics. Series of counters exist from the start, so that `rate()` sees the first event.
    fn new(metrics: &Registry) -> Self {
        let rejected = metrics.counters(
            "portolan_dns_tcp_connections_rejected_total",
            "TCP connections of DNS clients closed at once because of a limit while none was idle.",
            ["limit"],
        );
        [CONNECTIONS, CONNECTIONS_PER_CLIENT].iter().for_each(|limit| drop(rejected.with([limit])));
        let closed = metrics.counters(
            "portolan_dns_tcp_connections_closed_total",
            "TCP connections of DNS clients that the server closed.",
            ["reason"],
        );
        TcpCloseReason::ALL.iter().for_each(|reason| drop(closed.with([reason.label()])));
        let open = metrics.gauge("portolan_dns_tcp_connections", "Open TCP connections of DNS clients.");
        Self { open, rejected, closed }
    }
}

#[derive(Default)]
struct OpenConnections {
    count: usize,
    by_client: HashMap<IpAddr, Vec<Arc<Entry>>>,
    /// Connections that were idle at the last search and since when, the longest idle one last. They may be in use or
    /// closed by now.
    candidates: Vec<(u64, Arc<Entry>)>,
}

/// A search for idle connections looks at all of them, so it keeps a few more than are needed at once.
const CANDIDATES: usize = 32;

/// One open connection.
struct Entry {
    client: IpAddr,
    /// Milliseconds after the table's start, or [`IN_USE`].
    idle_since: AtomicU64,
    evict: Notify,
}

/// A connection with queries in flight or unread replies.
const IN_USE: u64 = u64::MAX;

/// The place of a connection in the table. Dropping it makes room for another.
pub(crate) struct ConnectionSlot {
    table: Arc<TcpConnectionTable>,
    entry: Arc<Entry>,
    buffered: usize,
}

impl TcpConnectionTable {
    pub(crate) fn new(limits: TcpLimits, metrics: &Registry) -> Self {
        let metrics = TcpMetrics::new(metrics);
        Self { limits, open: Mutex::default(), buffered: AtomicUsize::new(0), start: Instant::now(), metrics }
    }

    /// Adds a connection, or returns `None` if a limit is reached and no connection is idle.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<ConnectionSlot> {
        let client = client_network(address);
        let mut open = self.lock();
        let of_client = open.by_client.get(&client).map_or(0, Vec::len);
        let (limit, has_room) = if of_client >= self.limits.connections_per_client {
            (CONNECTIONS_PER_CLIENT, self.evicted(open.evict_of(client)))
        } else if open.count >= self.limits.connections {
            (CONNECTIONS, self.evicted(open.evict_longest_idle()))
        } else {
            ("", true)
        };
        if !has_room {
            self.metrics.rejected.with([limit]).inc();
            return None;
        }
        let idle_since = AtomicU64::new(self.milliseconds(Instant::now()));
        let entry = Arc::new(Entry { client, idle_since, evict: Notify::new() });
        open.by_client.entry(client).or_default().push(entry.clone());
        open.count += 1;
        self.metrics.open.set(open.count as f64);
        Some(ConnectionSlot { table: self.clone(), entry, buffered: 0 })
    }

    /// Closes the connection that has been idle for the longest time, because the process has no descriptor left.
    pub(crate) fn evict_one(&self) -> bool {
        let mut open = self.lock();
        self.evicted(open.evict_longest_idle())
    }

    fn evicted(&self, found: bool) -> bool {
        if found {
            self.metrics.closed.with([TcpCloseReason::Evicted.label()]).inc();
        }
        found
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnections {
    /// Evicts the longest idle connection of a client.
    fn evict_of(&mut self, client: IpAddr) -> bool {
        let of_client = self.by_client.get(&client).into_iter().flatten();
        let idle = of_client.map(|entry| (entry.idle_since.load(Relaxed), entry));
        let longest = idle.filter(|(since, _)| *since != IN_USE).min_by_key(|(since, _)| *since);
        let Some((since, entry)) = longest.map(|(since, entry)| (since, entry.clone())) else { return false };
        self.evict(since, &entry)
    }

    fn evict_longest_idle(&mut self) -> bool {
        self.evict_candidate() || {
            self.find_candidates();
            self.evict_candidate()
        }
    }

    fn evict_candidate(&mut self) -> bool {
        while let Some((since, entry)) = self.candidates.pop() {
            if self.evict(since, &entry) {
                return true;
            }
        }
        false
    }

    fn find_candidates(&mut self) {
        let all = self.by_client.values().flatten();
        let mut idle: Vec<_> = all
            .map(|entry| (entry.idle_since.load(Relaxed), entry))
            .filter(|(since, _)| *since != IN_USE)
            .collect();
        if idle.len() > CANDIDATES {
            idle.select_nth_unstable_by_key(CANDIDATES, |(since, _)| *since);
            idle.truncate(CANDIDATES);
        }
        idle.sort_unstable_by_key(|(since, _)| Reverse(*since));
        self.candidates = idle.into_iter().map(|(since, entry)| (since, entry.clone())).collect();
    }

    /// Evicts a connection if it is still open and has been idle since the given time.
    fn evict(&mut self, since: u64, entry: &Arc<Entry>) -> bool {
        let evicted = entry.idle_since.load(Relaxed) == since && self.remove(entry);
        if evicted {
            entry.evict.notify_one();
        }
        evicted
    }

    fn remove(&mut self, entry: &Arc<Entry>) -> bool {
        let Some(of_client) = self.by_client.get_mut(&entry.client) else { return false };
        let Some(at) = of_client.iter().position(|other| Arc::ptr_eq(other, entry)) else { return false };
        of_client.swap_remove(at);
        if of_client.is_empty() {
            self.by_client.remove(&entry.client);
        }
        self.count -= 1;
        true
    }
}

impl ConnectionSlot {
    /// Records that the connection is idle since its last activity.
    pub(crate) fn set_idle(&self, last_activity: Instant) {
        self.entry.idle_since.store(self.table.milliseconds(last_activity), Relaxed);
    }

    /// Records that the connection has queries in flight or unread replies, so that it is not evicted.
    pub(crate) fn set_in_use(&self) {
        self.entry.idle_since.store(IN_USE, Relaxed);
    }

    /// Waits until the connection has to make room for another.
    pub(crate) async fn evicted(&self) {
        self.entry.evict.notified().await;
    }

    /// Records how many bytes are held for the connection. Returns whether it may grow to that size.
    #[must_use]
    pub(crate) fn set_buffered(&mut self, bytes: usize) -> bool {
        let before = std::mem::replace(&mut self.buffered, bytes);
        if bytes <= before {
            self.table.buffered.fetch_sub(before - bytes, Relaxed);
            return true;
        }
        let more = bytes - before;
        self.table.buffered.fetch_add(more, Relaxed) + more <= self.table.limits.buffered_bytes
    }

    /// Counts why the server closes the connection.
    pub(crate) fn count_closed(&self, reason: TcpCloseReason) {
        self.table.metrics.closed.with([reason.label()]).inc();
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.table.buffered.fetch_sub(self.buffered, Relaxed);
        let mut open = self.table.lock();
        open.remove(&self.entry);
        self.table.metrics.open.set(open.count as f64);
    }
}

/// Connections from one IPv6 /64 network count as one client: a host may use all of its addresses.
fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
        ipv4 => ipv4,
    }
}

#[cfg(test)]
mod tests;
