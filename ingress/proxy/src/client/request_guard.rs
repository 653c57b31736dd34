//! A guard that logs and counts each request exactly once, however it ends.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::client::connection_state::ConnectionState;
use crate::observe::access_log::AccessRecord;
use crate::state::client_table::ClientEntry;
use crate::state::worker::Worker;

/// Keeps a request open. Dropping it ends the request: it is logged and counted, and the connection waits for the next.
pub(crate) struct RequestGuard {
    record: Option<Box<AccessRecord>>,
    worker: Rc<Worker>,
    /// The connection's state for HTTP/1; `None` for HTTP/2.
    state: Option<Rc<ConnectionState>>,
    entry: Rc<ClientEntry>,
    /// It began after the time that the client had to react to GOAWAY.
    late: bool,
}

impl RequestGuard {
    pub(crate) fn new(
        record: AccessRecord,
        worker: Rc<Worker>,
        state: Option<Rc<ConnectionState>>,
        entry: Rc<ClientEntry>,
    ) -> Self {
        if entry.open_requests() == 0 {
            worker.connections.writing.inc();
        }
        let late = entry.begin_request();
        Self { record: Some(Box::new(record)), worker, state, entry, late }
    }

    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// The connection in the worker's table.
    pub(crate) fn entry(&self) -> &ClientEntry {
        &self.entry
    }

    /// Whether the client speaks HTTP/1.
    pub(crate) fn is_http1(&self) -> bool {
        self.state.is_some()
    }
}

impl Deref for RequestGuard {
    type Target = AccessRecord;

    fn deref(&self) -> &AccessRecord {
        self.record.as_ref().expect("only dropping takes it")
    }
}

impl DerefMut for RequestGuard {
    fn deref_mut(&mut self) -> &mut AccessRecord {
        self.record.as_mut().expect("only dropping takes it")
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        self.entry.end_request(self.late, self.worker.clock.now());
        if self.entry.open_requests() == 0 {
            self.worker.connections.writing.dec();
        }
        if let Some(state) = &self.state {
            record.body_bytes = state.body_bytes();
            state.end(self.worker.options.keep_alive);
        }
        self.worker.finish(*record);
    }
}
