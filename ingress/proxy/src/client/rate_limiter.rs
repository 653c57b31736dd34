//! The rate of a response (`limit-rate`).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ingress_routes::plan::ResponseRate;
use tokio::time::{Instant, Sleep, sleep_until};

/// The shortest pause: each piece has at least what the rate allows in this time.
const PAUSE: Duration = Duration::from_millis(50);

/// Decides when the next piece of a body may be read. As in nginx the first second's bytes are sent at once.
pub(super) struct RateLimiter {
    rate: ResponseRate,
    started: Instant,
    /// Bytes that have been read.
    sent: u64,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl RateLimiter {
    pub(super) fn new(rate: ResponseRate) -> Self {
        Self { rate, started: Instant::now(), sent: 0, sleep: None }
    }

    /// How many bytes the next piece may have, `most` at most.
    pub(super) fn poll_allowance(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<usize> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            let now = Instant::now();
            let allowed = self.allowed_after(now - self.started);
            if allowed > self.sent {
                return Poll::Ready(usize::try_from(allowed - self.sent).map_or(most, |left| left.min(most)));
            }
            let wait = self.seconds_until(self.sent + 1).max(PAUSE.as_secs_f64());
            self.sleep = Some(Box::pin(sleep_until(now + Duration::from_secs_f64(wait))));
        }
    }

    /// Counts a piece, which may be larger than what was allowed.
    pub(super) fn count(&mut self, length: usize) {
        self.sent += length as u64;
    }

    /// Bytes that may have been sent after a time.
    fn allowed_after(&self, elapsed: Duration) -> u64 {
        let ResponseRate { per_second, after } = self.rate;
        after.saturating_add((per_second as f64 * (elapsed.as_secs_f64() + 1.0)) as u64)
    }

    /// Seconds from now until so many bytes may have been sent.
    fn seconds_until(&self, bytes: u64) -> f64 {
        let ResponseRate { per_second, after } = self.rate;
        let at = bytes.saturating_sub(after) as f64 / per_second as f64 - 1.0;
        (at - self.started.elapsed().as_secs_f64()).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds that a body takes in pieces of 16 KiB.
    async fn seconds(rate: ResponseRate, length: u64) -> u64 {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(rate);
        let mut left = length;
        while left > 0 {
            let allowed = std::future::poll_fn(|cx| limiter.poll_allowance(cx, 16 << 10)).await as u64;
            let piece = allowed.min(left);
            limiter.count(piece as usize);
            left -= piece;
        }
        start.elapsed().as_millis().div_ceil(1000) as u64
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_takes_its_length_by_the_rate_less_the_first_second() {
        let kib =
            |per_second: u64, after: u64| ResponseRate { per_second: per_second << 10, after: after << 10 };
        for (rate, length, wanted) in [
            (kib(64, 0), 64 << 10, 0),
            (kib(64, 0), 256 << 10, 3),
            (kib(64, 128), 256 << 10, 1),
            (kib(1, 0), 11 << 10, 10),
            (kib(4096, 0), 12 << 20, 2),
        ] {
            let taken = seconds(rate, length).await;
            assert!((wanted..=wanted + 1).contains(&taken), "{rate:?} {length}: {taken} s");
        }
    }
}
