//! How long to wait before the next try.

use std::time::Duration;

/// The first pause; each failure in a row doubles it.
const FIRST: Duration = Duration::from_millis(200);

/// The longest pause while the API server is gone: what a restart of it costs at most in freshness.
const LONGEST: Duration = Duration::from_secs(10);

/// The pauses where somebody has to change something first.
const LASTING: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// A server may ask for more patience, but not for hours of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Something worked: the next failure is the first again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure. `random` in 0..1 spreads replicas that lost the same server: a pause is
    /// between half and all of what its turn allows. `asked` is the server's `Retry-After`, never undercut.
    pub(super) fn pause(&mut self, lasting: bool, asked: Option<Duration>, random: f64) -> Duration {
        let (first, longest) = if lasting { LASTING } else { (FIRST, LONGEST) };
        let doubled = first.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        let pause = doubled.min(longest).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0);
        match asked {
            Some(asked) => pause.max(asked.min(PATIENCE)),
            None => pause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(count: usize, lasting: bool, asked: Option<u64>, random: f64) -> Vec<u128> {
        let mut backoff = Backoff::default();
        let asked = asked.map(Duration::from_secs);
        (0..count).map(|_| backoff.pause(lasting, asked, random).as_millis()).collect()
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_are_spread_over_half_of_it() {
        assert_eq!(pauses(8, false, None, 1.0), [200, 400, 800, 1600, 3200, 6400, 10000, 10000]);
        assert_eq!(pauses(8, false, None, 0.0), [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pauses(5, true, None, 1.0), [10000, 20000, 40000, 60000, 60000]);
        assert_eq!(pauses(100, false, None, 1.0).last(), Some(&10000));
    }

    #[test]
    fn the_server_may_ask_for_longer_pauses_but_not_for_shorter_ones() {
        assert_eq!(pauses(2, false, Some(1), 1.0), [1000, 1000]);
        assert_eq!(pauses(1, false, Some(0), 1.0), [200]);
        assert_eq!(pauses(1, false, Some(86400), 1.0), [60000]);
    }

    #[test]
    fn success_begins_anew() {
        let mut backoff = Backoff::default();
        backoff.pause(false, None, 1.0);
        backoff.pause(false, None, 1.0);
        backoff.reset();
        assert_eq!(backoff.pause(false, None, 1.0), FIRST);
    }
}
