//! The view that readers see right now.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

/// A shared cell with the current view. Readers load it once per packet or request and never wait.
pub struct Current<V>(Arc<ArcSwap<V>>);

impl<V> Current<V> {
    /// A cell that shows `view`.
    pub fn new(view: V) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(view)))
    }

    /// The view now. Hold the guard only as long as the answer takes.
    pub fn load(&self) -> Guard<Arc<V>> {
        self.0.load()
    }

    /// The view now, to be kept for longer.
    pub fn load_full(&self) -> Arc<V> {
        self.0.load_full()
    }

    /// Shows another view from now on.
    pub fn store(&self, view: Arc<V>) {
        self.0.store(view);
    }

    /// True while somebody else holds the cell.
    pub(crate) fn is_read(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl<V> Clone for Current<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V: std::fmt::Debug> std::fmt::Debug for Current<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Current").field(&*self.load()).finish()
    }
}
