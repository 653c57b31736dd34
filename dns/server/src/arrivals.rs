//! Whether queries still arrive at a server that is stopping.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// Time without a query after which none is expected any more.
const QUIET: Duration = Duration::from_secs(1);

/// Queries that arrived at one address since [`Arrivals::start`].
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    started: AtomicBool,
    count: AtomicU64,
}

impl Arrivals {
    /// Begins to count. Before, [`Arrivals::add`] only reads a flag, which no thread writes.
    pub(crate) fn start(&self) {
        self.started.store(true, Relaxed);
    }

    /// Counts queries.
    // Hot: 0 allocations.
    pub(crate) fn add(&self, count: usize) {
        if self.started.load(Relaxed) {
            self.count.fetch_add(count as u64, Relaxed);
        }
    }

    /// The count so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }
}

/// Waits until `count` stays the same for [`QUIET`], for `limit` at most.
pub(crate) async fn until_quiet(count: impl Fn() -> u64, limit: Duration) {
    let mut before = count();
    let mut is_told = false;
    let quiet = async {
        loop {
            sleep(QUIET).await;
            let now = count();
            if now == before {
                return;
            }
            before = now;
            if !std::mem::replace(&mut is_told, true) {
                let limit = limit.as_secs();
                tracing::info!(target: "dns-server", "queries still arrive: they are answered for at most {limit}s more");
            }
        }
    };
    if timeout(limit, quiet).await.is_err() && is_told {
        tracing::warn!(target: "dns-server", "queries still arrive: stopping nevertheless");
    }
}
