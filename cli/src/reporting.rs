//! Reports problems with Ingresses, the ConfigMap and flags in the log, in a metric and on `/problems`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cluster::{Key, Kind, Kinds, Service};
use ingress_proxy::{ListenProblems, ProxyViews, StaplingProblems, StreamProblems};
use ingress_routes::{Level, RouteOptions, RoutingProblem};
use sources::{Cluster, WatchStatus};
use telemetry::Severity;
use tokio::sync::Notify;

use crate::args::UnsupportedFlag;
use crate::runtime::Runtime;

/// Changes within this period are reported together.
const DELAY: Duration = Duration::from_millis(500);

/// Reports are updated at this interval even without a change: certificates expire, and requests reach limits.
const INTERVAL: Duration = Duration::from_secs(30);

/// Starts a task that reports the problems of the views.
pub fn follow(cluster: &Cluster, views: &ProxyViews, options: &RouteOptions, runtime: &Runtime) {
    let changed = Arc::new(Notify::new());
    let (runtime, views, news) = (runtime.clone(), views.clone(), changed.clone());
    cluster.observe(move |_, _| news.notify_one());
    let (cluster, options) = (cluster.clone(), options.clone());
    let handle = runtime.handle.clone();
    let mut statuses = cluster.statuses();
    handle.spawn(async move {
        loop {
            let class_status = statuses.borrow_and_update().get(Kind::IngressClass).clone();
            report_views(&views, matches!(class_status, WatchStatus::Forbidden { .. }), &runtime);
            runtime.reports.replace("flags", flag_problems(&cluster, &views, &options));
            tokio::select! {
                () = changed.notified() => tokio::time::sleep(DELAY).await,
                Ok(()) = statuses.changed() => tokio::time::sleep(DELAY).await,
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    });
}

fn report_views(views: &ProxyViews, forbidden_classes: bool, runtime: &Runtime) {
    let (table, pools, certs) = (views.table.load_full(), views.pools.load_full(), views.certs.load_full());
    let now = unix_time();
    let problems = table.problems(now).chain(pools.problems()).chain(certs.problems(now));
    let unread = table.unread_class_problems().filter(|_| forbidden_classes);
    let streams = views.streams.load_full();
    let problems = problems.chain(unread).chain(streams.problems().cloned());
    runtime.reports.replace("ingress", problems.map(problem));
}

/// Reports the ports of TCP and UDP services that the proxy cannot open.
pub fn stream_problems(runtime: &Runtime) -> StreamProblems {
    let reports = runtime.reports.clone();
    Arc::new(move |problems| reports.replace("stream ports", problems.into_iter().map(problem)))
}

/// Reports the keys about listeners that are not in effect.
pub fn listen_problems(runtime: &Runtime) -> ListenProblems {
    let reports = runtime.reports.clone();
    Arc::new(move |problems| {
        let problems = problems.into_iter().map(|problem| telemetry::Problem {
            kind: Kind::ConfigMap.name().to_owned(),
            key: "--configmap".to_owned(),
            field: problem.key.to_owned(),
            what: problem.what,
            wanted: String::new(),
            severity: Some(Severity::Differs),
        });
        reports.replace("listeners", problems);
    })
}

/// Reports the certificates to which no OCSP response is stapled although `enable-ocsp` is on.
pub fn stapling_problems(runtime: &Runtime) -> StaplingProblems {
    let reports = runtime.reports.clone();
    Arc::new(move |problems| {
        let problems = problems.into_iter().map(|what| telemetry::Problem {
            kind: "OCSP".to_owned(),
            key: String::new(),
            field: String::new(),
            what,
            wanted: String::new(),
            severity: Some(Severity::Differs),
        });
        reports.replace("ocsp", problems);
    })
}

/// Problems with the objects that flags refer to. Reported only after their kind has been listed.
fn flag_problems(cluster: &Cluster, views: &ProxyViews, options: &RouteOptions) -> Vec<telemetry::Problem> {
    let listed = |kind| cluster.read(|snapshot| snapshot.synced(Kinds::of(&[kind])));
    let problem = |flag: &str, named: &Key, what: String| telemetry::Problem {
        kind: "flag".to_owned(),
        key: flag.to_owned(),
        field: named.to_string(),
        what,
        wanted: String::new(),
        severity: Some(Severity::Differs),
    };
    let mut problems = Vec::new();
    if let (Some(named), Some(what)) =
        (&options.default_ssl_certificate, views.certs.load().default_problem(unix_time()))
        && listed(Kind::Secret)
    {
        problems.push(problem("--default-ssl-certificate", named, what));
    }
    if let Some(named) = &options.default_backend_service
        && listed(Kind::Service)
        && cluster.read(|snapshot| snapshot.get::<Service>(named).is_none())
    {
        let what = format!("Service {named} does not exist; the built-in 404 page is served");
        problems.push(problem("--default-backend-service", named, what));
    }
    problems
}

/// Reports the flags of the command line that are accepted but not supported.
pub fn flags(flags: &[UnsupportedFlag], runtime: &Runtime) {
    let problems = flags.iter().map(|flag| telemetry::Problem {
        kind: "flag".to_owned(),
        key: format!("--{}", flag.name),
        field: String::new(),
        what: format!("{:?} is not honoured: {}", flag.value, flag.consequence),
        wanted: String::new(),
        severity: Some(severity(flag.level)),
    });
    runtime.reports.replace("arguments", problems);
}

const fn severity(level: Level) -> Severity {
    match level {
        Level::Closed => Severity::Closed,
        Level::Differs => Severity::Differs,
        Level::Cosmetic => Severity::Cosmetic,
    }
}

fn problem(problem: RoutingProblem) -> telemetry::Problem {
    telemetry::Problem {
        severity: Some(severity(problem.effect.level())),
        kind: problem.kind.name().to_owned(),
        key: problem.key.to_string(),
        field: problem.field,
        what: problem.what + problem.effect.suffix(),
        wanted: String::new(),
    }
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
