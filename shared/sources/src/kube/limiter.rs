//! Limits the requests to the API server (CoreDNS's `apiserver_qps`, `apiserver_burst`, `apiserver_max_inflight`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Limits of a client for its own requests; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RequestLimits {
    /// Requests a second.
    pub qps: f32,
    /// Requests that may be sent at once before `qps` delays them.
    pub burst: u32,
    /// Requests that may wait for the head of their response.
    pub in_flight: u32,
}

/// The defaults of Kubernetes' client library, for the one of the two that is not set.
const DEFAULT_QPS: f32 = 5.0;
const DEFAULT_BURST: u32 = 10;

/// Delays the requests of a client. Copies share the limits.
#[derive(Clone, Debug, Default)]
pub struct RequestLimiter(Arc<Mutex<Arc<State>>>);

#[derive(Debug, Default)]
struct State {
    limits: RequestLimits,
    rate: Option<Rate>,
    permits: Option<Arc<Semaphore>>,
}

/// The generic cell rate algorithm, which needs one time instead of a token bucket.
#[derive(Debug)]
struct Rate {
    interval: Duration,
    tolerance: Duration,
    /// When the next request is due if all keep the interval.
    due: Mutex<Option<Instant>>,
}

impl RequestLimiter {
    /// Sets the limits for requests from now on. Setting the same limits again changes nothing: a used burst stays used.
    pub fn set(&self, limits: RequestLimits) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.limits != limits {
            *state = Arc::new(State::new(limits));
        }
    }

    /// Waits until the rate allows a request. Returns how long that took; `None` without a rate.
    pub(super) async fn wait_for_rate(&self) -> Option<Duration> {
        let wait = self.state().rate.as_ref()?.wait(Instant::now());
        tokio::time::sleep(wait).await;
        Some(wait)
    }

    /// Waits until few enough requests are in flight. The permit is held until the head of the response arrives.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let permits = self.state().permits.clone()?;
        permits.acquire_owned().await.ok()
    }

    fn state(&self) -> Arc<State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl State {
    fn new(limits: RequestLimits) -> Self {
        let RequestLimits { qps, burst, in_flight } = limits;
        let limited = qps > 0.0 || burst > 0;
        let interval = Duration::from_secs_f32(1.0 / if qps > 0.0 { qps.max(1e-3) } else { DEFAULT_QPS });
        let burst = if burst > 0 { burst } else { DEFAULT_BURST };
        let tolerance = interval.saturating_mul(burst - 1);
        Self {
            limits,
            rate: limited.then(|| Rate { interval, tolerance, due: Mutex::default() }),
            permits: (in_flight > 0).then(|| Arc::new(Semaphore::new(in_flight as usize))),
        }
    }
}

impl Rate {
    /// How long a request at `now` has to wait.
    fn wait(&self, now: Instant) -> Duration {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let at = due.map_or(now, |due| due.max(now));
        *due = Some(at + self.interval);
        at.saturating_duration_since(now).saturating_sub(self.tolerance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_not_delayed_and_further_requests_follow_the_rate() {
        let rows: &[(f32, u32, &[u64])] = &[
            (2.0, 3, &[0, 0, 0, 500, 1000]),
            (4.0, 0, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 250]),
            (0.0, 1, &[0, 200, 400]),
        ];
        for (qps, burst, waits) in rows {
            let state = State::new(RequestLimits { qps: *qps, burst: *burst, in_flight: 0 });
            let (rate, now) = (state.rate.expect("it is limited"), Instant::now());
            let seen: Vec<_> = waits.iter().map(|_| rate.wait(now).as_millis() as u64).collect();
            assert_eq!(seen, *waits, "{qps} {burst}");
            assert_eq!(
                rate.wait(now + Duration::from_secs(60)),
                Duration::ZERO,
                "the burst is available again"
            );
        }
        assert!(State::new(RequestLimits::default()).rate.is_none());
    }

    #[tokio::test]
    async fn the_number_of_requests_in_flight_is_limited() {
        let limiter = RequestLimiter::default();
        limiter.set(RequestLimits { in_flight: 1, ..RequestLimits::default() });
        assert_eq!(limiter.wait_for_rate().await, None);
        let first = limiter.permit().await;
        assert!(first.is_some());
        assert!(futures_util::FutureExt::now_or_never(limiter.permit()).is_none());
        drop(first);
        assert!(futures_util::FutureExt::now_or_never(limiter.permit()).is_some());
    }

    #[test]
    fn new_limits_apply_at_once_and_equal_limits_reset_nothing() {
        let (limiter, now) = (RequestLimiter::default(), Instant::now());
        let wait = || limiter.state().rate.as_ref().map(|rate| rate.wait(now).as_secs());
        let slow = RequestLimits { qps: 0.01, burst: 1, in_flight: 0 };
        limiter.set(slow);
        assert_eq!((wait(), wait()), (Some(0), Some(100)));
        limiter.set(slow);
        assert_eq!(wait(), Some(200), "equal limits");
        limiter.set(RequestLimits { burst: 2, ..slow });
        assert_eq!((wait(), wait(), wait()), (Some(0), Some(0), Some(100)), "a new burst");
        limiter.set(RequestLimits::default());
        assert_eq!(wait(), None, "no limit");
    }
}
