//! Keeps the view current: the smallest piece that a change touches is built anew from the snapshot.

use std::collections::HashSet;
use std::sync::Arc;

use cluster::{
    Change, EndpointSlice, Key, Kind, Kinds, Namespace, ObjectChange, Pod, Projection, Service,
    ServiceImport, Snapshot,
};
use foldhash::fast::RandomState;

use crate::options::{Pods, ZoneOptions};
use crate::spread::{Placed, Spread};
use crate::unit::{Bearer, Seat, Unit, unit_hash, wire_key};
use crate::zone::{Namespaces, Plan, PodAddress, Standing, Zone, pod_hash};

/// What a unit is made of.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Service,
    Import,
}

/// Cluster objects to a [`Zone`].
#[derive(Debug)]
pub struct ZoneIndex {
    plan: Arc<Plan>,
}

impl ZoneIndex {
    /// An index for these options.
    pub fn new(options: ZoneOptions) -> Self {
        Self { plan: Arc::new(Plan::new(options)) }
    }

    fn options(&self) -> &ZoneOptions {
        &self.plan.options
    }

    /// The kinds whose changes move the serial: as in CoreDNS, namespaces do not.
    fn dated(&self) -> Kinds {
        let slices =
            if self.options().endpoints { Kinds::of(&[Kind::EndpointSlice]) } else { Kinds::default() };
        Kinds::of(&[Kind::Service]).union(slices).union(self.pods())
    }

    /// The same for the zones of `multicluster`.
    fn imported(&self) -> Kinds {
        if !self.imports() {
            return Kinds::default();
        }
        Kinds::of(&[Kind::ServiceImport, Kind::EndpointSlice]).union(self.pods())
    }

    fn imports(&self) -> bool {
        !self.options().multicluster.is_empty()
    }

    fn pods(&self) -> Kinds {
        let verified = self.options().pods == Pods::Verified;
        if verified { Kinds::of(&[Kind::Pod]) } else { Kinds::default() }
    }

    /// How a zone stands that depends on these kinds, and on namespaces.
    fn standing(cluster: &Snapshot, kinds: Kinds) -> Standing {
        // A serial is 32 bits wide and wraps (RFC 1982).
        let serial = cluster.changed_at(kinds) as u32;
        Standing { serial, synced: cluster.synced(kinds.union(Kinds::of(&[Kind::Namespace]))) }
    }

    fn exposes(&self, namespace: &Namespace) -> bool {
        let ZoneOptions { namespaces, namespace_labels, .. } = self.options();
        (namespaces.is_empty() || namespaces.iter().any(|name| *name == *namespace.key.name))
            && namespace_labels.selects(&namespace.labels)
    }

    fn namespaces(&self, cluster: &Snapshot) -> Namespaces {
        let exposed = cluster.iter::<Namespace>().filter(|namespace| self.exposes(namespace));
        exposed.map(|namespace| namespace.key.name.clone()).collect()
    }

    fn unit(&self, of: Of, cluster: &Snapshot, key: &Key, namespaces: &Namespaces) -> Option<Seat> {
        let build = if of == Of::Service { Unit::of_service } else { Unit::of_import };
        let unit = build(self.options(), cluster, key, namespaces.contains(&key.namespace))?;
        Some(Seat { hash: unit.hash, unit: Arc::new(unit) })
    }

    fn zone(&self, cluster: &Snapshot, parts: Parts) -> Zone {
        let Parts { units, imports, bearers, pods, namespaces } = parts;
        Zone {
            plan: self.plan.clone(),
            units,
            imports,
            bearers,
            pods,
            namespaces,
            local: Self::standing(cluster, self.dated()),
            imported: Self::standing(cluster, self.imported()),
        }
    }

    /// The keys of the units that the changes reach.
    fn reached(&self, of: Of, last: &Spread<Seat>, touched: &[ObjectChange]) -> HashSet<Key, RandomState> {
        let mut keys = HashSet::default();
        let mut shown = Vec::new();
        for touched in touched {
            match touched {
                ObjectChange::Service(change) if of == Of::Service => {
                    keys.extend(change.sides().map(|service| service.key.clone()));
                }
                ObjectChange::ServiceImport(change) if of == Of::Import => {
                    keys.extend(change.sides().map(|import| import.key.clone()));
                }
                ObjectChange::EndpointSlice(change) => {
                    keys.extend(change.sides().filter_map(|slice| owner(of, slice)));
                }
                ObjectChange::Namespace(change) if self.flips(change) => {
                    shown.extend(change.sides().next().map(|namespace| namespace.key.name.clone()));
                }
                _ => {}
            }
        }
        if !shown.is_empty() {
            // A namespace that comes into sight is rare: looking at every unit then costs less than an index of them.
            let of_shown = |unit: &Unit| {
                let namespace = std::str::from_utf8(unit.namespace().get(1..)?).ok()?;
                shown.iter().any(|name| *name == namespace).then(|| unit_key(unit))
            };
            keys.extend(last.iter().filter_map(|seat| of_shown(&seat.unit)));
        }
        keys
    }

    /// The units that change, each as it was and as it is.
    fn steps(
        &self,
        of: Of,
        last: &Spread<Seat>,
        cluster: &Snapshot,
        touched: &[ObjectChange],
        namespaces: &Namespaces,
    ) -> Vec<(Option<Seat>, Option<Seat>)> {
        let keys = self.reached(of, last, touched);
        let step = |key: &Key| (seat(last, key), self.unit(of, cluster, key, namespaces));
        keys.iter().map(step).filter(|(before, after)| before != after).collect()
    }

    /// Whether the change makes a namespace visible or hides it.
    fn flips(&self, change: &Change<Namespace>) -> bool {
        let exposed = |side: &Option<Arc<Namespace>>| side.as_ref().is_some_and(|side| self.exposes(side));
        exposed(&change.before) != exposed(&change.after)
    }
}

/// What a [`Zone`] is put together from.
struct Parts {
    units: Spread<Seat>,
    imports: Spread<Seat>,
    bearers: Spread<Bearer>,
    pods: Spread<PodAddress>,
    namespaces: Arc<Namespaces>,
}

impl Projection for ZoneIndex {
    type View = Zone;

    fn kinds(&self) -> Kinds {
        self.dated().union(self.imported()).union(Kinds::of(&[Kind::Namespace]))
    }

    fn build(&self, cluster: &Snapshot) -> Zone {
        let namespaces = Arc::new(self.namespaces(cluster));
        let services = cluster.iter::<Service>().map(|service| service.key.clone());
        let mut keys: HashSet<Key, RandomState> = services.collect();
        if self.options().endpoints {
            keys.extend(cluster.iter::<EndpointSlice>().filter_map(|slice| owner(Of::Service, slice)));
        }
        let unit = |key: &Key| self.unit(Of::Service, cluster, key, &namespaces);
        let units: Vec<Seat> = keys.iter().filter_map(unit).collect();
        let bearers = Spread::new(units.iter().flat_map(|seat| seat.unit.bearers()));
        let imports = cluster.iter::<ServiceImport>().filter(|_| self.imports());
        let imports = imports.filter_map(|import| self.unit(Of::Import, cluster, &import.key, &namespaces));
        let verified = self.options().pods == Pods::Verified;
        let pods = cluster.iter::<Pod>().filter(|_| verified).flat_map(|pod| pod_addresses(pod));
        let (imports, pods) = (Spread::new(imports), Spread::new(pods));
        self.zone(cluster, Parts { units: Spread::new(units), imports, bearers, pods, namespaces })
    }

    fn advance(&self, last: &Zone, cluster: &Snapshot, touched: &[ObjectChange]) -> Zone {
        let of_namespaces = touched.iter().any(|touched| touched.kind() == Kind::Namespace);
        let namespaces =
            if of_namespaces { Arc::new(self.namespaces(cluster)) } else { last.namespaces.clone() };
        let (mut units, mut bearers) = (Moves::default(), Moves::default());
        for (before, after) in self.steps(Of::Service, &last.units, cluster, touched, &namespaces) {
            let borne = |seat: &Option<Seat>| seat.as_ref().map_or_else(Vec::new, |seat| seat.unit.bearers());
            bearers.step(borne(&before), borne(&after));
            units.gone.extend(before);
            units.came.extend(after);
        }
        let mut imports = Moves::default();
        if self.imports() {
            for (before, after) in self.steps(Of::Import, &last.imports, cluster, touched, &namespaces) {
                imports.gone.extend(before);
                imports.came.extend(after);
            }
        }
        let mut pods = Moves::default();
        if self.options().pods == Pods::Verified {
            for touched in touched {
                let ObjectChange::Pod(change) = touched else { continue };
                let of = |side: &Option<Arc<Pod>>| side.as_deref().map_or_else(Vec::new, pod_addresses);
                pods.step(of(&change.before), of(&change.after));
            }
        }
        let parts = Parts {
            units: units.make(&last.units),
            imports: imports.make(&last.imports),
            bearers: bearers.make(&last.bearers),
            pods: pods.make(&last.pods),
            namespaces,
        };
        self.zone(cluster, parts)
    }
}

/// What leaves a spread and what comes.
struct Moves<T> {
    gone: Vec<T>,
    came: Vec<T>,
}

impl<T> Default for Moves<T> {
    fn default() -> Self {
        Self { gone: Vec::new(), came: Vec::new() }
    }
}

impl<T: Placed + PartialEq> Moves<T> {
    /// From these entries to those, both sorted; what is on both sides stays.
    fn step(&mut self, before: Vec<T>, after: Vec<T>) {
        let has = |side: &[T], entry: &T| side.binary_search_by(|other| other.order(entry)).is_ok();
        self.gone.extend(before.iter().filter(|entry| !has(&after, entry)).cloned());
        self.came.extend(after.iter().filter(|entry| !has(&before, entry)).cloned());
    }

    fn make(self, last: &Spread<T>) -> Spread<T> {
        if self.gone.is_empty() && self.came.is_empty() {
            return last.clone();
        }
        last.change(self.gone, self.came)
    }
}

/// The key of the unit that the endpoints of a slice belong to.
fn owner(of: Of, slice: &EndpointSlice) -> Option<Key> {
    match of {
        Of::Service => (!slice.service.is_empty()).then(|| slice.service_key()),
        Of::Import => slice.import_key(),
    }
}

fn seat(units: &Spread<Seat>, key: &Key) -> Option<Seat> {
    let wire = wire_key(key)?;
    let hash = unit_hash(&wire);
    units.at(hash).find(|seat| seat.unit.key == wire).cloned()
}

fn unit_key(unit: &Unit) -> Key {
    let mut labels =
        dns_wire::name::labels(&unit.key).map(|label| String::from_utf8_lossy(label).into_owned());
    let (name, namespace) = (labels.next().unwrap_or_default(), labels.next().unwrap_or_default());
    Key::new(namespace, name)
}

/// The addresses of a Pod, sorted.
fn pod_addresses(pod: &Pod) -> Vec<PodAddress> {
    let who = dns_wire::hash(pod.key.name.as_bytes());
    let entry = |address| PodAddress { hash: pod_hash(pod.key.namespace.as_bytes(), address), pod: who };
    let mut entries: Vec<PodAddress> = pod.addresses.iter().map(|address| entry(*address)).collect();
    entries.sort_by(PodAddress::order);
    entries.dedup();
    entries
}

#[cfg(test)]
mod tests {
    use cluster::testing::{check_projection, histories};
    use proptest::prelude::*;

    use super::*;

    fn options() -> impl Strategy<Value = ZoneOptions> {
        let pods = prop_oneof![Just(Pods::Disabled), Just(Pods::Insecure), Just(Pods::Verified)];
        let namespaces = prop_oneof![Just(vec![]), Just(vec!["shop".to_owned()])];
        let labels = prop_oneof![Just(""), Just("stage=prod"), Just("!stage")];
        (pods, any::<[bool; 5]>(), namespaces, labels).prop_map(|(pods, flags, namespaces, labels)| {
            let zones = ["cluster.local", "clusterset.local", "in-addr.arpa", "ip6.arpa"]
                .map(|zone| zone.parse().expect("a name"));
            let [endpoint_pod_names, endpoints, ignore_empty_service, zonal, multicluster] = flags;
            let namespace_labels = labels.parse().expect("a selector");
            ZoneOptions {
                pods,
                endpoint_pod_names,
                endpoints,
                ignore_empty_service,
                zonal,
                multicluster: if multicluster { zones[1..2].to_vec() } else { Vec::new() },
                namespaces,
                namespace_labels,
                ..ZoneOptions::new(zones.into())
            }
        })
    }

    proptest! {
        #[test]
        fn advancing_equals_building_anew(options in options(), history in histories()) {
            check_projection(|| ZoneIndex::new(options.clone()), history);
        }
    }
}
