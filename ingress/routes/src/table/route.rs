//! A route: how the requests of one rule are handled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use cluster::{CompactString, Key, PathType, PortRef};
use http::{HeaderName, StatusCode, header};
use ingress_wire::framing::MessageFraming;

use crate::exchange::Exchange;
use crate::pattern::StepBudget;
use crate::plan::Plan;
use crate::plan::filter::{DirectResponse, FilterOutcome};
use crate::plan::head_edits::HeadEdits;
use crate::pools::Pools;
use crate::problem::{Effect, RoutingProblem};
use crate::upstream::{BalancerState, DEFAULT_UPSTREAM, Upstream};

/// How the requests that a rule covers are handled. Names are in the form of logs and metrics.
#[derive(Debug)]
pub struct Route {
    /// The host of the rule: a name, a wildcard, or `_` for every other host.
    pub host: CompactString,
    /// The path as written; `/` if it is missing.
    pub path: CompactString,
    /// Exact or Prefix. On hosts with regular expressions both are prefixes.
    pub kind: PathType,
    /// The Ingress of the rule; `None` if no Ingress has the host.
    pub ingress: Option<Key>,
    /// Name and port of the Service of the rule; `None` for the default backend.
    pub service: Option<(CompactString, PortRef)>,
    /// Why every request is answered 503.
    pub denied: Option<String>,
    /// Effects of annotations and the ConfigMap, phase by phase. Routes of Ingresses without settings of their own share it.
    pub plan: Arc<Plan>,
    /// The upstream of requests; `None` answers 404.
    pub upstream: Option<Upstream>,
    /// Whether requests were answered 500 because the patterns of the host needed too many steps.
    pub(super) step_limit: StepLimitMark,
}

/// Records that requests reached the step limit. The problem ends some time after the last one, since the requests may have been
/// those of one client.
#[derive(Debug, Default)]
pub(super) struct StepLimitMark {
    /// A request reached it since the mark was last read.
    reached: AtomicBool,
    /// Unix time in seconds at which the problem ends.
    ends: AtomicU64,
}

impl StepLimitMark {
    /// How long the problem is reported after the last request that reached the limit.
    const DURATION: Duration = Duration::from_secs(600);

    pub(super) fn set(&self) {
        self.reached.store(true, Relaxed);
    }

    /// Whether a request reached the limit within the last [`Self::DURATION`]. Requests carry no time, so one counts from the first
    /// call after it.
    fn is_current(&self, now: Duration) -> bool {
        if self.reached.swap(false, Relaxed) {
            self.ends.store((now + Self::DURATION).as_secs(), Relaxed);
        }
        now.as_secs() < self.ends.load(Relaxed)
    }
}

static ACCEPT: HeaderName = header::ACCEPT;

impl Route {
    /// Whether the body of a request is announced as longer than `proxy-body-size` allows. Such a request is refused before anything is
    /// sent.
    pub(super) fn refuses_body(&self, exchange: &Exchange) -> bool {
        let limit = self.plan.proxy.body_size;
        limit != 0 && matches!(exchange.request.framing(), MessageFraming::Length(length) if length > limit)
    }

    /// The 503 of a closed route, then each filter of the rewrite phase in turn.
    pub(super) fn rewrite(&self, exchange: &mut Exchange) -> FilterOutcome {
        if self.denied.is_some() {
            return FilterOutcome::respond(DirectResponse::status(StatusCode::SERVICE_UNAVAILABLE));
        }
        self.plan.rewrite(exchange)
    }

    /// Whether neither the backend of a request nor the default backend of the Ingress has endpoints: it gets 503. Of several backends one
    /// is drawn. The built-in page replaces the default backend of all Ingresses. Hot: no allocation.
    pub fn is_without_endpoints(
        &self,
        exchange: &Exchange,
        pools: &Pools,
        balancer: &mut impl BalancerState,
    ) -> bool {
        let Some(upstream) = &self.upstream else { return false };
        let backend = upstream.backend(exchange, balancer);
        backend.name != DEFAULT_UPSTREAM
            && !backend.has_endpoints(pools)
            && self.plan.error_pages.as_ref().is_none_or(|pages| pages.substitute(backend, pools).is_none())
    }

    /// The problem of a route whose pattern was matched when a request had used up its steps. `now` is the Unix time.
    pub(super) fn step_limit_problem(&self, now: Duration) -> Option<RoutingProblem> {
        self.step_limit.is_current(now).then_some(())?;
        let field = format!("path of host {}", self.host);
        let what = format!(
            "the regular expressions that were tried up to {:?} took more than the {} steps of a request; such requests \
             get 500",
            self.path,
            StepBudget::STEPS_PER_REQUEST
        );
        Some(RoutingProblem::of_ingress(self.ingress.as_ref()?, field, what, Effect::Differs))
    }

    /// `$proxy_upstream_name` of the access log.
    pub fn upstream_name(&self) -> &str {
        match &self.upstream {
            Some(upstream) => &upstream.primary.name,
            None => DEFAULT_UPSTREAM,
        }
    }

    /// The fields with which ingress-nginx describes an error to a default backend. Those without a value are removed.
    pub fn describe_error<'r>(
        &'r self,
        exchange: &'r Exchange,
        status: StatusCode,
        edits: &mut HeadEdits<'r>,
    ) {
        let (namespace, name) =
            self.ingress.as_ref().map_or(("", ""), |ingress| (&*ingress.namespace, &*ingress.name));
        let service = self.service.as_ref();
        edits.set("X-Code", status.as_str().as_bytes().to_vec());
        edits.set("X-Format", exchange.header_bytes(&ACCEPT).next().unwrap_or_default());
        edits.set("X-Namespace", namespace.as_bytes());
        edits.set("X-Ingress-Name", name.as_bytes());
        edits.set("X-Service-Name", service.map_or("", |(name, _)| name).as_bytes());
        edits.set(
            "X-Service-Port",
            service.map(|(_, port)| port.to_string()).unwrap_or_default().into_bytes(),
        );
    }
}

/// All but the mark of the step limit.
impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        let Self { host, path, kind, ingress, service, denied, plan, upstream, step_limit: _ } = self;
        (host, path, kind, ingress, service, denied, plan, upstream)
            == (
                &other.host,
                &other.path,
                &other.kind,
                &other.ingress,
                &other.service,
                &other.denied,
                &other.plan,
                &other.upstream,
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::tests::get;
    use crate::options::PoolKey;
    use crate::testing::{FixedBalancer, TestCluster};
    use crate::upstream::{UpstreamTarget, WeightedTargets};

    #[test]
    fn whether_the_drawn_backend_has_endpoints_is_known_before_limits_and_access() {
        let target = |service: &str| {
            let pool = PoolKey { service: Key::new("default", service), port: PortRef::Number(80) };
            UpstreamTarget::new(pool, None, &"/".into())
        };
        let split = WeightedTargets::new(vec![(target("full"), 1), (target("empty"), 1)]);
        let upstream = Upstream { primary: target("full"), canary: None, split: split.map(Box::new) };
        let route = Route {
            host: "a.example".into(),
            path: "/".into(),
            kind: PathType::Prefix,
            ingress: None,
            service: None,
            denied: None,
            plan: Arc::default(),
            upstream: Some(upstream),
            step_limit: StepLimitMark::default(),
        };
        let ingress = "
metadata: {name: web}
spec: {rules: [{host: a.example, paths: [[/, Prefix, full], [/empty, Prefix, empty]]}]}
";
        let pools = TestCluster::new(ingress).services("full 80 10.0.0.1").pools.load_full();
        for (number, is_without) in [(0, false), (1, true)] {
            let exchange = get("a.example/", &[]);
            let mut balancer = FixedBalancer::number(number);
            assert_eq!(route.is_without_endpoints(&exchange, &pools, &mut balancer), is_without);
            // The same backend gets the request, whatever another draw would be.
            let upstream = route.upstream.as_ref().expect("set above");
            let chosen = upstream.choose(&exchange, &pools, &mut FixedBalancer::number(1 - number));
            assert_eq!(chosen.target.has_endpoints(&pools), !is_without);
        }
    }
}
