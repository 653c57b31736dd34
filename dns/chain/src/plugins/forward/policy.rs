//! The order in which upstreams are tried.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The `policy` option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyKind {
    Random,
    RoundRobin,
    Sequential,
}

/// The policy and its state.
pub(super) struct SelectionPolicy {
    kind: PolicyKind,
    turn: AtomicUsize,
}

/// The order for one query: the first upstream and the step to the next.
#[derive(Clone, Copy)]
pub(super) struct UpstreamSelection {
    first: usize,
    stride: usize,
}

impl SelectionPolicy {
    pub(super) fn new(kind: PolicyKind) -> Self {
        Self { kind, turn: AtomicUsize::new(0) }
    }

    /// The value of the option.
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            PolicyKind::Random => "random",
            PolicyKind::RoundRobin => "round_robin",
            PolicyKind::Sequential => "sequential",
        }
    }

    /// Chooses the order for one query.
    pub(super) fn start(&self, count: usize) -> UpstreamSelection {
        match self.kind {
            PolicyKind::Sequential => UpstreamSelection { first: 0, stride: 1 },
            PolicyKind::RoundRobin => {
                UpstreamSelection { first: self.turn.fetch_add(1, Relaxed) % count, stride: 1 }
            }
            PolicyKind::Random => {
                UpstreamSelection { first: fastrand::usize(..count), stride: stride(count) }
            }
        }
    }

    /// The upstream to be tried after `step` others. In `count` steps each comes once.
    pub(super) fn nth(&self, start: UpstreamSelection, step: usize, count: usize) -> usize {
        (start.first + step * start.stride) % count
    }
}

/// A random step that is coprime to the number of upstreams (15 at most), so that it reaches all of them.
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
