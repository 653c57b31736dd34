//! Failures of upstreams in the log: the first at once, then one line a minute for each upstream.

use std::collections::HashMap;
use std::fmt::Display;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use cluster::Current;
use foldhash::fast::RandomState;
use telemetry::metrics::Counter;

use crate::io::clock::Clock;

/// The shortest time between two lines for an upstream, in milliseconds.
const INTERVAL: u64 = 60_000;
/// How many upstreams have lines of their own. The others share one line a minute.
const MAX_UPSTREAMS: usize = 1000;

/// Reports why requests to upstreams fail. Shared by all workers: for an upstream that has failed before they only read what they share,
/// but for one line a minute.
#[derive(Clone, Default)]
pub(crate) struct UpstreamLog(Arc<FailureTable>);

/// The log with the clock of a worker.
pub(crate) struct WorkerUpstreamLog {
    log: UpstreamLog,
    clock: Rc<Clock>,
}

type FailuresByName = HashMap<Arc<str>, Arc<Failures>, RandomState>;

struct FailureTable {
    started: Instant,
    upstreams: Current<FailuresByName>,
    /// Of the upstreams that have no lines of their own.
    others: Failures,
    /// Held to add an upstream.
    adding: Mutex<()>,
    /// Until then no upstream can be added.
    full_until: AtomicU64,
}

/// The failures of an upstream. Times are milliseconds since the start.
#[derive(Default)]
struct Failures {
    /// When the next line may be written.
    due: AtomicU64,
    all: Counter,
    /// How many there were at the last line.
    reported: AtomicU64,
}

impl Default for FailureTable {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            upstreams: Current::new(HashMap::default()),
            others: Failures::default(),
            adding: Mutex::default(),
            full_until: AtomicU64::new(0),
        }
    }
}

impl WorkerUpstreamLog {
    pub(crate) fn new(log: UpstreamLog, clock: Rc<Clock>) -> Self {
        Self { log, clock }
    }

    /// Logs a failure, or counts it for the next line.
    pub(crate) fn failed(&self, upstream: &str, endpoint: &dyn Display, error: &dyn Display) {
        self.log.failed(upstream, endpoint, error, self.clock.instant());
    }
}

impl UpstreamLog {
    /// Logs a failure, or counts it for the next line.
    pub(crate) fn failed(&self, upstream: &str, endpoint: &dyn Display, error: &dyn Display, now: Instant) {
        match self.0.count(upstream, now) {
            Some(0) => tracing::warn!("upstream {upstream}: {endpoint}: {error}"),
            Some(unlogged) => tracing::warn!(
                "upstream {upstream}: {endpoint}: {error} (and {unlogged} failures since the last line)"
            ),
            None => tracing::debug!("upstream {upstream}: {endpoint}: {error}"),
        }
    }
}

impl FailureTable {
    /// How many failures were not logged before this one; `None` if this one is not logged either. Hot: one look-up, without a lock.
    fn count(&self, upstream: &str, now: Instant) -> Option<u64> {
        let now = now.saturating_duration_since(self.started).as_millis() as u64;
        if let Some(known) = self.upstreams.load().get(upstream) {
            return known.count(now);
        }
        match self.add(upstream, now) {
            Some(added) => added.count(now),
            None => self.others.count(now),
        }
    }

    /// The failures of an upstream that had none; `None` if all others had some within the interval.
    fn add(&self, upstream: &str, now: u64) -> Option<Arc<Failures>> {
        if now < self.full_until.load(Relaxed) {
            return None;
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut upstreams = (*self.upstreams.load_full()).clone();
        if let Some(added) = upstreams.get(upstream) {
            return Some(added.clone());
        }
        if upstreams.len() >= MAX_UPSTREAMS {
            upstreams.retain(|_, failures| now < failures.due.load(Relaxed));
        }
        if upstreams.len() >= MAX_UPSTREAMS {
            let first = upstreams.values().map(|failures| failures.due.load(Relaxed)).min();
            self.full_until.store(first.unwrap_or_default(), Relaxed);
            return None;
        }
        let added = Arc::<Failures>::default();
        upstreams.insert(upstream.into(), added.clone());
        self.upstreams.store(Arc::new(upstreams));
        Some(added)
    }
}

impl Failures {
    /// As [`FailureTable::count`]. Each thread counts in memory of its own.
    fn count(&self, now: u64) -> Option<u64> {
        self.all.inc();
        let due = self.due.load(Relaxed);
        if now < due || self.due.compare_exchange(due, now + INTERVAL, Relaxed, Relaxed).is_err() {
            return None;
        }
        let all = self.all.value();
        // One is this one.
        Some(all.saturating_sub(self.reported.swap(all, Relaxed) + 1))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn len(log: &FailureTable) -> usize {
        log.upstreams.load().len()
    }

    #[test]
    fn the_first_failure_is_logged_and_then_one_a_minute_with_a_count() {
        let log = FailureTable::default();
        let at = |seconds| log.count("default-shop-80", log.started + Duration::from_secs(seconds));
        assert_eq!(
            [at(0), at(1), at(59), at(60), at(61), at(121)],
            [Some(0), None, None, Some(2), None, Some(1)]
        );
        assert_eq!(
            log.count("default-other-80", log.started),
            Some(0),
            "each upstream has a line of its own"
        );
    }

    #[test]
    fn failures_of_all_workers_are_in_one_line_and_counted_without_a_lock() {
        let log = FailureTable::default();
        let shop = |milliseconds| log.count("shop", log.started + Duration::from_millis(milliseconds));
        assert_eq!(shop(0), Some(0));
        let _adding = log.adding.lock().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (1..=1000).for_each(|now| assert_eq!(shop(now), None)));
            }
        });
        assert_eq!((shop(INTERVAL), shop(INTERVAL)), (Some(4000), None));
        let lines = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| shop(2 * INTERVAL))).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).count()
        });
        assert_eq!(lines, 1);
    }

    #[test]
    fn the_number_of_stored_upstreams_is_bounded() {
        let log = FailureTable::default();
        let start = log.started;
        let lines =
            (0..2 * MAX_UPSTREAMS).filter_map(|at| log.count(&format!("default-{at}-80"), start)).count();
        assert_eq!((lines, len(&log)), (MAX_UPSTREAMS + 1, MAX_UPSTREAMS), "the others share a line");
        let later = start + Duration::from_millis(INTERVAL);
        assert_eq!(log.count("default-new-80", later), Some(0));
        assert_eq!(len(&log), 1, "the old ones were removed");
        assert_eq!(log.others.count(INTERVAL), Some(MAX_UPSTREAMS as u64 - 1));
    }
}
