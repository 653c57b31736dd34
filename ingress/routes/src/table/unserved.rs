//! Ingresses that are not ours, and what is known about why.

use std::sync::Arc;

use cluster::{CompactString, Ingress, Key, Kind, Kinds, Snapshot};

use crate::class::Classes;
use crate::options::RouteOptions;
use crate::problem::RoutingProblem;
use crate::sharded_map::ShardedMap;

/// An Ingress that is not ours.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct UnservedIngress {
    /// `spec.ingressClassName`.
    pub(super) class: Option<CompactString>,
    /// Its problem, given the IngressClasses.
    pub(super) problem: RoutingProblem,
}

/// The kinds whose first list is complete.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ListedKinds {
    /// Neither Ingresses nor classes are known.
    Incomplete,
    /// All but the IngressClasses are known. Which Ingresses are ours is not.
    WithoutClasses,
    /// All are known: a missing class is a problem.
    Complete,
}

impl ListedKinds {
    pub(super) fn of(cluster: &Snapshot, kinds: Kinds) -> Self {
        let others: Vec<_> = kinds.iter().filter(|kind| *kind != Kind::IngressClass).collect();
        match cluster.synced(Kinds::of(&others)) {
            false => Self::Incomplete,
            true if cluster.synced(kinds) => Self::Complete,
            true => Self::WithoutClasses,
        }
    }
}

/// The Ingresses of a snapshot that are not ours, and that no other controller serves according to the IngressClasses.
pub(super) fn unserved(
    classes: &Classes,
    cluster: &Snapshot,
    options: &RouteOptions,
) -> ShardedMap<Key, Arc<UnservedIngress>> {
    let mut unserved = ShardedMap::default();
    for ingress in cluster.iter::<Ingress>() {
        unserved.set(ingress.key.clone(), unserved_ingress(classes, cluster, ingress, options));
    }
    unserved
}

/// An Ingress, if it is one of them.
pub(super) fn unserved_ingress(
    classes: &Classes,
    cluster: &Snapshot,
    ingress: &Ingress,
    options: &RouteOptions,
) -> Option<Arc<UnservedIngress>> {
    if classes.take(ingress, options) {
        return None;
    }
    let problem = classes.unserved(ingress, cluster, options)?;
    Some(Arc::new(UnservedIngress { class: ingress.class.clone(), problem }))
}
