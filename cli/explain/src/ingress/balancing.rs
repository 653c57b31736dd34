//! The canary decision, affinity, and the endpoints of the backend.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ingress_routes::canary::{CanaryHeader, CanaryPolicy};
use ingress_routes::pools::{Pool, PoolMembers};
use ingress_routes::{BalancerState, Balancing, Exchange, Route, Upstream, UpstreamTarget};

use super::IngressViews;
use crate::tree::Tree;

/// The choice of the backend and its endpoints, and whether it has any.
pub(super) fn explain(
    upstream: &Upstream,
    exchange: &Exchange,
    views: &IngressViews<'_>,
) -> (Vec<Tree>, bool) {
    let mut parts = Vec::new();
    let chosen = |random| {
        let choice = upstream.choose(exchange, views.pools, &mut FixedRandom { random, now: views.now });
        (choice.target, choice.canary)
    };
    // The smallest and the largest random number: if they agree, the request decides and not the weight.
    let (low, high) = (chosen(0), chosen(u32::MAX));
    if let Some(canary) = &upstream.canary {
        let policy = &canary.policy;
        let decision = match (low.1, high.1) {
            (true, true) => "this request goes to the canary".to_owned(),
            (false, false) => "this request does not go to the canary".to_owned(),
            _ => {
                let (weight, total) = (policy.weight.min(policy.total), policy.total);
                format!(
                    "this request goes to the canary with the odds {weight} of {total}; the rest describes the main backend"
                )
            }
        };
        parts.push(
            Tree::new(format!("canary: Ingress {}: {decision}", canary.ingress)).with_all(conditions(policy)),
        );
    }
    if upstream.split.is_some() {
        parts
            .push(Tree::new("several backends share the requests by weight; the rest describes one of them"));
    }
    let target = if low.1 == high.1 { low.0 } else { high.0 };
    if let Some(affinity) = target.affinity() {
        let cookie = match (exchange.cookie(&affinity.name).is_some(), target.sets_affinity_cookie()) {
            (true, _) => "the request has it",
            (false, true) => "the request does not have it, and the response sets it",
            (false, false) => "the request does not have it, and on this path the response does not set it",
        };
        parts.push(Tree::new(format!(
            "affinity: cookie {}, mode {:?}; {cookie}",
            affinity.name, affinity.mode
        )));
    }
    if target.affinity().is_none() {
        parts.extend(balancing(target).map(Tree::new));
    }
    let has_endpoint = target.has_endpoints(views.pools);
    parts.push(endpoints(target, views));
    (parts, has_endpoint)
}

/// How the endpoints share requests, unless they take turns.
fn balancing(target: &UpstreamTarget) -> Option<&'static str> {
    Some(match &target.balancing {
        Balancing::RoundRobin => return None,
        Balancing::Ewma => "load-balance ewma: of two random endpoints, the faster one",
        Balancing::Hash(by) if by.subset_size.is_some() => {
            "upstream-hash-by: a random endpoint of those that the request's text selects"
        }
        Balancing::Hash(_) => "upstream-hash-by: the endpoint that the request's text selects",
    })
}

/// The endpoints of a route's main backend.
pub(super) fn endpoints_of(route: &Route, views: &IngressViews<'_>) -> Tree {
    match &route.upstream {
        Some(upstream) => endpoints(&upstream.primary, views),
        None => Tree::new("endpoints: there is no backend"),
    }
}

fn endpoints(target: &UpstreamTarget, views: &IngressViews<'_>) -> Tree {
    let tree = Tree::new(format!("backend: Service {}, port {}", target.pool.service, target.pool.port));
    match views.pools.get(&target.pool) {
        Some(pool) => tree.with_all(members(pool)),
        None => tree.with("no endpoints are known"),
    }
}

pub(crate) fn members(pool: &Pool) -> Vec<String> {
    match (pool.error(), pool.members()) {
        (Some(error), _) => vec![format!("the Service {error}")],
        (None, PoolMembers::External { host, port }) => {
            vec![format!("{host}:{port}, resolved for each connection")]
        }
        (None, PoolMembers::Endpoints(addresses)) if addresses.is_empty() => {
            vec!["no ready endpoint".to_owned()]
        }
        (None, PoolMembers::Endpoints(addresses)) => {
            addresses.iter().map(|address| format!("{address}, ready")).collect()
        }
    }
}

/// When a canary gets requests.
fn conditions(policy: &CanaryPolicy) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(header) = &policy.header {
        parts.push(match &policy.value {
            CanaryHeader::Keyword => format!("first: header {header}: always or never"),
            CanaryHeader::Equals(value) => format!("first: header {header}: {value:?}"),
            CanaryHeader::Matches(_) => {
                format!("first: header {header}, if it matches canary-by-header-pattern")
            }
            CanaryHeader::Invalid => format!("first: header {header}, whose pattern is invalid"),
        });
    }
    parts.extend(policy.cookie.as_ref().map(|cookie| format!("then: cookie {cookie}: always or never")));
    parts.push(format!("then: {} of {} requests", policy.weight, policy.total));
    parts
}

/// A balancer whose random numbers are always the same.
pub(super) struct FixedRandom {
    pub(super) random: u32,
    pub(super) now: Duration,
}

impl BalancerState for FixedRandom {
    fn random_below(&mut self, bound: u32) -> u32 {
        self.random.min(bound - 1)
    }

    fn round_robin_position(&mut self, _: &UpstreamTarget) -> usize {
        0
    }

    fn ewma_endpoint(
        &mut self,
        _: &UpstreamTarget,
        pool: &Arc<Pool>,
        _: &[SocketAddr],
    ) -> Option<SocketAddr> {
        pool.endpoints().first().copied()
    }

    fn unix_time(&self) -> Duration {
        self.now
    }

    fn worker_id(&self) -> u32 {
        0
    }
}
