//! Failures of upstreams in the log: the first at once, then one line a minute for each upstream.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

/// The shortest time between two lines for an upstream.
const INTERVAL: Duration = Duration::from_secs(60);
/// How many upstreams have lines of their own. The others share one line a minute.
const MAX_UPSTREAMS: usize = 1000;

/// Reports why requests to upstreams fail. Shared by all workers.
#[derive(Clone, Default)]
pub(crate) struct UpstreamLog(Arc<Mutex<HashMap<Box<str>, Failures, RandomState>>>);

struct Failures {
    logged: Instant,
    unlogged: u64,
}

impl UpstreamLog {
    /// Logs a failure, or counts it for the next line.
    pub(crate) fn failed(&self, upstream: &str, endpoint: &dyn Display, error: &dyn Display) {
        match self.count(upstream, Instant::now()) {
            Some(0) => tracing::warn!("upstream {upstream}: {endpoint}: {error}"),
            Some(unlogged) => tracing::warn!(
                "upstream {upstream}: {endpoint}: {error} (and {unlogged} failures since the last line)"
            ),
            None => tracing::debug!("upstream {upstream}: {endpoint}: {error}"),
        }
    }

    /// How many failures were not logged before this one; `None` if this one is not logged either.
    fn count(&self, upstream: &str, now: Instant) -> Option<u64> {
        let mut upstreams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !upstreams.contains_key(upstream) && upstreams.len() >= MAX_UPSTREAMS {
            upstreams.retain(|_, failures| now.duration_since(failures.logged) < INTERVAL);
        }
        let known = upstreams.contains_key(upstream) || upstreams.len() < MAX_UPSTREAMS;
        let name = if known { upstream } else { "" };
        let Some(failures) = upstreams.get_mut(name) else {
            upstreams.insert(name.into(), Failures { logged: now, unlogged: 0 });
            return Some(0);
        };
        if now.duration_since(failures.logged) < INTERVAL {
            failures.unlogged += 1;
            return None;
        }
        failures.logged = now;
        Some(std::mem::take(&mut failures.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_logged_and_then_one_a_minute_with_a_count() {
        let (log, start) = (UpstreamLog::default(), Instant::now());
        let at = |seconds| log.count("default-shop-80", start + Duration::from_secs(seconds));
        assert_eq!(
            [at(0), at(1), at(59), at(60), at(61), at(121)],
            [Some(0), None, None, Some(2), None, Some(1)]
        );
        assert_eq!(log.count("default-other-80", start), Some(0), "each upstream has a line of its own");
    }

    #[test]
    fn the_number_of_stored_upstreams_is_bounded() {
        let (log, start) = (UpstreamLog::default(), Instant::now());
        for at in 0..2 * MAX_UPSTREAMS {
            log.count(&format!("default-{at}-80"), start);
        }
        assert_eq!(log.0.lock().unwrap().len(), MAX_UPSTREAMS + 1);
        assert_eq!(log.count("default-new-80", start + INTERVAL), Some(0));
        assert_eq!(log.0.lock().unwrap().len(), 1, "the old ones were removed");
    }
}
