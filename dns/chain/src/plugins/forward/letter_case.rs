//! Whether the queries to an upstream get a random letter case (`randomize_case`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use telemetry::metrics::Counter;

/// How long an upstream that does not repeat the letter case of a question gets it as clients write it.
const SUSPENSION: Duration = Duration::from_secs(3600);

/// Whether replies of one upstream keep the letter case of the query.
pub(super) struct LetterCase {
    suspended_until: Mutex<Option<Instant>>,
    mismatches: Counter,
}

impl LetterCase {
    /// Counts replies with another letter case in `mismatches`.
    pub(super) fn new(mismatches: Counter) -> Self {
        Self { suspended_until: Mutex::default(), mismatches }
    }

    /// Whether a query at this time gets a random letter case.
    pub(super) fn is_randomized(&self, now: Instant) -> bool {
        self.lock().is_none_or(|until| now >= until)
    }

    /// Sends no random letter case for [`SUSPENSION`].
    pub(super) fn suspend(&self, now: Instant) {
        *self.lock() = Some(now + SUSPENSION);
    }

    /// Counts a reply over UDP with another letter case.
    pub(super) fn count_mismatch(&self) {
        self.mismatches.inc();
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.suspended_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_that_does_not_repeat_the_case_is_tried_again_after_an_hour() {
        let (state, start) = (LetterCase::new(Counter::default()), Instant::now());
        assert!(state.is_randomized(start));
        state.suspend(start);
        assert!(!state.is_randomized(start + SUSPENSION - Duration::from_secs(1)));
        assert!(state.is_randomized(start + SUSPENSION));
    }
}
