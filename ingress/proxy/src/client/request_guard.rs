//! A guard that logs and counts each request exactly once, however it ends.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::client::connection::ClientConnection;
use crate::client::response_head::ResponseTraits;
use crate::observe::access_log::AccessRecord;
use crate::state::client_table::ClientEntry;
use crate::state::worker::Worker;

/// Keeps a request open. Dropping it ends the request: it is logged and counted.
pub(crate) struct RequestGuard {
    /// `None` once the guard is dropped.
    record: Option<Box<AccessRecord>>,
    client: Rc<ClientConnection>,
    pub(crate) traits: ResponseTraits,
    /// It began after the time that the client had to react to GOAWAY.
    late: bool,
}

const HAS_RECORD: &str = "a guard has its record until it is dropped";

impl RequestGuard {
    pub(crate) fn new(
        record: Box<AccessRecord>,
        client: Rc<ClientConnection>,
        traits: ResponseTraits,
    ) -> Self {
        if client.entry.open_requests() == 0 {
            client.worker.connections.writing.inc();
        }
        let late = client.entry.begin_request();
        Self { record: Some(record), client, traits, late }
    }

    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.client.worker
    }

    /// The connection in the worker's table.
    pub(crate) fn entry(&self) -> &ClientEntry {
        &self.client.entry
    }

    /// Whether the client speaks HTTP/1.
    pub(crate) fn is_http1(&self) -> bool {
        self.client.is_http1()
    }
}

impl Deref for RequestGuard {
    type Target = AccessRecord;

    fn deref(&self) -> &AccessRecord {
        self.record.as_ref().expect(HAS_RECORD)
    }
}

impl DerefMut for RequestGuard {
    fn deref_mut(&mut self) -> &mut AccessRecord {
        self.record.as_mut().expect(HAS_RECORD)
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        let ClientConnection { worker, entry, http1, .. } = &*self.client;
        entry.end_request(self.late, worker.clock.now());
        if entry.open_requests() == 0 {
            worker.connections.writing.dec();
        }
        if let Some(http1) = http1 {
            record.body_bytes = http1.stream.body_bytes();
        }
        worker.finish(&mut record, self.client.logged());
        worker.memory.recycle_record(record);
    }
}
