//! Stopping without cutting anyone off: a word to stop, a count of what is still open, and a last moment.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
/// Something that is open, until it is dropped.
pub use tokio_util::task::task_tracker::TaskTrackerToken as DrainToken;

/// Shared by a server and all its connections. Cheap to clone.
///
/// Three states, in this order: running, stopping (nothing new; what is open finishes), forced (the last moment has
/// passed; whoever is still open closes now).
#[derive(Clone, Debug, Default)]
pub struct Drain {
    stop: CancellationToken,
    force: CancellationToken,
    open: TaskTracker,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Everything finished by itself.
    Finished,
    /// So many were still open at the last moment and were told to close.
    Forced(usize),
}

impl Drain {
    /// A drain that is running.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts something as open until the token is dropped.
    pub fn track(&self) -> DrainToken {
        self.open.token()
    }

    /// How many are open now.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// True from the word to stop on.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Waits for the word to stop.
    pub async fn stopping(&self) {
        self.stop.cancelled().await;
    }

    /// Waits for the last moment.
    pub async fn forced(&self) {
        self.force.cancelled().await;
    }

    /// Says stop without waiting for anything.
    pub fn stop(&self) {
        self.stop.cancel();
        self.open.close();
    }

    /// Says stop, waits until nothing is open or the time is up, and then forces what is left.
    pub async fn finish(&self, within: Duration) -> DrainOutcome {
        self.stop();
        let finished = tokio::time::timeout(within, self.open.wait()).await.is_ok();
        let left = self.open.len();
        self.force.cancel();
        if finished || left == 0 { DrainOutcome::Finished } else { DrainOutcome::Forced(left) }
    }

    /// Waits until nothing is open, after [`Drain::finish`] has forced it.
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
        let (token, mine) = (drain.track(), drain.clone());
        assert_eq!(drain.count(), 1);
        let task = tokio::spawn(async move {
            mine.stopping().await;
            drop(token);
            mine.forced().await;
        });
        assert_eq!(drain.finish(Duration::from_secs(240)).await, DrainOutcome::Finished);
        task.await.unwrap();
    }

    #[tokio::test]
    async fn what_stays_open_is_forced_at_the_last_moment() {
        let drain = Drain::new();
        let (token, mine) = (drain.track(), drain.clone());
        let task = tokio::spawn(async move {
            mine.forced().await;
            assert!(mine.is_stopping());
            drop(token);
        });
        assert_eq!(drain.finish(Duration::from_millis(10)).await, DrainOutcome::Forced(1));
        task.await.unwrap();
        drain.closed().await;
        assert_eq!(drain.count(), 0);
    }
}
