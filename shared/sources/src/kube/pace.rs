//! How much may be asked of the API server at a time (CoreDNS's `apiserver_qps`, `apiserver_burst`,
//! `apiserver_max_inflight`).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Limits that a client sets itself; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
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

/// Holds requests back.
#[derive(Debug, Default)]
pub(super) struct Pace {
    rate: Option<Rate>,
    seats: Option<Semaphore>,
}

/// The generic cell rate algorithm: one moment says all that a bucket of tokens would.
#[derive(Debug)]
struct Rate {
    interval: Duration,
    tolerance: Duration,
    /// When the next request would be due if all kept the interval.
    due: Mutex<Option<Instant>>,
}

impl Pace {
    pub(super) fn new(limits: Limits) -> Self {
        let Limits { qps, burst, in_flight } = limits;
        let limited = qps > 0.0 || burst > 0;
        let interval = Duration::from_secs_f32(1.0 / if qps > 0.0 { qps.max(1e-3) } else { USUAL_QPS });
        let burst = if burst > 0 { burst } else { USUAL_BURST };
        let tolerance = interval.saturating_mul(burst - 1);
        Self {
            rate: limited.then(|| Rate { interval, tolerance, due: Mutex::default() }),
            seats: (in_flight > 0).then(|| Semaphore::new(in_flight as usize)),
        }
    }

    /// Waits until the rate lets a request go. Returns how long that took; nothing without a rate.
    pub(super) async fn hold(&self) -> Option<Duration> {
        let wait = self.rate.as_ref()?.wait(Instant::now());
        tokio::time::sleep(wait).await;
        Some(wait)
    }

    /// Waits until few enough are in flight. What it returns is kept until the request is answered.
    pub(super) async fn seat(&self) -> Option<SemaphorePermit<'_>> {
        match &self.seats {
            Some(seats) => seats.acquire().await.ok(),
            None => None,
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
            let pace = Pace::new(Limits { qps: *qps, burst: *burst, in_flight: 0 });
            let (rate, now) = (pace.rate.expect("it is limited"), Instant::now());
            let seen: Vec<_> = waits.iter().map(|_| rate.wait(now).as_millis() as u64).collect();
            assert_eq!(seen, *waits, "{qps} {burst}");
            assert_eq!(
                rate.wait(now + Duration::from_secs(60)),
                Duration::ZERO,
                "what was saved up is there again"
            );
        }
        assert!(Pace::new(Limits::default()).rate.is_none());
    }

    #[tokio::test]
    async fn no_more_are_in_flight_than_may_be() {
        let pace = Pace::new(Limits { in_flight: 1, ..Limits::default() });
        assert_eq!(pace.hold().await, None);
        let first = pace.seat().await;
        assert!(first.is_some());
        assert!(futures_util::FutureExt::now_or_never(pace.seat()).is_none());
        drop(first);
        assert!(futures_util::FutureExt::now_or_never(pace.seat()).is_some());
    }
}
