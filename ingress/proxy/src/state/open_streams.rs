//! The open streams and UDP sessions of a worker, and which of them have to end.
//!
//! ingress-nginx reloads nginx for every change of the ConfigMap, and all streams end after `worker-shutdown-timeout`. Here only those have
//! to end whose entry was removed or leads to another Service, after the same time.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use ingress_routes::{StreamService, Streams};

/// The streams and sessions of a worker.
#[derive(Default)]
pub(crate) struct OpenStreams {
    streams: Rc<RefCell<HashMap<u64, Rc<OpenStream>, RandomState>>>,
    next: Cell<u64>,
    /// The view of the last sweep, and whether a stream had to end by it.
    swept: RefCell<Option<Arc<Streams>>>,
    has_leaving: Cell<bool>,
}

/// An open stream.
pub(crate) struct OpenStream {
    service: Arc<StreamService>,
    /// When its entry was found to be gone, in milliseconds of the worker's clock.
    leaving_since: Cell<Option<u64>>,
    is_cut: Cell<bool>,
}

/// Removes the stream when it is dropped.
pub(crate) struct StreamGuard {
    streams: Rc<RefCell<HashMap<u64, Rc<OpenStream>, RandomState>>>,
    number: u64,
    stream: Rc<OpenStream>,
}

impl OpenStreams {
    /// Adds a stream.
    pub(crate) fn add(&self, service: Arc<StreamService>) -> StreamGuard {
        let number = self.next.get();
        self.next.set(number + 1);
        let stream =
            Rc::new(OpenStream { service, leaving_since: Cell::new(None), is_cut: Cell::new(false) });
        self.streams.borrow_mut().insert(number, stream.clone());
        StreamGuard { streams: self.streams.clone(), number, stream }
    }

    /// Marks the streams that have to end now. Returns whether there is one.
    pub(crate) fn sweep(&self, streams: &Arc<Streams>, now: u64, keep: Duration) -> bool {
        let is_same = self.swept.borrow().as_ref().is_some_and(|swept| Arc::ptr_eq(swept, streams));
        if is_same && !self.has_leaving.get() {
            return false;
        }
        self.swept.replace(Some(streams.clone()));
        let keep = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let (mut has_leaving, mut is_any_cut) = (false, false);
        for stream in self.streams.borrow().values().filter(|stream| !stream.is_cut.get()) {
            let current = streams.get(stream.service.protocol, stream.service.port);
            if current.is_some_and(|current| current.target == stream.service.target) {
                stream.leaving_since.set(None);
                continue;
            }
            let since = stream.leaving_since.get().unwrap_or(now);
            stream.leaving_since.set(Some(since));
            if now.saturating_sub(since) >= keep {
                stream.is_cut.set(true);
                is_any_cut = true;
            } else {
                has_leaving = true;
            }
        }
        self.has_leaving.set(has_leaving);
        is_any_cut
    }
}

impl StreamGuard {
    /// Whether the stream has to end.
    pub(crate) fn is_cut(&self) -> bool {
        self.stream.is_cut.get()
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.streams.borrow_mut().remove(&self.number);
    }
}
