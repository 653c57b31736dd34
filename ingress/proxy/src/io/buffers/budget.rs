//! How many bytes a worker may buffer, and how many it does.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::Notify;

/// The smallest budget of a worker, however many workers there are.
const WORKER_LEAST: usize = 16 << 20;

/// How many bytes a worker may buffer.
#[derive(Debug)]
pub(crate) struct BufferBudget {
    limit: usize,
    pub(super) used: Cell<usize>,
    exceeded: Notify,
    /// For the metrics: the bytes that all workers buffer.
    shown: Arc<AtomicU64>,
    /// This worker's part of `shown`.
    last_shown: Cell<u64>,
}

impl BufferBudget {
    /// A worker's share of the budget of all workers.
    pub(crate) fn new(total: usize, workers: usize, shown: Arc<AtomicU64>) -> Rc<Self> {
        let limit = (total / workers.max(1)).max(WORKER_LEAST.min(total));
        Rc::new(Self { limit, used: Cell::new(0), exceeded: Notify::new(), shown, last_shown: Cell::new(0) })
    }

    /// Waits until the budget is exceeded.
    pub(crate) async fn exceeded(&self) {
        self.exceeded.notified().await;
    }

    /// By how many bytes the budget is exceeded.
    pub(crate) fn excess(&self) -> usize {
        self.used.get().saturating_sub(self.limit)
    }

    /// Brings the metrics up to date.
    pub(crate) fn show(&self) {
        let (now, before) = (self.used.get() as u64, self.last_shown.get());
        self.shown.fetch_add(now.wrapping_sub(before), Relaxed);
        self.last_shown.set(now);
    }

    /// Whether half of the budget is used.
    pub(super) fn is_tight(&self) -> bool {
        self.used.get() > self.limit / 2
    }

    /// Whether no more than a quarter of the budget is used.
    pub(super) fn has_room_for_uploads(&self) -> bool {
        self.used.get() <= self.limit / 4
    }

    /// Counts so many bytes as buffered.
    pub(super) fn add(&self, bytes: usize) {
        self.used.set(self.used.get() + bytes);
        if self.used.get() > self.limit {
            self.exceeded.notify_one();
        }
    }

    /// Counts so many bytes as buffered no longer.
    pub(super) fn remove(&self, bytes: usize) {
        self.used.set(self.used.get() - bytes);
    }
}

impl Drop for BufferBudget {
    fn drop(&mut self) {
        self.used.set(0);
        self.show();
    }
}
