//! The bytes of an HTTP/1 response that wait for its client.

use std::rc::Rc;

use super::{BufferUse, SMALL_PIECE};

/// The bytes of an HTTP/1 response that wait for its client: one piece.
#[derive(Debug)]
pub(crate) struct Buffered {
    connection: Rc<BufferUse>,
    bytes: usize,
}

impl Buffered {
    pub(crate) fn new(connection: Rc<BufferUse>) -> Self {
        Self { connection, bytes: 0 }
    }

    /// How many bytes may be read for the next piece, which is read when the client has taken this one.
    pub(crate) fn allowance(&self) -> usize {
        if self.connection.is_tight() { SMALL_PIECE } else { usize::MAX }
    }

    /// Counts so many bytes as buffered.
    pub(crate) fn hold(&mut self, bytes: usize) {
        self.release_to(bytes);
        self.connection.add(bytes - self.bytes);
        self.bytes = bytes;
    }

    /// Counts no more than so many bytes as buffered.
    pub(crate) fn release_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.connection.remove(self.bytes - bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.release_to(0);
    }
}
