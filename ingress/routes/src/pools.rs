//! Pools: the endpoints of the upstreams. Only this projection depends on endpoints; routes do not.

mod pool;
mod problems;
mod ring;
mod subset_ring;
mod zoned_endpoints;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use cluster::{Backend, ConfigMap, Ingress, Key, Kind, Kinds, ObjectChange, PortRef, Projection, Snapshot};
use foldhash::fast::RandomState;

pub use self::pool::{OrphanReason, Pool, PoolError, PoolMembers};
use crate::class::{Classes, is_canary};
use crate::options::{PoolKey, RouteOptions};
use crate::precedence::precedence;
use crate::sharded_map::ShardedMap;
use crate::sorted_list::{Ordered, SortedList};
use crate::unsupported::parse_bool;

/// The pools of every Service that an Ingress of ours refers to.
#[derive(Clone, Debug, PartialEq)]
pub struct Pools {
    classes: Arc<Classes>,
    /// The ports of each Service that Ingresses refer to.
    services: ShardedMap<Key, Arc<[ReferencedPort]>>,
    /// `service-upstream` of the ConfigMap.
    service_upstream: bool,
    /// The first lists are complete. Before that a missing Service is not a problem.
    synced: bool,
}

/// A port of a Service, as backends name it.
#[derive(Clone, Debug, PartialEq)]
struct ReferencedPort {
    name: PortRef,
    pool: Arc<Pool>,
    /// Its only endpoint is the cluster IP of the Service.
    by_cluster_ip: bool,
    /// The Ingresses that refer to it.
    ingresses: SortedList<Referrer>,
}

/// An Ingress that refers to a port, ordered by precedence.
#[derive(Clone, Debug, PartialEq)]
struct Referrer {
    ingress: Arc<Ingress>,
    is_canary: bool,
    /// `service-upstream`.
    service_upstream: Option<bool>,
}

impl Ordered for Referrer {
    fn compare(&self, other: &Self) -> Ordering {
        precedence(&self.ingress, &other.ingress)
    }
}

impl Pools {
    /// The pool of an upstream. Hot: no allocation.
    pub fn get(&self, key: &PoolKey) -> Option<&Arc<Pool>> {
        let ports = self.services.get(&key.service)?;
        ports.iter().find(|port| port.name == key.port).map(|port| &port.pool)
    }

    /// The names of the Services whose pools are others than before.
    #[cfg(test)]
    pub(crate) fn rebuilt(before: &Self, after: &Self) -> Vec<String> {
        let is_kept = |service: &Key, ports: &Arc<[ReferencedPort]>| {
            before.services.get(service).is_some_and(|before| Arc::ptr_eq(before, ports))
        };
        let rebuilt = after.services.iter().filter(|(service, ports)| !is_kept(service, ports));
        let mut names: Vec<_> = rebuilt.map(|(service, _)| service.name.to_string()).collect();
        names.sort_unstable();
        names
    }

    /// Every Ingress with each of its backends, and what the backend lacks. For the metric `orphan_ingress`.
    pub fn backends(&self) -> impl Iterator<Item = (&Key, Option<OrphanReason>)> {
        let ports = self.services.iter().flat_map(|(_, ports)| ports.iter());
        ports.filter(|port| !PoolKey::is_first(&port.name)).flat_map(|port| {
            let missing = port.pool.missing();
            port.ingresses.iter().map(move |referrer| (&referrer.ingress.key, missing))
        })
    }
}

/// The projection that makes [`Pools`].
#[derive(Debug)]
pub struct PoolIndex {
    options: RouteOptions,
}

impl PoolIndex {
    /// A projection with the options of the command line.
    pub fn new(options: RouteOptions) -> Self {
        Self { options }
    }

    /// Applies changes of the Ingresses that refer to ports.
    fn apply(
        &self,
        pools: &mut Pools,
        cluster: &Snapshot,
        changes: HashMap<PoolKey, ReferrerChange, RandomState>,
    ) {
        for (key, ReferrerChange { removed, added }) in changes {
            let mut ports = pools.services.get(&key.service).map(|ports| ports.to_vec()).unwrap_or_default();
            let at = ports.binary_search_by(|port| rank(&port.name).cmp(&rank(&key.port)));
            let empty = SortedList::default();
            let ingresses = at.map_or(&empty, |at| &ports[at].ingresses).with(removed, added);
            let by_cluster_ip = is_by_cluster_ip(&key.port, &ingresses, pools.service_upstream);
            let build = || Arc::new(Pool::build(cluster, &key, &self.options, by_cluster_ip));
            match (at, !ingresses.is_empty() || self.default_backend().as_ref() == Some(&key)) {
                (Ok(at), true) => {
                    let port = &mut ports[at];
                    port.ingresses = ingresses;
                    if port.by_cluster_ip != by_cluster_ip {
                        (port.by_cluster_ip, port.pool) = (by_cluster_ip, build());
                    }
                }
                (Ok(at), false) => drop(ports.remove(at)),
                (Err(at), true) => {
                    let (name, pool) = (key.port.clone(), build());
                    ports.insert(at, ReferencedPort { name, pool, by_cluster_ip, ingresses });
                }
                (Err(_), false) => continue,
            }
            pools.services.set(key.service, (!ports.is_empty()).then(|| ports.into()));
        }
    }

    /// The upstream of `--default-backend-service`, which needs no Ingress.
    fn default_backend(&self) -> Option<PoolKey> {
        self.options.default_backend_service.clone().map(PoolKey::first_port)
    }

    /// The upstreams of an Ingress: those of its backends and that of `default-backend`. The same one may occur several times.
    fn upstreams(&self, ingress: &Ingress) -> impl Iterator<Item = PoolKey> {
        upstreams(ingress).chain(annotated_backend(ingress, &self.options.annotations_prefix))
    }

    fn referrer(&self, ingress: &Arc<Ingress>) -> Referrer {
        let prefix = &self.options.annotations_prefix;
        let service_upstream = ingress.annotation(&format!("{prefix}/service-upstream"));
        Referrer {
            is_canary: is_canary(ingress, prefix),
            service_upstream: service_upstream.and_then(|value| parse_bool(value.trim())),
            ingress: ingress.clone(),
        }
    }

    /// `service-upstream` of the ConfigMap.
    fn service_upstream(&self, cluster: &Snapshot) -> bool {
        let config_map = self.options.config_map.as_ref().and_then(|key| cluster.get::<ConfigMap>(key));
        let value = config_map
            .and_then(|config_map| config_map.data.iter().find(|(name, _)| name == "service-upstream"));
        value.is_some_and(|(_, value)| parse_bool(value.trim()) == Some(true))
    }

    fn is_ours(&self, classes: &Classes, ingress: &Ingress) -> bool {
        classes.take(ingress, &self.options)
    }
}

impl Projection for PoolIndex {
    type View = Pools;

    fn kinds(&self) -> Kinds {
        let kinds = Kinds::of(&[Kind::Ingress, Kind::Service, Kind::EndpointSlice]);
        let kinds = kinds.union(Classes::kinds(&self.options));
        if self.options.config_map.is_some() { kinds.union(Kinds::of(&[Kind::ConfigMap])) } else { kinds }
    }

    fn build(&self, cluster: &Snapshot) -> Pools {
        let classes = Classes::of(cluster, &self.options);
        let mut changes: HashMap<PoolKey, ReferrerChange, RandomState> = HashMap::default();
        for ingress in cluster.iter::<Ingress>().filter(|ingress| self.is_ours(&classes, ingress)) {
            for key in self.upstreams(ingress) {
                changes.entry(key).or_default().added.push(self.referrer(ingress));
            }
        }
        if let Some(key) = self.default_backend() {
            changes.entry(key).or_default();
        }
        let (classes, synced) = (Arc::new(classes), cluster.synced(self.kinds()));
        let service_upstream = self.service_upstream(cluster);
        let mut pools = Pools { classes, services: ShardedMap::default(), service_upstream, synced };
        self.apply(&mut pools, cluster, changes);
        pools
    }

    fn advance(&self, last: &Pools, cluster: &Snapshot, touched: &[ObjectChange]) -> Pools {
        if last.classes.are_touched(touched, &self.options)
            || last.service_upstream != self.service_upstream(cluster)
        {
            return self.build(cluster);
        }
        let mut pools = last.clone();
        pools.synced = cluster.synced(self.kinds());
        let mut churned: Vec<Key> = Vec::new();
        let mut changes: HashMap<PoolKey, ReferrerChange, RandomState> = HashMap::default();
        for one in touched {
            match one {
                ObjectChange::Service(change) => {
                    churned.extend(change.sides().map(|service| service.key.clone()))
                }
                ObjectChange::EndpointSlice(change) => {
                    churned.extend(change.sides().map(|slice| slice.service_key()))
                }
                ObjectChange::Ingress(change) => {
                    if let Some(before) = &change.before {
                        let removed =
                            |key| changes.entry(key).or_default().removed.push(self.referrer(before));
                        self.upstreams(before).for_each(removed);
                    }
                    for after in change.after.iter().filter(|after| self.is_ours(&last.classes, after)) {
                        let added = |key| changes.entry(key).or_default().added.push(self.referrer(after));
                        self.upstreams(after).for_each(added);
                    }
                }
                _ => {}
            }
        }
        self.apply(&mut pools, cluster, changes);
        churned.sort_unstable();
        churned.dedup();
        for service in churned {
            let Some(ports) = pools.services.get(&service) else { continue };
            let next = |port: &ReferencedPort| {
                let key = PoolKey { service: service.clone(), port: port.name.clone() };
                let pool = Pool::build(cluster, &key, &self.options, port.by_cluster_ip);
                ReferencedPort { pool: Arc::new(pool), ..port.clone() }
            };
            let next: Arc<[ReferencedPort]> = ports.iter().map(next).collect();
            if next.iter().zip(&**ports).any(|(next, port)| next.pool != port.pool) {
                pools.services.insert(service, next);
            }
        }
        pools
    }
}

/// Old and new versions of the Ingresses that refer to a port.
#[derive(Default)]
struct ReferrerChange {
    removed: Vec<Referrer>,
    added: Vec<Referrer>,
}

/// Whether the cluster IP of a Service is the only endpoint of a port: the first Ingress with the port decides, as in ingress-nginx, or
/// else the ConfigMap. It does not apply to default backends.
fn is_by_cluster_ip(port: &PortRef, ingresses: &SortedList<Referrer>, of_config_map: bool) -> bool {
    let first = ingresses.iter().next().filter(|_| !PoolKey::is_first(port));
    first.is_some_and(|first| first.service_upstream.unwrap_or(of_config_map))
}

/// Ports by number, then those by name.
fn rank(port: &PortRef) -> (Option<&str>, u16) {
    match port {
        PortRef::Number(number) => (None, *number),
        PortRef::Name(name) => (Some(name), 0),
    }
}

/// The upstream of the annotation `default-backend`.
fn annotated_backend(ingress: &Ingress, prefix: &str) -> Option<PoolKey> {
    let name = ingress.annotation(&format!("{prefix}/default-backend"))?;
    named_service(&ingress.key.namespace, name.trim()).map(PoolKey::first_port)
}

/// The Service that `default-backend` names; `None` if the name is no DNS label (RFC 1123).
pub(crate) fn named_service(namespace: &str, name: &str) -> Option<Key> {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = name.bytes().all(|byte| is_alphanumeric(byte) || byte == b'-')
        && name.bytes().next().is_some_and(is_alphanumeric)
        && name.bytes().next_back().is_some_and(is_alphanumeric);
    is_label.then(|| Key::new(namespace, name))
}

/// The upstreams of the backends of an Ingress; the same one may occur several times.
fn upstreams(ingress: &Ingress) -> impl Iterator<Item = PoolKey> {
    let paths = ingress.rules.iter().flat_map(|rule| &rule.paths).map(|path| &path.backend);
    ingress.default_backend.iter().chain(paths).filter_map(|backend| match backend {
        Backend::Service(service) => {
            let key = Key { namespace: ingress.key.namespace.clone(), name: service.name.clone() };
            Some(PoolKey { service: key, port: service.port.clone() })
        }
        Backend::Resource(_) => None,
    })
}

#[cfg(test)]
mod tests;
