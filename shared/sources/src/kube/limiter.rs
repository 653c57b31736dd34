//! How much may be asked of the API server at a time (CoreDNS's `apiserver_qps`, `apiserver_burst`,
//! `apiserver_max_inflight`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// RequestLimits that a client sets itself; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RequestLimits {
    /// Requests a second.
    pub qps: f32,
    /// Requests that may come at once before `qps` holds them back.
    pub burst: u32,
    /// Requests that wait for the head of their answer.
    pub in_flight: u32,
}

/// Where only one of the two is set, the other is that of Kubernetes' own client library.
const USUAL_QPS: f32 = 5.0;
const USUAL_BURST: u32 = 10;

/// Holds the requests of a client back. Copies are the same pace.
#[derive(Clone, Debug, Default)]
pub struct RequestLimiter(Arc<Mutex<Arc<Held>>>);

#[derive(Debug, Default)]
struct Held {
    limits: RequestLimits,
    rate: Option<Rate>,
    seats: Option<Arc<Semaphore>>,
}

/// The generic cell rate algorithm: one moment says all that a bucket of tokens would.
#[derive(Debug)]
struct Rate {
    interval: Duration,
    tolerance: Duration,
    /// When the next request would be due if all kept the interval.
    due: Mutex<Option<Instant>>,
}

impl RequestLimiter {
    /// Has limits hold for requests that come from now on. The same again change nothing: what a burst has used up stays
    /// used up.
    pub fn set(&self, limits: RequestLimits) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.limits != limits {
            *held = Arc::new(Held::new(limits));
        }
    }

    /// Waits until the rate lets a request go. Returns how long that took; nothing without a rate.
    pub(super) async fn hold(&self) -> Option<Duration> {
        let wait = self.held().rate.as_ref()?.wait(Instant::now());
        tokio::time::sleep(wait).await;
        Some(wait)
    }

    /// Waits until few enough are in flight. What it returns is kept until the request is answered.
    pub(super) async fn seat(&self) -> Option<OwnedSemaphorePermit> {
        let seats = self.held().seats.clone()?;
        seats.acquire_owned().await.ok()
    }

    fn held(&self) -> Arc<Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Held {
    fn new(limits: RequestLimits) -> Self {
        let RequestLimits { qps, burst, in_flight } = limits;
        let limited = qps > 0.0 || burst > 0;
        let interval = Duration::from_secs_f32(1.0 / if qps > 0.0 { qps.max(1e-3) } else { USUAL_QPS });
        let burst = if burst > 0 { burst } else { USUAL_BURST };
        let tolerance = interval.saturating_mul(burst - 1);
        Self {
            limits,
            rate: limited.then(|| Rate { interval, tolerance, due: Mutex::default() }),
            seats: (in_flight > 0).then(|| Arc::new(Semaphore::new(in_flight as usize))),
        }
    }
}

impl Rate {
    /// How long a request that comes now has to wait.
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
    fn a_burst_passes_and_then_the_rate_holds() {
        let rows: &[(f32, u32, &[u64])] = &[
            (2.0, 3, &[0, 0, 0, 500, 1000]),
            (4.0, 0, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 250]),
            (0.0, 1, &[0, 200, 400]),
        ];
        for (qps, burst, waits) in rows {
            let held = Held::new(RequestLimits { qps: *qps, burst: *burst, in_flight: 0 });
            let (rate, now) = (held.rate.expect("it is limited"), Instant::now());
            let seen: Vec<_> = waits.iter().map(|_| rate.wait(now).as_millis() as u64).collect();
            assert_eq!(seen, *waits, "{qps} {burst}");
            assert_eq!(
                rate.wait(now + Duration::from_secs(60)),
                Duration::ZERO,
                "what was saved up is there again"
            );
        }
        assert!(Held::new(RequestLimits::default()).rate.is_none());
    }

    #[tokio::test]
    async fn no_more_are_in_flight_than_may_be() {
        let limiter = RequestLimiter::default();
        limiter.set(RequestLimits { in_flight: 1, ..RequestLimits::default() });
        assert_eq!(limiter.hold().await, None);
        let first = limiter.seat().await;
        assert!(first.is_some());
        assert!(futures_util::FutureExt::now_or_never(limiter.seat()).is_none());
        drop(first);
        assert!(futures_util::FutureExt::now_or_never(limiter.seat()).is_some());
    }

    #[test]
    fn limits_change_at_once_and_the_same_again_change_nothing() {
        let (limiter, now) = (RequestLimiter::default(), Instant::now());
        let wait = || limiter.held().rate.as_ref().map(|rate| rate.wait(now).as_secs());
        let slow = RequestLimits { qps: 0.01, burst: 1, in_flight: 0 };
        limiter.set(slow);
        assert_eq!((wait(), wait()), (Some(0), Some(100)));
        limiter.set(slow);
        assert_eq!(wait(), Some(200), "the same again");
        limiter.set(RequestLimits { burst: 2, ..slow });
        assert_eq!((wait(), wait(), wait()), (Some(0), Some(0), Some(100)), "a new burst");
        limiter.set(RequestLimits::default());
        assert_eq!(wait(), None, "no limit");
    }
}
