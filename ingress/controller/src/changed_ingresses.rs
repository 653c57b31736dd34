//! The Ingresses that changed while this process is the leader.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cluster::{Key, ObjectChange};
use foldhash::fast::RandomState;
use sources::Cluster;
use tokio::sync::Notify;

/// A set of Ingresses.
pub(crate) type Keys = HashSet<Key, RandomState>;

/// Ingresses that changed while this process is the leader.
#[derive(Default)]
pub(crate) struct ChangedIngresses {
    is_leader: AtomicBool,
    /// Whether something reads the changes of statuses.
    reads_status: bool,
    keys: Mutex<ChangedKeys>,
    /// Notified of changes for the status.
    pub(crate) status: Notify,
    /// Notified of changes for Events.
    pub(crate) events: Notify,
}

#[derive(Default)]
struct ChangedKeys {
    /// Ingresses that have changed, or whose status has.
    status: Keys,
    /// Ingresses that have changed.
    spec: Keys,
}

impl ChangedIngresses {
    /// Records the changes of a cluster from now on.
    pub(crate) fn follow(cluster: &Cluster, reads_status: bool) -> Arc<Self> {
        let changed = Arc::new(Self { reads_status, ..Self::default() });
        let observer = changed.clone();
        cluster.observe(move |_, touched| observer.record(touched));
        changed
    }

    /// Runs on the thread of the watch cache.
    fn record(&self, touched: &[ObjectChange]) {
        if !self.is_leader.load(Ordering::Relaxed) {
            return;
        }
        let mut keys = self.lock();
        for one in touched {
            match one {
                ObjectChange::Ingress(change) if change.after.is_some() => {
                    keys.spec.insert(one.summary().0);
                    if self.reads_status {
                        keys.status.insert(one.summary().0);
                    }
                }
                ObjectChange::IngressStatus(change) if change.after.is_some() && self.reads_status => {
                    keys.status.insert(one.summary().0);
                }
                _ => {}
            }
        }
        drop(keys);
        self.status.notify_one();
        self.events.notify_one();
    }

    /// Begins or ends the recording.
    pub(crate) fn set_leader(&self, is_leader: bool) {
        self.is_leader.store(is_leader, Ordering::Relaxed);
        *self.lock() = ChangedKeys::default();
    }

    /// Ingresses that have changed, or whose status has.
    pub(crate) fn take_for_status(&self) -> Keys {
        std::mem::take(&mut self.lock().status)
    }

    /// Ingresses that have changed.
    pub(crate) fn take_for_events(&self) -> Keys {
        std::mem::take(&mut self.lock().spec)
    }

    fn lock(&self) -> MutexGuard<'_, ChangedKeys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
