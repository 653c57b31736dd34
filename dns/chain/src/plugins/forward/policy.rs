//! In which order upstreams are tried.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The `policy` option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyKind {
    Random,
    RoundRobin,
    Sequential,
}

/// The option with what it remembers.
pub(super) struct SelectionPolicy {
    kind: PolicyKind,
    turn: AtomicUsize,
}

/// Where one query begins, and by how much it goes on.
#[derive(Clone, Copy)]
pub(super) struct Selection {
    first: usize,
    stride: usize,
}

impl SelectionPolicy {
    pub(super) fn new(kind: PolicyKind) -> Self {
        Self { kind, turn: AtomicUsize::new(0) }
    }

    /// Draws the order for one query.
    pub(super) fn start(&self, count: usize) -> Selection {
        match self.kind {
            PolicyKind::Sequential => Selection { first: 0, stride: 1 },
            PolicyKind::RoundRobin => Selection { first: self.turn.fetch_add(1, Relaxed) % count, stride: 1 },
            PolicyKind::Random => Selection { first: fastrand::usize(..count), stride: stride(count) },
        }
    }

    /// The upstream to be tried after `step` others, each of them once in `count` steps.
    pub(super) fn nth(&self, start: Selection, step: usize, count: usize) -> usize {
        (start.first + step * start.stride) % count
    }
}

/// A random step that shares no divisor with the count, so that it leads to all of them; there are 15 at most.
fn stride(count: usize) -> usize {
    let divisor = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    loop {
        let stride = 1 + fastrand::usize(..count);
        if divisor(stride, count) == 1 {
            return stride;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_holds_every_upstream_once() {
        for kind in [PolicyKind::Random, PolicyKind::RoundRobin, PolicyKind::Sequential] {
            let policy = SelectionPolicy::new(kind);
            for count in 1..=15 {
                let start = policy.start(count);
                let mut order: Vec<_> = (0..count).map(|step| policy.nth(start, step, count)).collect();
                order.sort();
                assert_eq!(order, (0..count).collect::<Vec<_>>(), "{kind:?} of {count}");
            }
        }
        let policy = SelectionPolicy::new(PolicyKind::RoundRobin);
        let firsts: Vec<_> = (0..4).map(|_| policy.nth(policy.start(3), 0, 3)).collect();
        assert_eq!(firsts, [0, 1, 2, 0]);
    }
}
