//! A token bucket, as client-go limits the requests of a client.

use std::time::Duration;

use tokio::time::Instant;

/// Tokens that are added at a steady rate up to a bound. Each request takes one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket: `burst` requests at once, then `rate` a second.
    pub(crate) fn new(rate: f64, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { rate, burst, tokens: burst, filled: now }
    }

    /// Takes a token, which may be one of the future, and returns when it is there.
    pub(crate) fn reserve(&mut self, now: Instant) -> Instant {
        self.fill(now);
        self.tokens -= 1.0;
        if self.tokens >= 0.0 { now } else { now + Duration::from_secs_f64(-self.tokens / self.rate) }
    }

    /// Takes a token if there is one.
    pub(crate) fn try_take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let is_there = self.tokens >= 1.0;
        if is_there {
            self.tokens -= 1.0;
        }
        is_there
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.filled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10.0, 3, start);
        let waits = [0, 0, 0, 100, 200].map(Duration::from_millis);
        for wait in waits {
            let at = bucket.reserve(start) - start;
            assert!(at.abs_diff(wait) < Duration::from_millis(1), "{at:?} {wait:?}");
        }
        assert!(!bucket.try_take(start + Duration::from_millis(250)));
        assert!(bucket.try_take(start + Duration::from_millis(310)));
        assert!(bucket.try_take(start + Duration::from_secs(60)));
    }
}
