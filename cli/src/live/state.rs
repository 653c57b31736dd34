//! What changes rarely: version, sources, routes, endpoints, certificates, problems.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cluster::Kind;
use ingress_routes::pools::PoolMembers;
use ingress_routes::{Pools, Route};
use serde_json::{Value, json};
use sources::WatchStatus;
use telemetry::Reports;

use super::LiveIngress;
use crate::runtime::Runtime;

/// Routes, certificates and problems in one response.
const MAX_ROUTES: usize = 20_000;
const MAX_CERTIFICATES: usize = 2_000;
const MAX_PROBLEMS: usize = 500;
/// Addresses shown for one route.
const MAX_ENDPOINTS: usize = 20;

/// Makes `/live/state`.
pub struct StateSource {
    ingress: Option<LiveIngress>,
    reports: Reports,
    started: f64,
}

impl StateSource {
    pub fn new(ingress: Option<LiveIngress>, runtime: &Runtime) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Self { ingress, reports: runtime.reports.clone(), started }
    }

    /// The state as JSON. `took` is how many seconds it took to make: who asks again waits a multiple of it.
    pub fn json(&self) -> String {
        let start = Instant::now();
        let problems = self.reports.current();
        let shown = problems.iter().take(MAX_PROBLEMS).map(|(_, problem)| {
            json!({ "severity": problem.severity.map(|severity| format!("{severity:?}").to_lowercase()), "text": problem.to_string() })
        });
        let text = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pod": std::env::var("POD_NAME").unwrap_or_default(),
            "started": self.started,
            "problems": { "total": problems.len(), "shown": shown.collect::<Vec<_>>() },
            "ingress": self.ingress.as_ref().map(ingress),
        })
        .to_string();
        format!("{{\"took\":{},{}", start.elapsed().as_secs_f64(), &text[1..])
    }
}

fn ingress(live: &LiveIngress) -> Value {
    let (table, pools, certs) =
        (live.views.table.load_full(), live.views.pools.load_full(), live.views.certs.load_full());
    let statuses = live.cluster.statuses().borrow().clone();
    let sources: Vec<_> = Kind::ALL
        .into_iter()
        .filter(|kind| !matches!(statuses.get(*kind), WatchStatus::Waiting))
        .map(|kind| {
            let objects = live.cluster.read(|snapshot| snapshot.count(kind));
            json!({ "kind": kind.name(), "status": statuses.get(kind).to_string(), "objects": objects })
        })
        .collect();
    let mut routes: Vec<_> = table.routes().filter(|route| route.ingress.is_some()).collect();
    routes.sort_by(|one, other| (&one.host, &one.path).cmp(&(&other.host, &other.path)));
    let total = routes.len();
    let routes: Vec<_> = routes.into_iter().take(MAX_ROUTES).map(|shown| route(shown, &pools)).collect();
    let certificates: Vec<_> = certs
        .in_use()
        .take(MAX_CERTIFICATES)
        .map(|(host, secret, info)| json!({ "host": host.as_str(), "secret": secret.to_string(), "expires": info.expires }))
        .collect();
    json!({
        "ingresses": table.ingresses(),
        "sources": sources,
        "routes": { "total": total, "shown": routes },
        "certificates": certificates,
    })
}

fn route(route: &Route, pools: &Pools) -> Value {
    let upstream = route.upstream.as_ref();
    let endpoints =
        upstream.and_then(|upstream| pools.get(&upstream.primary.pool)).map(|pool| match pool.members() {
            PoolMembers::Endpoints(addresses) => {
                addresses.iter().take(MAX_ENDPOINTS).map(ToString::to_string).collect::<Vec<_>>()
            }
            PoolMembers::External { host, port } => vec![format!("{host}:{port}")],
        });
    let canary = upstream.and_then(|upstream| upstream.canary.as_ref()).map(|canary| {
        json!({
            "ingress": canary.ingress.to_string(),
            "service": canary.target.name.as_str(),
            "weight": canary.policy.weight,
            "total": canary.policy.total,
        })
    });
    json!({
        "host": route.host.as_str(),
        "path": route.path.as_str(),
        "kind": format!("{:?}", route.kind),
        "ingress": route.ingress.as_ref().map(ToString::to_string),
        "service": route.service.as_ref().map(|(name, port)| format!("{name}:{port}")),
        "closed": route.denied,
        "endpoints": endpoints,
        "canary": canary,
    })
}
