//! Graceful shutdown: a stop signal, a count of what is still open, and a deadline.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
/// Counts one connection or request as open until it is dropped.
pub use tokio_util::task::task_tracker::TaskTrackerToken as DrainToken;

/// Shared by a server and all its connections. Cheap to clone.
///
/// Three states, in this order: running; stopping (nothing new is accepted, what is open may finish); forced (the deadline has
/// passed, what is still open closes now).
#[derive(Clone, Debug, Default)]
pub struct Drain {
    stop: CancellationToken,
    force: CancellationToken,
    open: TaskTracker,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Everything finished before the deadline.
    Finished,
    /// This many were still open at the deadline and had to close.
    Forced(usize),
}

impl Drain {
    /// Creates a drain in the running state.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts something as open until the token is dropped.
    pub fn track(&self) -> DrainToken {
        self.open.token()
    }

    /// The number of open tokens.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// Whether the drain is stopping or forced.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits until the drain is stopping.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Waits until the deadline has passed.
    pub async fn forced(&self) {
        self.force.cancelled().await;
    }

    /// Starts stopping. Does not wait.
    pub fn stop(&self) {
        self.stop.cancel();
        self.open.close();
    }

    /// Starts stopping, waits until nothing is open or `within` has passed, then forces the rest.
    pub async fn finish(&self, within: Duration) -> DrainOutcome {
        self.stop();
        let finished = tokio::time::timeout(within, self.open.wait()).await.is_ok();
        let left = self.open.len();
        self.force.cancel();
        if finished || left == 0 { DrainOutcome::Finished } else { DrainOutcome::Forced(left) }
    }

    /// Waits until nothing is open; for use after [`Drain::finish`] has returned [`DrainOutcome::Forced`].
    pub async fn closed(&self) {
        self.open.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_open_may_finish() {
        let drain = Drain::new();
        let (token, of_task) = (drain.track(), drain.clone());
        assert_eq!(drain.count(), 1);
        let task = tokio::spawn(async move {
            of_task.stopping().await;
            drop(token);
            of_task.forced().await;
        });
        assert_eq!(drain.finish(Duration::from_secs(240)).await, DrainOutcome::Finished);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn what_is_open_at_the_deadline_is_forced() {
        let drain = Drain::new();
        let (token, of_task) = (drain.track(), drain.clone());
        let task = tokio::spawn(async move {
            of_task.forced().await;
            assert!(of_task.is_stopping());
            drop(token);
        });
        assert_eq!(drain.finish(Duration::from_millis(10)).await, DrainOutcome::Forced(1));
        task.await.unwrap();
        drain.closed().await;
        assert_eq!(drain.count(), 0);
    }
}
