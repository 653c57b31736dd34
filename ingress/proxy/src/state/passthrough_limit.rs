//! How many connections a worker passes through at once.

use std::cell::Cell;
use std::rc::Rc;

/// A count of the connections that are passed through.
#[derive(Debug, Default)]
pub(crate) struct PassthroughLimit(Rc<Cell<usize>>);

/// Counts a connection until it is dropped.
pub(crate) struct PassthroughPermit(Rc<Cell<usize>>);

impl PassthroughLimit {
    /// A permit for one connection more, if half of the connections that clients may have are left for others.
    pub(crate) fn enter(&self, clients: usize) -> Option<PassthroughPermit> {
        if self.0.get() >= (clients / 2).max(1) {
            return None;
        }
        self.0.set(self.0.get() + 1);
        Some(PassthroughPermit(self.0.clone()))
    }
}

impl Drop for PassthroughPermit {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_connections_of_clients_may_be_passed_through() {
        let limit = PassthroughLimit::default();
        let permits: Vec<_> = std::iter::from_fn(|| limit.enter(8)).collect();
        assert_eq!(permits.len(), 4);
        drop(permits);
        assert!(limit.enter(1).is_some());
    }
}
