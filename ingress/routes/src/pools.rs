//! Pools: which endpoints the upstreams have. The projection that endpoint churn touches; routes stay put.

mod pool;
mod ring;

use std::sync::Arc;

use cluster::{Backend, Ingress, IngressClass, Key, Kind, Kinds, PortRef, Projection, Snapshot, Touched};
use smallvec::SmallVec;

pub use self::pool::{Absence, Members, Missing, Pool};
use crate::class::Classes;
use crate::options::{Options, PoolKey};
use crate::problem::{Outcome, Problem};
use crate::shards::Shards;

/// The pools of every Service that an Ingress of ours mentions.
#[derive(Clone, Debug, PartialEq)]
pub struct Pools {
    classes: Arc<Classes>,
    services: Shards<Key, Arc<Mentioned>>,
    /// Before the first lists are complete a missing Service is no problem.
    synced: bool,
}

/// A Service with the Ingresses that mention it, by key, and a pool for each port that they name.
#[derive(Clone, Debug, PartialEq)]
struct Mentioned {
    ingresses: Box<[Arc<Ingress>]>,
    pools: SmallVec<[(PortRef, Arc<Pool>); 1]>,
}

impl Pools {
    /// The pool of an upstream. Hot: no allocation.
    pub fn get(&self, key: &PoolKey) -> Option<&Arc<Pool>> {
        let mentioned = self.services.get(&key.service)?;
        mentioned.pools.iter().find(|(port, _)| *port == key.port).map(|(_, pool)| pool)
    }

    /// What is wrong with the backends that Ingresses name.
    pub fn problems(&self) -> impl Iterator<Item = Problem> {
        let services = self.services.iter().filter(|_| self.synced);
        services.flat_map(|(service, mentioned)| problems(service, mentioned))
    }

    /// Every Ingress with each Service that it names, and what is missing there. For `orphan_ingress`.
    pub fn backends(&self) -> impl Iterator<Item = (&Key, Option<Missing>)> {
        self.services.iter().flat_map(|(service, mentioned)| {
            mentioned.ingresses.iter().flat_map(move |ingress| {
                let named = |port: &PortRef| {
                    backends(ingress).any(|(name, named)| *name == service.name && named == port)
                };
                let pools = mentioned.pools.iter().filter(move |(port, _)| named(port));
                pools.map(move |(_, pool)| (&ingress.key, pool.missing()))
            })
        })
    }

    /// Problems of what differs from an earlier view, to tell only what is new.
    pub fn problems_since<'a>(&'a self, last: &'a Self) -> impl Iterator<Item = Problem> + 'a {
        let old = move |problem: &Problem, service: &Key| {
            last.synced
                && last
                    .services
                    .get(service)
                    .is_some_and(|then| problems(service, then).any(|p| p == *problem))
        };
        let services: Vec<_> = match (self.synced, last.synced) {
            (false, _) => Vec::new(),
            (true, false) => self.services.iter().collect(),
            (true, true) => self.services.changed(&last.services).collect(),
        };
        services.into_iter().flat_map(move |(service, mentioned)| {
            problems(service, mentioned).filter(move |problem| !old(problem, service))
        })
    }
}

fn problems<'a>(service: &'a Key, mentioned: &'a Mentioned) -> impl Iterator<Item = Problem> + 'a {
    let absent = mentioned.pools.iter().filter_map(|(port, pool)| Some((port, pool.absence()?)));
    absent.flat_map(move |(port, absence)| {
        let ingresses = mentioned.ingresses.iter().filter(move |ingress| {
            backends(ingress).any(|(name, named)| *name == service.name && named == port)
        });
        ingresses.map(move |ingress| Problem {
            ingress: ingress.key.clone(),
            place: format!("backend.service {}:{port}", service.name),
            what: format!("Service {service} {}", absence.text()),
            outcome: Outcome::Denied,
        })
    })
}

/// Makes [`Pools`].
#[derive(Debug)]
pub struct PoolIndex {
    options: Options,
}

impl PoolIndex {
    /// Pools as the command line wants them.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    fn mentioned(
        &self,
        cluster: &Snapshot,
        service: &Key,
        ingresses: Box<[Arc<Ingress>]>,
    ) -> Option<Arc<Mentioned>> {
        let mut ports: Vec<PortRef> = ingresses
            .iter()
            .flat_map(|ingress| backends(ingress))
            .filter(|(name, _)| **name == service.name)
            .map(|(_, port)| port.clone())
            .collect();
        if self.options.default_backend_service.as_ref() == Some(service) {
            ports.push(PortRef::Name("".into()));
        }
        ports.sort_unstable_by_key(|port| (matches!(port, PortRef::Name(_)), port.to_string()));
        ports.dedup();
        (!ports.is_empty()).then(|| Arc::new(self.pools(cluster, service, ingresses, ports)))
    }

    fn pools(
        &self,
        cluster: &Snapshot,
        service: &Key,
        ingresses: Box<[Arc<Ingress>]>,
        ports: impl IntoIterator<Item = PortRef>,
    ) -> Mentioned {
        let pool = |port: PortRef| {
            let key = PoolKey { service: service.clone(), port };
            let pool = Pool::build(cluster, &key, &self.options);
            (key.port, Arc::new(pool))
        };
        Mentioned { ingresses, pools: ports.into_iter().map(pool).collect() }
    }

    fn is_ours(&self, classes: &Classes, ingress: &Ingress) -> bool {
        classes.take(ingress, &self.options)
    }
}

impl Projection for PoolIndex {
    type View = Pools;

    fn kinds(&self) -> Kinds {
        Kinds::of(&[Kind::Ingress, Kind::IngressClass, Kind::Service, Kind::EndpointSlice])
    }

    fn build(&self, cluster: &Snapshot) -> Pools {
        let classes = Classes::of(cluster.iter::<IngressClass>(), &self.options);
        let mut by_service: std::collections::HashMap<Key, Vec<Arc<Ingress>>, foldhash::fast::RandomState> =
            std::collections::HashMap::default();
        for ingress in cluster.iter::<Ingress>().filter(|ingress| self.is_ours(&classes, ingress)) {
            for service in services(ingress) {
                by_service.entry(service).or_default().push(ingress.clone());
            }
        }
        if let Some(service) = &self.options.default_backend_service {
            by_service.entry(service.clone()).or_default();
        }
        let mut pools = Pools {
            classes: Arc::new(classes),
            services: Shards::default(),
            synced: cluster.synced(self.kinds()),
        };
        for (service, mut ingresses) in by_service {
            ingresses.sort_unstable_by(|one, other| one.key.cmp(&other.key));
            let mentioned = self.mentioned(cluster, &service, ingresses.into());
            pools.services.set(service, mentioned);
        }
        pools
    }

    fn advance(&self, last: &Pools, cluster: &Snapshot, touched: &[Touched]) -> Pools {
        if last.classes.are_touched(touched, &self.options) {
            return self.build(cluster);
        }
        let mut pools = last.clone();
        pools.synced = cluster.synced(self.kinds());
        let mut churned: Vec<Key> = Vec::new();
        let mut rementioned: Vec<(Key, Vec<&Touched>)> = Vec::new();
        for one in touched {
            match one {
                Touched::Service(change) => churned.extend(change.sides().map(|service| service.key.clone())),
                Touched::EndpointSlice(change) => {
                    churned.extend(change.sides().map(|slice| slice.service_key()))
                }
                Touched::Ingress(change) => {
                    let mut keys: Vec<Key> = change.sides().flat_map(|ingress| services(ingress)).collect();
                    keys.sort_unstable();
                    keys.dedup();
                    rementioned.extend(keys.into_iter().map(|key| (key, vec![one])));
                }
                _ => {}
            }
        }
        rementioned.sort_by(|(one, _), (other, _)| one.cmp(other));
        rementioned.dedup_by(|(key, more), (kept, touched)| {
            let same = key == kept;
            if same {
                touched.append(more);
            }
            same
        });
        for (service, touched) in &rementioned {
            let ingresses = self.replace(last, service, touched);
            pools.services.set(service.clone(), self.mentioned(cluster, service, ingresses));
        }
        churned.sort_unstable();
        churned.dedup();
        for service in churned {
            let Some(mentioned) = pools.services.get(&service) else { continue };
            let ports: Vec<PortRef> = mentioned.pools.iter().map(|(port, _)| port.clone()).collect();
            let next = self.pools(cluster, &service, mentioned.ingresses.clone(), ports);
            if next != **mentioned {
                pools.services.insert(service, Arc::new(next));
            }
        }
        pools
    }
}

impl PoolIndex {
    /// The Ingresses that mention a Service after some of them changed.
    fn replace(&self, last: &Pools, service: &Key, touched: &[&Touched]) -> Box<[Arc<Ingress>]> {
        let known = last.services.get(service).map(|mentioned| &*mentioned.ingresses).unwrap_or_default();
        let mut ingresses = known.to_vec();
        for one in touched {
            let Touched::Ingress(change) = one else { continue };
            let Some(key) = change.sides().next().map(|ingress| &ingress.key) else { continue };
            let at = ingresses.binary_search_by(|ingress| ingress.key.cmp(key));
            let after = change.after.as_ref().filter(|after| {
                self.is_ours(&last.classes, after) && services(after).any(|mentioned| mentioned == *service)
            });
            match (at, after) {
                (Ok(at), Some(after)) => ingresses[at] = after.clone(),
                (Ok(at), None) => drop(ingresses.remove(at)),
                (Err(at), Some(after)) => ingresses.insert(at, after.clone()),
                (Err(_), None) => {}
            }
        }
        ingresses.into()
    }
}

/// Names and ports of the Services that an Ingress mentions.
fn backends(ingress: &Ingress) -> impl Iterator<Item = (&cluster::Text, &PortRef)> {
    let paths = ingress.rules.iter().flat_map(|rule| &rule.paths).map(|path| &path.backend);
    ingress.default_backend.iter().chain(paths).filter_map(|backend| match backend {
        Backend::Service(service) => Some((&service.name, &service.port)),
        Backend::Resource(_) => None,
    })
}

/// Keys of the Services that an Ingress mentions, each once.
fn services(ingress: &Ingress) -> impl Iterator<Item = Key> {
    let mut names: SmallVec<[&cluster::Text; 4]> = backends(ingress).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    let namespace = ingress.key.namespace.clone();
    let keys: SmallVec<[Key; 4]> =
        names.into_iter().map(|name| Key { namespace: namespace.clone(), name: name.clone() }).collect();
    keys.into_iter()
}

#[cfg(test)]
mod tests;
