//! The endpoint of an attempt.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cluster::Protocol;
use ingress_routes::pools::PoolMembers;
use ingress_routes::upstream::round_robin;
use ingress_routes::{StreamService, StreamSettings};
use smallvec::SmallVec;

use crate::state::worker::Worker;

/// How many endpoints are tried where `proxy-stream-next-upstream-tries` sets no limit.
const MAX_ATTEMPTS: u32 = 100;

/// The endpoints that a stream or session has tried, and how many more it may try.
pub(super) struct Attempts {
    tried: SmallVec<[SocketAddr; 3]>,
    left: u32,
    /// No attempt begins after this time.
    until: Option<Instant>,
}

impl Attempts {
    pub(super) fn new(settings: &StreamSettings, now: Instant) -> Self {
        let left = match (settings.next_upstream, settings.next_upstream_tries) {
            (false, _) => 1,
            (true, 0) => MAX_ATTEMPTS,
            (true, tries) => tries,
        };
        let limit = Some(settings.next_upstream_timeout).filter(|limit| *limit > Duration::ZERO);
        Self { tried: SmallVec::new(), left, until: limit.and_then(|limit| now.checked_add(limit)) }
    }

    /// An endpoint of the service that was not tried, in turn; `None` if there is none or no other may be tried.
    pub(super) async fn next(&mut self, worker: &Worker, service: &StreamService) -> Option<SocketAddr> {
        let is_late = !self.tried.is_empty() && self.until.is_some_and(|until| Instant::now() > until);
        if self.left == 0 || is_late {
            return None;
        }
        let address = self.choose(worker, service).await.filter(|address| !self.tried.contains(address))?;
        self.tried.push(address);
        self.left -= 1;
        Some(address)
    }

    async fn choose(&self, worker: &Worker, service: &StreamService) -> Option<SocketAddr> {
        let random = || worker.random() as usize;
        let turn = worker.streams.turn(service.protocol, service.port, random);
        // The endpoints of now, which may have changed since the stream began.
        let current = worker.views.streams.load().get(service.protocol, service.port).cloned();
        let current = current.filter(|current| current.target == service.target);
        let pool = current.as_ref().map_or(&service.pool, |current| &current.pool);
        match pool.members() {
            PoolMembers::Endpoints(endpoints) => round_robin(endpoints, &self.tried, turn),
            PoolMembers::External { host, port } => {
                let found = worker.resolver.addresses(host, *port, false).await;
                let found = found
                    .inspect_err(|error| worker.upstream_log.failed(&service.upstream_name(), host, error));
                round_robin(&found.ok()?, &self.tried, turn)
            }
        }
    }
}

/// Whether a connection with these addresses at its ends leads to a port of a service of this proxy: it would loop for ever.
pub(super) fn is_own_port(
    worker: &Worker,
    protocol: Protocol,
    local: SocketAddr,
    endpoint: SocketAddr,
) -> bool {
    // A connection to this machine has the same address at both ends.
    local.ip().to_canonical() == endpoint.ip().to_canonical()
        && worker.views.streams.load().get(protocol, endpoint.port()).is_some_and(|service| service.is_open())
}
