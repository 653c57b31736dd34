//! Bounds on what queries may hold while they wait: how many wait, and how many sockets they open to upstreams.
//!
//! The limits are those of the process: all configurations that are served, and the one that a reload replaces, share
//! them. They do not apply to queries that are answered from memory.

mod partial_replies;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use net::descriptors::DescriptorShares;
use telemetry::metrics::{Counter, Gauge, Registry};

use partial_replies::PARTIAL_BYTES;
pub use partial_replies::PartialReplies;
pub(crate) use partial_replies::{ReplyBytes, UNCOUNTED};

/// Queries that may wait at once, unless `max_concurrent` of the `forward` plugins allows more. A waiting query holds up to
/// 12 KiB (a test counts them), so that all of them hold less than 48 MiB.
const WAITING: usize = 4096;

/// The most sockets to upstreams, however many descriptors the process may open.
const SOCKETS: usize = 16_384;

/// A warning about a reached limit is logged once in this time.
pub(crate) const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// The limits of all chains of the process. Copies share the same counts.
#[derive(Clone)]
pub struct ChainLimits {
    /// Queries that wait for an upstream or another plugin.
    pub waiting: WaitingQueries,
    /// Sockets that `forward` opens.
    pub sockets: UpstreamSockets,
    /// Bytes of replies that `forward` has received in part.
    pub partial_replies: PartialReplies,
    /// `coredns_panics_total`.
    pub panics: Counter,
}

impl ChainLimits {
    /// The default limits. Sockets get no more than their share of the descriptors that the process may open.
    pub fn new(metrics: &Registry) -> Self {
        Self::with(metrics, WAITING, DescriptorShares::of_process().upstreams.min(SOCKETS))
    }

    /// Limits of this many waiting queries and sockets.
    pub fn with(metrics: &Registry, waiting: usize, sockets: usize) -> Self {
        Self {
            waiting: WaitingQueries::new(metrics, waiting),
            sockets: UpstreamSockets::new(metrics, sockets),
            partial_replies: PartialReplies::new(metrics, PARTIAL_BYTES),
            panics: panics(metrics),
        }
    }
}

/// `coredns_panics_total`.
pub fn panics(metrics: &Registry) -> Counter {
    metrics.counter("coredns_panics_total", "A metrics that counts the number of panics.")
}

/// Counts the queries that wait. Copies share the count.
#[derive(Clone)]
pub struct WaitingQueries(Arc<Waiting>);

struct Waiting {
    count: AtomicUsize,
    limit: AtomicUsize,
    /// The limit without a configuration that needs more.
    least: usize,
    /// The needs of the configurations that exist: the one that is served and those that are being built or closed.
    needs: Mutex<Vec<usize>>,
    gauge: Gauge,
    rejected: Counter,
    warning: Throttle,
}

/// The number of waiting queries that one configuration needs. Dropping it lowers the limit to what the others need.
pub(crate) struct WaitingNeed {
    waiting: Arc<Waiting>,
    need: usize,
}

impl Drop for WaitingNeed {
    fn drop(&mut self) {
        self.waiting.change_needs(|needs| {
            if let Some(at) = needs.iter().position(|need| *need == self.need) {
                needs.swap_remove(at);
            }
        });
    }
}

impl Waiting {
    fn change_needs(&self, change: impl FnOnce(&mut Vec<usize>)) {
        let mut needs = self.needs.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut needs);
        // Within the lock, so that the last change decides.
        self.limit.store(needs.iter().copied().fold(self.least, usize::max), Relaxed);
    }
}

/// The permit of one waiting query. Dropping it makes room for another.
pub struct WaitingPermit(Arc<Waiting>);

impl WaitingQueries {
    fn new(metrics: &Registry, limit: usize) -> Self {
        Self(Arc::new(Waiting {
            count: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            least: limit,
            needs: Mutex::default(),
            gauge: metrics
                .gauge("portolan_dns_waiting_queries", "Queries that wait for an upstream or a plugin."),
            rejected: metrics.counter(
                "portolan_dns_waiting_queries_rejected_total",
                "Queries answered with SERVFAIL because too many queries were waiting.",
            ),
            warning: Throttle::new(WARNING_INTERVAL),
        }))
    }

    /// How many queries may wait.
    pub fn limit(&self) -> usize {
        self.0.limit.load(Relaxed)
    }

    /// How many queries wait.
    pub fn count(&self) -> usize {
        self.0.count.load(Relaxed)
    }

    /// Lets at least `need` queries wait while the returned value exists.
    pub(crate) fn reserve(&self, need: usize) -> WaitingNeed {
        self.0.change_needs(|needs| needs.push(need));
        WaitingNeed { waiting: self.0.clone(), need }
    }

    /// A permit for one more query, or `None` if too many wait already.
    pub(crate) fn enter(&self) -> Option<WaitingPermit> {
        let Waiting { count, gauge, rejected, warning, .. } = &*self.0;
        let limit = self.limit();
        let entered = count.fetch_update(Relaxed, Relaxed, |count| (count < limit).then_some(count + 1));
        if let Ok(before) = entered {
            gauge.set((before + 1) as f64);
            return Some(WaitingPermit(self.0.clone()));
        }
        rejected.inc();
        if let Some(missed) = warning.due(Instant::now()) {
            let more =
                if missed > 0 { format!("; {missed} more since the last warning") } else { String::new() };
            tracing::warn!(
                target: "dns",
                "{limit} queries are waiting for upstreams: further ones that have to wait get SERVFAIL{more}"
            );
        }
        None
    }
}

impl Drop for WaitingPermit {
    fn drop(&mut self) {
        let before = self.0.count.fetch_sub(1, Relaxed);
        self.0.gauge.set(before.saturating_sub(1) as f64);
    }
}

/// Counts the sockets to upstreams. Copies share the count.
#[derive(Clone)]
pub struct UpstreamSockets(Arc<Sockets>);

struct Sockets {
    open: AtomicUsize,
    limit: usize,
    gauge: Gauge,
    rejected: Counter,
}

/// One open socket. Dropping it makes room for another.
pub struct SocketPermit(Arc<Sockets>);

/// A limit of this process, not the upstream, is why an exchange failed.
#[derive(Debug)]
pub(crate) struct LimitReached(String);

impl LimitReached {
    /// The error for an exchange, with a text such as `512 sockets to upstreams are open`.
    pub(crate) fn error(what: String) -> io::Error {
        io::Error::other(Self(what))
    }

    /// Whether this is the cause of an error.
    pub(crate) fn caused(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl UpstreamSockets {
    fn new(metrics: &Registry, limit: usize) -> Self {
        Self(Arc::new(Sockets {
            open: AtomicUsize::new(0),
            limit,
            gauge: metrics.gauge("portolan_forward_sockets", "Open sockets to upstreams."),
            rejected: metrics.counter(
                "portolan_forward_sockets_rejected_total",
                "Exchanges with upstreams that failed because too many sockets were open.",
            ),
        }))
    }

    /// A permit for one more socket.
    pub(crate) fn open(&self) -> io::Result<SocketPermit> {
        let Sockets { open, limit, gauge, rejected } = &*self.0;
        match open.fetch_update(Relaxed, Relaxed, |open| (open < *limit).then_some(open + 1)) {
            Ok(before) => {
                gauge.set((before + 1) as f64);
                Ok(SocketPermit(self.0.clone()))
            }
            Err(_) => {
                rejected.inc();
                Err(LimitReached::error(format!("{limit} sockets to upstreams are open, which is the limit")))
            }
        }
    }

    /// Whether more than half of the allowed sockets are open. Idle sockets are then closed instead of reused.
    pub(crate) fn are_scarce(&self) -> bool {
        self.0.open.load(Relaxed) > self.0.limit / 2
    }
}

impl Drop for SocketPermit {
    fn drop(&mut self) {
        let before = self.0.open.fetch_sub(1, Relaxed);
        self.0.gauge.set(before.saturating_sub(1) as f64);
    }
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LimitReached {}

/// Lets an event be logged once per interval and counts the others.
pub(crate) struct Throttle {
    interval: Duration,
    start: Instant,
    /// Milliseconds after `start` from which on the event may be logged again.
    next: AtomicU64,
    missed: AtomicU64,
}

impl Throttle {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, start: Instant::now(), next: AtomicU64::new(0), missed: AtomicU64::new(0) }
    }

    /// The number of events since the last one that was logged, if this one is to be logged.
    pub(crate) fn due(&self, now: Instant) -> Option<u64> {
        let now = now.saturating_duration_since(self.start).as_millis() as u64;
        let next = self.next.load(Relaxed);
        let after = now + self.interval.as_millis() as u64;
        if now < next || self.next.compare_exchange(next, after, Relaxed, Relaxed).is_err() {
            self.missed.fetch_add(1, Relaxed);
            return None;
        }
        Some(self.missed.swap(0, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_queries_wait_and_no_more_sockets_are_open_than_allowed() {
        let metrics = Registry::new();
        let limits = ChainLimits::with(&metrics, 2, 1);
        let first = limits.waiting.enter();
        let second = limits.waiting.enter();
        assert!(first.is_some() && second.is_some());
        assert!((0..3).all(|_| limits.waiting.enter().is_none()));
        assert_eq!(limits.waiting.0.rejected.value(), 3);
        assert!(metrics.text().contains("portolan_dns_waiting_queries 2\n"), "{}", metrics.text());
        drop(first);
        assert!(limits.waiting.enter().is_some(), "there is room again");
        let need = limits.waiting.reserve(3);
        let _third = limits.waiting.enter().expect("more may wait now");
        assert_eq!(limits.waiting.count(), 2);
        let larger = limits.waiting.reserve(5);
        drop(need);
        assert_eq!(limits.waiting.limit(), 5);
        drop(larger);
        assert_eq!(limits.waiting.limit(), 2);

        let socket = limits.sockets.open().unwrap();
        assert!(limits.sockets.are_scarce());
        let error = limits.sockets.open().err().expect("one is the limit");
        assert!(LimitReached::caused(&error), "{error}");
        drop(socket);
        assert!(!limits.sockets.are_scarce() && limits.sockets.open().is_ok());
        assert!(metrics.text().contains("portolan_forward_sockets_rejected_total 1\n"));
    }

    #[test]
    fn an_event_is_logged_once_per_interval_with_the_number_of_those_that_were_not() {
        let throttle = Throttle::new(Duration::from_secs(10));
        let at = |seconds| throttle.due(throttle.start + Duration::from_secs(seconds));
        assert_eq!(
            [at(0), at(1), at(9), at(10), at(11), at(30)],
            [Some(0), None, None, Some(2), None, Some(1)]
        );
    }
}
