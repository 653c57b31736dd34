//! How many copies of requests for `mirror-target` a worker has open, and the memory of their bodies.

use std::cell::Cell;
use std::rc::Rc;

/// How many copies a worker has open. A server that does not answer keeps each for `proxy-read-timeout`.
const MAX_COPIES: usize = 256;
/// How many bytes all their bodies may have.
const MAX_BYTES: usize = 8 << 20;
/// How long a body that is copied may be: the default of `proxy-body-size`.
pub(crate) const MAX_BODY: usize = 1 << 20;

/// The open copies of a worker.
#[derive(Debug, Default)]
pub(crate) struct MirrorLimit {
    open: Cell<usize>,
    bytes: Cell<usize>,
}

/// An open copy. Dropping it ends the copy.
#[derive(Debug)]
pub(crate) struct CopySlot {
    limit: Rc<MirrorLimit>,
    /// The bytes of its body.
    bytes: usize,
}

impl MirrorLimit {
    /// A slot for a copy; `None` if too many are open.
    pub(crate) fn slot(self: &Rc<Self>) -> Option<CopySlot> {
        if self.open.get() >= MAX_COPIES {
            return None;
        }
        self.open.set(self.open.get() + 1);
        Some(CopySlot { limit: self.clone(), bytes: 0 })
    }
}

impl CopySlot {
    /// Adds bytes of the body; false if that is too much.
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        let total = self.limit.bytes.get() + bytes;
        if self.bytes + bytes > MAX_BODY || total > MAX_BYTES {
            return false;
        }
        self.bytes += bytes;
        self.limit.bytes.set(total);
        true
    }
}

impl Drop for CopySlot {
    fn drop(&mut self) {
        self.limit.open.set(self.limit.open.get() - 1);
        self.limit.bytes.set(self.limit.bytes.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_and_the_bytes_of_their_bodies_are_limited() {
        let limit = Rc::new(MirrorLimit::default());
        let mut open: Vec<_> = std::iter::from_fn(|| limit.slot()).collect();
        assert_eq!(open.len(), MAX_COPIES);
        open.pop();
        assert!(limit.slot().is_some());
        assert!(open[0].add(MAX_BODY) && !open[0].add(1), "one body");
        let with_body = open.iter_mut().skip(1).filter_map(|slot| slot.add(MAX_BODY).then_some(())).count();
        assert_eq!((1 + with_body) * MAX_BODY, MAX_BYTES, "all bodies");
        assert!(!open[MAX_COPIES - 2].add(1));
        open.clear();
        assert_eq!((limit.open.get(), limit.bytes.get()), (0, 0));
    }
}
