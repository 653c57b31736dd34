//! Plans that many routes share: most Ingresses have few annotations or none, so that their routes handle requests in the same way.
//!
//! A shared plan takes the memory of one, and its filters stay in the caches of the processor whichever of the hosts gets the requests.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Plan;

/// How many plans are remembered. Those of Ingresses without settings differ only where a key of the ConfigMap distinguishes paths.
const REMEMBERED: usize = 16;

/// The plans of routes whose Ingresses have no settings of their own.
#[derive(Debug, Default)]
pub(crate) struct SharedPlans(Mutex<Vec<(String, Weak<Plan>)>>);

impl SharedPlans {
    /// A plan that handles requests like this one. Only for plans without secrets and counters, which [`Plan::description`] omits.
    pub(crate) fn shared(&self, plan: Plan) -> Arc<Plan> {
        let description = plan.description();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = known.iter().find(|(text, _)| *text == description);
        if let Some(plan) = same.and_then(|(_, plan)| plan.upgrade()) {
            return plan;
        }
        let plan = Arc::new(plan);
        known.retain(|(_, plan)| plan.strong_count() > 0);
        if known.len() < REMEMBERED {
            known.push((description, Arc::downgrade(&plan)));
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::TestCluster;

    const INGRESSES: &str = "
metadata: {name: one}
spec: {rules: [{host: one.example, paths: [[/, Prefix, web], [/.well-known/acme-challenge, Prefix, web]]}]}
---
metadata: {name: two}
spec: {rules: [{host: two.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: own, annotations: {proxy-read-timeout: '7'}}
spec: {rules: [{host: own.example, paths: [[/, Prefix, web]]}]}
";

    #[test]
    fn ingresses_without_settings_share_a_plan() {
        let cluster = TestCluster::new(INGRESSES);
        let table = cluster.table.load_full();
        let plan = |host: &str, path: &str| std::sync::Arc::as_ptr(&table.find(host, path).route().plan);
        let one = plan("one.example", "/");
        assert_eq!(one, plan("two.example", "/"));
        assert_ne!(one, plan("own.example", "/"), "it has another timeout");
        assert_ne!(one, plan("one.example", "/.well-known/acme-challenge"), "it is not redirected to https");
    }
}
