//! Updates the metrics that correspond to ingress-nginx's configuration reloads.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::SystemTime;

use cluster::{Ingress, Kind, ObjectChange};
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
    let (mut last, mut hash) = (Arc::as_ptr(&table.load()) as usize, 0);
    cluster.observe(move |_, touched| {
        hash ^= touched.iter().map(change).fold(0, |sum, one| sum ^ one);
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
                configuration.takes_changes(takes);
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

/// The contribution of a change to the hash of all Ingresses. The hash does not depend on the order of changes, so it is the
/// same on all replicas.
fn change(touched: &ObjectChange) -> u64 {
    let ObjectChange::Ingress(change) = touched else { return 0 };
    let hash = |ingress: &Arc<Ingress>| {
        let mut hasher = DefaultHasher::new();
        ingress.hash(&mut hasher);
        hasher.finish()
    };
    change.sides().map(hash).fold(0, |sum, one| sum ^ one)
}

#[cfg(test)]
mod tests {
    use cluster::{Change, Key};

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
