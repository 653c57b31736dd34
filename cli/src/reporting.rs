//! What is wrong with Ingresses becomes log lines, a metric and a page.

use std::sync::Arc;
use std::time::Duration;

use ingress_proxy::Views;
use ingress_routes::Problem;
use sources::Cluster;
use tokio::sync::Notify;

use crate::ground::Ground;

/// Changes that come within this time are told together.
const TOGETHER: Duration = Duration::from_millis(500);

/// Tells from now on what is wrong with the objects behind the views, as it comes and goes.
pub fn follow(cluster: &Cluster, views: &Views, ground: &Ground) {
    let changed = Arc::new(Notify::new());
    let (ground, views, news) = (ground.clone(), views.clone(), changed.clone());
    cluster.observe(move |_, _| news.notify_one());
    let runtime = ground.runtime.clone();
    runtime.spawn(async move {
        loop {
            tell(&views, &ground);
            changed.notified().await;
            tokio::time::sleep(TOGETHER).await;
        }
    });
}

fn tell(views: &Views, ground: &Ground) {
    let (table, pools, certs) = (views.table.load_full(), views.pools.load_full(), views.certs.load_full());
    let problems = table.problems().cloned().chain(pools.problems()).chain(certs.problems().cloned());
    ground.reports.replace("ingress", problems.map(problem));
}

fn problem(problem: Problem) -> telemetry::Problem {
    telemetry::Problem {
        kind: "Ingress".to_owned(),
        key: problem.ingress.to_string(),
        field: problem.place,
        what: problem.what + problem.outcome.effect(),
        wanted: String::new(),
    }
}
