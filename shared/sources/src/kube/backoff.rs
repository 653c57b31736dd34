//! The pause before a request is repeated.

use std::time::Duration;

/// The first pause; each failure in a row doubles it.
const FIRST: Duration = Duration::from_millis(200);

/// The longest pause while the API server is unreachable, and so the longest delay of changes after its restart.
const LONGEST: Duration = Duration::from_secs(5);

/// The first and the longest pause after a lasting failure, such as a missing role. The first is short, because a server
/// that has just started forbids everything until it has read its roles.
const LASTING: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// The longest pause that a server may request by `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    transient: u32,
    lasting: u32,
}

impl Backoff {
    /// Resets the counts after a success.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether there was a lasting failure before the last one.
    pub(super) fn is_lasting(&self) -> bool {
        self.lasting > 1
    }

    /// The pause after one more failure: between half and all of what the number of failures allows. `random` in 0..1
    /// chooses, which spreads replicas that lost the same server. `retry_after` is the server's `Retry-After`, a lower bound.
    pub(super) fn pause(&mut self, lasting: bool, retry_after: Option<Duration>, random: f64) -> Duration {
        let (first, longest) = if lasting { LASTING } else { (FIRST, LONGEST) };
        let failures = if lasting { &mut self.lasting } else { &mut self.transient };
        let doubled = first.saturating_mul(1 << (*failures).min(16));
        *failures = failures.saturating_add(1);
        let pause = doubled.min(longest).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        match retry_after {
            Some(retry_after) => pause.max(retry_after.min(MAX_RETRY_AFTER)),
            None => pause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(count: usize, lasting: bool, retry_after: Option<u64>, random: f64) -> Vec<u128> {
        let mut backoff = Backoff::default();
        let retry_after = retry_after.map(Duration::from_secs);
        (0..count).map(|_| backoff.pause(lasting, retry_after, random).as_millis()).collect()
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_are_spread_over_half_of_it() {
        assert_eq!(pauses(7, false, None, 1.0), [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pauses(7, false, None, 0.0), [100, 200, 400, 800, 1600, 2500, 2500]);
        assert_eq!(pauses(8, true, None, 1.0), [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(pauses(100, false, None, 1.0).last(), Some(&5000));
    }

    #[test]
    fn retry_after_lengthens_a_pause_but_does_not_shorten_it() {
        assert_eq!(pauses(2, false, Some(1), 1.0), [1000, 1000]);
        assert_eq!(pauses(1, false, Some(0), 1.0), [200]);
        assert_eq!(pauses(1, false, Some(86400), 1.0), [60000]);
    }

    #[test]
    fn an_outage_does_not_lengthen_the_pauses_of_lasting_failures() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.pause(false, None, 1.0);
        }
        assert_eq!(backoff.pause(true, None, 1.0), LASTING.0);
        assert!(!backoff.is_lasting());
        backoff.pause(true, None, 1.0);
        assert!(backoff.is_lasting());
    }

    #[test]
    fn a_success_resets_the_pauses() {
        let mut backoff = Backoff::default();
        backoff.pause(false, None, 1.0);
        backoff.pause(false, None, 1.0);
        backoff.reset();
        assert_eq!(backoff.pause(false, None, 1.0), FIRST);
    }
}
