//! The bytes of a request body that are kept, for a retry or until the body is complete.

use std::rc::Rc;

use super::BufferUse;

/// How many bytes of request bodies that are received before they are sent a connection may hold.
pub(super) const RECEIVED_OF_CONNECTION: usize = 2 << 20;

/// Bytes of a request body that are kept for a retry. They count as buffered until this is dropped.
#[derive(Debug)]
pub(crate) struct BufferHold {
    connection: Rc<BufferUse>,
    bytes: usize,
}

impl BufferHold {
    /// Holds nothing yet.
    pub(crate) fn new(connection: Rc<BufferUse>) -> Self {
        Self { connection, bytes: 0 }
    }

    /// Adds bytes; false, without adding them, if half of the worker's budget is used.
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        if self.connection.is_tight() {
            return false;
        }
        self.bytes += bytes;
        self.connection.add(bytes);
        true
    }

    /// Adds bytes of a body that is received before it is sent; false, without adding them, if a quarter of the worker's budget or the
    /// part of the connection is used: uploads must not make responses wait.
    pub(crate) fn add_received(&mut self, bytes: usize) -> bool {
        let has_room = self.connection.budget.has_room_for_uploads()
            && self.connection.bytes() + bytes <= RECEIVED_OF_CONNECTION;
        has_room && self.add(bytes)
    }

    /// Removes a part of a received body that its request has read.
    pub(crate) fn take(&self, bytes: usize) {
        self.connection.take(bytes);
    }

    /// Releases all kept bytes.
    pub(crate) fn clear(&mut self) {
        self.connection.remove(std::mem::take(&mut self.bytes));
    }
}

impl Drop for BufferHold {
    fn drop(&mut self) {
        self.clear();
    }
}
