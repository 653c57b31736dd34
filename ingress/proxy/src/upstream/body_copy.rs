//! A copy of a request's body, made while the body is on its way to the endpoint.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::upstream::mirror_limit::CopySlot;

/// A copy that is not complete. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct BodyCopy {
    bytes: Vec<u8>,
    /// The length of the body, if the head of the request says it.
    length: Option<u64>,
    slot: CopySlot,
    done: oneshot::Sender<CompleteCopy>,
}

/// The whole body, and the slot of the copy.
pub(crate) type CompleteCopy = (Bytes, CopySlot);

impl BodyCopy {
    /// An empty copy, and where it arrives when it is complete.
    pub(crate) fn new(length: Option<u64>, slot: CopySlot) -> (Self, oneshot::Receiver<CompleteCopy>) {
        let (done, complete) = oneshot::channel();
        (Self { bytes: Vec::new(), length, slot, done }, complete)
    }

    /// Adds a piece; `None` once the copy is complete, or too long.
    pub(crate) fn push(mut self, data: &[u8]) -> Option<Self> {
        if !self.slot.add(data.len()) {
            return None;
        }
        self.bytes.extend_from_slice(data);
        if self.length == Some(self.bytes.len() as u64) {
            self.complete();
            return None;
        }
        Some(self)
    }

    /// The body has ended.
    pub(crate) fn complete(self) {
        // If the worker stops, no task waits for it.
        let _ = self.done.send((self.bytes.into(), self.slot));
    }
}
