//! How long to wait before the next try.

use std::time::Duration;

/// The first pause; each failure in a row doubles it.
const FIRST: Duration = Duration::from_millis(200);

/// The longest pause while the API server is gone: what a restart of it costs at most in freshness.
const LONGEST: Duration = Duration::from_secs(5);

/// The same where somebody has to change something first, such as a role. It begins low, because a server that has just
/// started forbids everything until it has read its roles.
const LASTING: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// A server may ask for more patience, but not for hours of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    passing: u32,
    lasting: u32,
}

impl Backoff {
    /// Something worked: the next failure is the first again.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Whether there was a lasting failure before.
    pub(super) fn lasts(&self) -> bool {
        self.lasting > 1
    }

    /// The pause after one more failure. `random` in 0..1 spreads replicas that lost the same server: a pause is
    /// between half and all of what its turn allows. `asked` is the server's `Retry-After`, never undercut.
    pub(super) fn pause(&mut self, lasting: bool, asked: Option<Duration>, random: f64) -> Duration {
        let (first, longest) = if lasting { LASTING } else { (FIRST, LONGEST) };
        let failures = if lasting { &mut self.lasting } else { &mut self.passing };
        let doubled = first.saturating_mul(1 << (*failures).min(16));
        *failures = failures.saturating_add(1);
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
        assert_eq!(pauses(7, false, None, 1.0), [200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(pauses(7, false, None, 0.0), [100, 200, 400, 800, 1600, 2500, 2500]);
        assert_eq!(pauses(8, true, None, 1.0), [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
        assert_eq!(pauses(100, false, None, 1.0).last(), Some(&5000));
    }

    #[test]
    fn the_server_may_ask_for_longer_pauses_but_not_for_shorter_ones() {
        assert_eq!(pauses(2, false, Some(1), 1.0), [1000, 1000]);
        assert_eq!(pauses(1, false, Some(0), 1.0), [200]);
        assert_eq!(pauses(1, false, Some(86400), 1.0), [60000]);
    }

    #[test]
    fn an_outage_does_not_count_against_what_it_ends_in() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.pause(false, None, 1.0);
        }
        assert_eq!(backoff.pause(true, None, 1.0), LASTING.0);
        assert!(!backoff.lasts());
        backoff.pause(true, None, 1.0);
        assert!(backoff.lasts());
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
