//! Randomness, round robin and time for choosing an endpoint.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ingress_routes::{BalancerState, UpstreamTarget};

use crate::state::worker::Worker;

/// The worker's state that choosing an endpoint needs.
pub(crate) struct BalancerContext<'w>(&'w Worker);

impl Worker {
    pub(crate) fn balancer(&self) -> BalancerContext<'_> {
        BalancerContext(self)
    }
}

impl BalancerState for BalancerContext<'_> {
    fn random_below(&mut self, bound: u32) -> u32 {
        self.0.random.borrow_mut().u32(0..bound.max(1))
    }

    /// Starts at a random endpoint, as in ingress-nginx: otherwise all workers would start at the same one.
    fn round_robin_position(&mut self, upstream: &UpstreamTarget) -> usize {
        let mut turns = self.0.turns.borrow_mut();
        if let Some(turn) = turns.get_mut(&upstream.pool) {
            *turn = turn.wrapping_add(1);
            return *turn;
        }
        let first = self.0.random.borrow_mut().usize(..);
        turns.insert(upstream.pool.clone(), first);
        first
    }

    fn unix_time(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn worker_id(&self) -> u32 {
        self.0.number
    }
}
