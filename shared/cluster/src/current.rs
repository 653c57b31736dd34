//! The cell through which readers see the current view.

use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, Guard};

/// A shared cell with the current view. Readers load it once per packet or request and never wait.
pub struct Current<V>(Arc<Cell<V>>);

/// Called when the last reader of a cell has dropped it.
pub(crate) type OnUnused = Arc<dyn Fn() + Send + Sync>;

struct Cell<V> {
    view: ArcSwap<V>,
    on_unused: Option<OnUnused>,
}

impl<V> Current<V> {
    /// A cell with this view.
    pub fn new(view: V) -> Self {
        Self(Arc::new(Cell { view: ArcSwap::from_pointee(view), on_unused: None }))
    }

    pub(crate) fn with_callback(view: V, on_unused: Option<OnUnused>) -> Self {
        Self(Arc::new(Cell { view: ArcSwap::from_pointee(view), on_unused }))
    }

    /// The current view. Hold the guard only while answering one packet or request.
    pub fn load(&self) -> Guard<Arc<V>> {
        self.0.view.load()
    }

    /// The current view, to be held for longer.
    pub fn load_full(&self) -> Arc<V> {
        self.0.view.load_full()
    }

    /// Replaces the view.
    pub fn store(&self, view: Arc<V>) {
        self.0.view.store(view);
    }

    /// A weak reference for the writer, which does not count as a reader.
    pub(crate) fn downgrade(&self) -> WeakCurrent<V> {
        WeakCurrent(Arc::downgrade(&self.0))
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

impl<V> Drop for Cell<V> {
    fn drop(&mut self) {
        if let Some(on_unused) = &self.on_unused {
            on_unused();
        }
    }
}

/// The writer's weak reference to a cell, which is dropped with its last reader.
pub(crate) struct WeakCurrent<V>(Weak<Cell<V>>);

impl<V> WeakCurrent<V> {
    /// True while the cell has readers.
    pub(crate) fn has_readers(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// The cell, if it has readers.
    pub(crate) fn upgrade(&self) -> Option<Current<V>> {
        self.0.upgrade().map(Current)
    }
}
