//! Randomness, round robin and time for choosing an endpoint.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ingress_routes::{BalancerState, Balancing, EwmaScores, Pool, UpstreamTarget};

use crate::observe::access_log::AccessRecord;
use crate::state::worker::Worker;

/// The worker's state that choosing an endpoint needs.
pub(crate) struct BalancerContext<'w>(&'w Worker);

impl Worker {
    pub(crate) fn balancer(&self) -> BalancerContext<'_> {
        BalancerContext(self)
    }

    /// The scores of `load-balance: ewma` follow the last attempt of a request that has ended. Hot: one comparison with other balancing.
    pub(super) fn measure(&self, record: &AccessRecord) {
        let Some(target) = record.target().filter(|target| target.balancing == Balancing::Ewma) else {
            return;
        };
        let Some(last) = record.attempts.last() else { return };
        let Ok(endpoint) = last.name.parse::<SocketAddr>() else { return };
        let time = last.connected.unwrap_or_default() + last.ended.unwrap_or_default();
        let now = self.since_start();
        if let Some(scores) = self.scores.borrow_mut().get_mut(&target.pool) {
            scores.measured(endpoint, time, now);
        }
    }

    /// The time since the worker has started.
    fn since_start(&self) -> Duration {
        self.clock.instant().saturating_duration_since(self.started)
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

    fn ewma_endpoint(
        &mut self,
        upstream: &UpstreamTarget,
        pool: &Arc<Pool>,
        tried: &[SocketAddr],
    ) -> Option<SocketAddr> {
        let Self(worker) = *self;
        let mut scores = worker.scores.borrow_mut();
        let mut random = worker.random.borrow_mut();
        let mut pick = |scores: &mut EwmaScores| {
            scores.pick(pool, tried, worker.since_start(), |bound| random.u32(0..bound.max(1)))
        };
        match scores.get_mut(&upstream.pool) {
            Some(scores) => pick(scores),
            None => pick(scores.entry(upstream.pool.clone()).or_default()),
        }
    }

    fn unix_time(&self) -> Duration {
        self.0.clock.unix_now()
    }

    fn worker_id(&self) -> u32 {
        self.0.number
    }
}
