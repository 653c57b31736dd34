//! Updates the metrics that correspond to ingress-nginx's configuration reloads.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use cluster::{Ingress, Kind, ObjectChange, Snapshot};
use ingress_proxy::{ConfigurationMetrics, ProxyViews};
use sources::{Cluster, WatchStatus, WatchStatuses};
use tokio::runtime::Handle;

/// Object kinds that affect the routing configuration.
const KINDS: [Kind; 3] = [Kind::Ingress, Kind::IngressClass, Kind::Secret];

/// Starts updating the metrics: when a route table is published, and whether changes of the cluster can take effect.
///
/// An unreachable API server is not a failed reload: the last state is served, and alerts on this metric are about invalid
/// configuration. A kind that RBAC forbids to list is one.
pub fn follow(cluster: &Cluster, views: &ProxyViews, configuration: ConfigurationMetrics, runtime: &Handle) {
    let configuration = Arc::new(configuration);
    let (table, metrics) = (views.table.clone(), configuration.clone());
    let mut last = Arc::as_ptr(&table.load()) as usize;
    // Manifests may have been read before the table was built.
    cluster.read(|snapshot| {
        if snapshot.count(Kind::Ingress) > 0 {
            metrics.published(hash_of_all(snapshot), SystemTime::now());
        }
    });
    let mut hash = None;
    cluster.observe(move |snapshot, touched| {
        let changed = |before| touched.iter().map(change).fold(before, |sum, one| sum ^ one);
        let hash = *hash.insert(hash.map_or_else(|| hash_of_all(snapshot), changed));
        let now = Arc::as_ptr(&table.load()) as usize;
        if std::mem::replace(&mut last, now) != now {
            metrics.published(hash, SystemTime::now());
        }
    });
    let mut statuses = cluster.statuses();
    runtime.spawn(async move {
        loop {
            let state = takes_changes(&statuses.borrow_and_update());
            if let Some(takes) = state {
                configuration.takes_changes(takes, SystemTime::now());
            }
            if statuses.changed().await.is_err() {
                return;
            }
        }
    });
}

/// Whether changes of all kinds take effect; `None` until all kinds have been listed.
fn takes_changes(statuses: &WatchStatuses) -> Option<bool> {
    if KINDS.iter().any(|kind| matches!(statuses.get(*kind), WatchStatus::Forbidden { .. })) {
        return Some(false);
    }
    KINDS.iter().all(|kind| *statuses.get(*kind) == WatchStatus::Synced).then_some(true)
}

/// The hash of all Ingresses. It does not depend on their order, so it is the same on all replicas.
fn hash_of_all(snapshot: &Snapshot) -> u64 {
    snapshot.iter::<Ingress>().map(hash_of).fold(0, |sum, one| sum ^ one)
}

/// The value that a change adds to [`hash_of_all`].
fn change(touched: &ObjectChange) -> u64 {
    let ObjectChange::Ingress(change) = touched else { return 0 };
    change.sides().map(hash_of).fold(0, |sum, one| sum ^ one)
}

fn hash_of(ingress: &Arc<Ingress>) -> u64 {
    let mut hasher = DefaultHasher::new();
    ingress.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use cluster::{Change, Event, Key, Object};
    use ingress_proxy::Controller;
    use ingress_routes::{CertIndex, PoolIndex, RouteIndex, RouteOptions};
    use telemetry::metrics::Registry;

    use super::*;

    type Side = Option<Arc<Ingress>>;

    fn ingress(name: &str, created: i64) -> Side {
        Some(Arc::new(Ingress {
            key: Key::new("default", name),
            created,
            annotations: Vec::new(),
            class: None,
            default_backend: None,
            rules: Vec::new(),
            tls: Vec::new(),
        }))
    }

    /// Clusters of manifests are read before the views of the proxy are built.
    #[test]
    fn ingresses_from_before_the_start_are_part_of_the_hash() {
        let registry = Registry::new();
        let cluster = Cluster::start(&registry).unwrap();
        let options = RouteOptions::default();
        let views = ProxyViews {
            certs: cluster.project(CertIndex::new(options.clone())),
            pools: cluster.project(PoolIndex::new(options.clone())),
            table: cluster.project(RouteIndex::new(options.clone())),
            streams: cluster.project(ingress_routes::StreamIndex::new(options)),
            geo: cluster::Current::new(ingress_routes::GeoDatabases::default()),
        };
        let (batch, batches) = std::sync::mpsc::channel();
        cluster.observe(move |_, _| batch.send(()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let apply = |name: &str| {
            let object = Object::Ingress(ingress(name, 1).unwrap());
            runtime.block_on(cluster.sink().send(Event::Apply(object))).unwrap();
        };
        let shown = || {
            let text = registry.text();
            ["config_hash", "success"].map(|metric| {
                let name = format!("nginx_ingress_controller_{metric}{{");
                let line = text.lines().find(|line| line.starts_with(&name)).unwrap();
                line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
            })
        };
        apply("before");
        runtime.block_on(cluster.sink().send(Event::Synced(Kind::Ingress))).unwrap();
        batches.recv().unwrap();
        follow(
            &cluster,
            &views,
            ConfigurationMetrics::new(&registry, &Controller::default()),
            runtime.handle(),
        );
        let hash = |names: &[&str]| {
            let hashes = names.iter().map(|name| hash_of(&ingress(name, 1).unwrap()));
            (hashes.fold(0, |sum, one| sum ^ one) >> 11) as f64
        };
        assert_eq!(shown(), [hash(&["before"]), 1.0]);
        let (batch, batches) = std::sync::mpsc::channel();
        cluster.observe(move |_, _| batch.send(()).unwrap());
        for (name, names) in [("after", &["before", "after"][..]), ("last", &["before", "after", "last"])] {
            apply(name);
            batches.recv().unwrap();
            assert_eq!(shown()[0], hash(names), "{name}");
        }
    }

    #[test]
    fn the_hash_depends_on_the_present_ingresses_only() {
        let hash = |changes: &[(Side, Side)]| {
            let changes = changes.iter().cloned();
            let touched = changes.map(|(before, after)| ObjectChange::Ingress(Change { before, after }));
            touched.map(|one| change(&one)).fold(0, |sum, one| sum ^ one)
        };
        let (a, a2, b) = (ingress("a", 1), ingress("a", 2), ingress("b", 1));
        let wanted = hash(&[(None, a2.clone()), (None, b.clone())]);
        let other = [(None, b.clone()), (None, a.clone()), (a.clone(), a2.clone())];
        assert_eq!(hash(&other), wanted);
        assert_ne!(hash(&[(None, a), (None, b.clone())]), wanted);
        assert_eq!(hash(&[(None, b.clone()), (b, None)]), 0);
    }
}
