//! The cell through which readers see the current view.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, Cache, Guard};

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

    /// The views of this cell for one thread.
    pub fn local(&self) -> LocalView<V> {
        let cache = Cache::new(ViewCell(self.clone()));
        LocalView {
            held: RefCell::new(Rc::new(HeldView(cache.arc_swap().load_full()))),
            cache: RefCell::new(cache),
        }
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

/// The current view for one thread, which keeps the view that it has loaded last until it loads the next one.
///
/// Hot: loading it takes one comparison, while [`Current::load`] takes two locked instructions.
pub struct LocalView<V> {
    cache: RefCell<Cache<ViewCell<V>, Arc<V>>>,
    /// The same view, with a count of this thread.
    held: RefCell<Rc<HeldView<V>>>,
}

/// A view that one thread holds.
#[derive(Debug)]
pub struct HeldView<V>(Arc<V>);

impl<V> Deref for HeldView<V> {
    type Target = Arc<V>;

    fn deref(&self) -> &Arc<V> {
        &self.0
    }
}

impl<V> LocalView<V> {
    /// The current view. Hold it only while answering one request.
    pub fn load(&self) -> Rc<HeldView<V>> {
        let mut cache = self.cache.borrow_mut();
        let (current, mut held) = (cache.load(), self.held.borrow_mut());
        if !Arc::ptr_eq(current, &held) {
            *held = Rc::new(HeldView(current.clone()));
        }
        held.clone()
    }
}

/// The cell as its view's container.
struct ViewCell<V>(Current<V>);

impl<V> Deref for ViewCell<V> {
    type Target = ArcSwap<V>;

    fn deref(&self) -> &ArcSwap<V> {
        &self.0.0.view
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_s_view_follows_the_cell_and_releases_the_one_before() {
        let current = Current::new(1);
        let local = current.local();
        let (first, weak) = (local.load(), Arc::downgrade(&current.load_full()));
        assert!(Rc::ptr_eq(&first, &local.load()), "no new view");
        current.store(Arc::new(2));
        assert_eq!((***first, ***local.load()), (1, 2));
        drop(first);
        assert_eq!(weak.strong_count(), 0);
    }
}
