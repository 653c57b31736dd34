//! Backends of one route that share its requests by weight (Gateway API v1, `backendRefs`). Ingresses have one backend and a canary.

use super::{BalancerState, UpstreamTarget};
use crate::exchange::Exchange;

/// Two or more backends.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedTargets {
    /// With the sum of the weights up to each.
    targets: Box<[(UpstreamTarget, u32)]>,
    total: u32,
}

impl WeightedTargets {
    /// Backends with their weights, each up to 1,000,000. Those with weight 0 get no requests. `None` if no two are left.
    pub fn new(targets: Vec<(UpstreamTarget, u32)>) -> Option<Self> {
        let mut total = 0_u32;
        let targets: Box<[_]> = targets
            .into_iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|(target, weight)| {
                total = total.saturating_add(weight);
                (target, total)
            })
            .collect();
        (targets.len() > 1).then_some(Self { targets, total })
    }

    /// The backend of a request: that of its affinity cookie, else a random one, which stays that of the request. One without endpoints
    /// keeps its share, whose requests get 503.
    pub(super) fn draw(&self, exchange: &Exchange, balancer: &mut impl BalancerState) -> &UpstreamTarget {
        if let Some((bound, _)) = self.targets.iter().find(|(target, _)| target.is_bound(exchange)) {
            return bound;
        }
        let at = exchange.drawn_backend.get().unwrap_or_else(|| {
            let drawn = balancer.random_below(self.total);
            self.targets.partition_point(|(_, end)| *end <= drawn)
        });
        exchange.drawn_backend.set(Some(at));
        &self.targets[at.min(self.targets.len() - 1)].0
    }
}

#[cfg(test)]
mod tests {
    use cluster::{Key, PortRef};

    use super::*;
    use crate::exchange::tests::get;
    use crate::options::PoolKey;
    use crate::testing::{FixedBalancer, TestCluster};
    use crate::upstream::Upstream;

    fn target(service: &str) -> UpstreamTarget {
        let pool = PoolKey { service: Key::new("default", service), port: PortRef::Number(80) };
        UpstreamTarget::new(pool, None, &"/".into())
    }

    #[test]
    fn requests_are_shared_by_weight() {
        let weights = vec![(target("a"), 1), (target("none"), 0), (target("b"), 3), (target("c"), 6)];
        let split = WeightedTargets::new(weights).expect("three backends");
        let upstream = Upstream { primary: target("a"), canary: None, split: Some(Box::new(split)) };
        // `b` has no endpoints, and keeps its share.
        let cluster = TestCluster::new("").services("a 80 10.0.0.1\nc 80 10.0.0.2");
        let pools = cluster.pools.load();
        let chosen: Vec<String> = (0..10)
            .map(|number| {
                let exchange = get("a.example/", &[]);
                let chosen = upstream.choose(&exchange, &pools, &mut FixedBalancer::number(number));
                chosen.target.pool.service.name.to_string()
            })
            .collect();
        assert_eq!(chosen.join(""), "abbbcccccc");
    }

    #[test]
    fn the_backend_of_a_request_is_drawn_once() {
        let split = WeightedTargets::new(vec![(target("a"), 1), (target("b"), 1)]).expect("two backends");
        let upstream = Upstream { primary: target("a"), canary: None, split: Some(Box::new(split)) };
        let exchange = get("a.example/", &[]);
        let first = upstream.backend(&exchange, &mut FixedBalancer::number(1));
        assert_eq!(first.name, "default-b-80");
        assert_eq!(upstream.backend(&exchange, &mut FixedBalancer::number(0)).name, first.name);
        let pools = TestCluster::new("").services("a 80 10.0.0.1").pools.load_full();
        let chosen = upstream.choose(&exchange, &pools, &mut FixedBalancer::number(0));
        assert_eq!(chosen.target.name, first.name);
    }

    #[test]
    fn fewer_than_two_backends_with_a_weight_are_no_split() {
        assert_eq!(WeightedTargets::new(vec![(target("a"), 5), (target("b"), 0)]), None);
        assert_eq!(WeightedTargets::new(Vec::new()), None);
        let most = WeightedTargets::new(vec![(target("a"), u32::MAX), (target("b"), 1)]).expect("a split");
        let exchange = get("a.example/", &[]);
        assert_eq!(most.draw(&exchange, &mut FixedBalancer::number(u32::MAX)).name, "default-a-80");
    }
}
