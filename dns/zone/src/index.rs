//! The projection from cluster objects to the [`Zone`]: rebuilds only the services that a change affects.

use std::sync::Arc;

use cluster::{
    Change, EndpointSlice, Key, Kind, Kinds, Namespace, ObjectChange, Pod, Projection, Service,
    ServiceImport, Snapshot,
};
use foldhash::fast::RandomState;
use indexmap::IndexSet;

use crate::options::{PodMode, ZoneOptions};
use crate::records::{PtrEntry, RecordsEntry, ServiceRecords, service_hash, wire_key};
use crate::sharded::{ShardedTable, TableEntry};
use crate::zone::{Namespaces, PodAddress, SyncState, Zone, ZonePlan, pod_hash};

/// Which objects the records of a service name come from.
#[derive(Clone, Copy, PartialEq)]
enum RecordsSource {
    Service,
    Import,
}

/// Projects cluster objects to a [`Zone`].
#[derive(Debug)]
pub struct ZoneIndex {
    plan: Arc<ZonePlan>,
}

impl ZoneIndex {
    /// Creates the projection for these options.
    pub fn new(options: ZoneOptions) -> Self {
        Self { plan: Arc::new(ZonePlan::new(options)) }
    }

    fn options(&self) -> &ZoneOptions {
        &self.plan.options
    }

    /// Object kinds whose changes increase the SOA serial. As in CoreDNS, namespaces are not among them.
    fn dated(&self) -> Kinds {
        let slices =
            if self.options().endpoints { Kinds::of(&[Kind::EndpointSlice]) } else { Kinds::default() };
        Kinds::of(&[Kind::Service]).union(slices).union(self.pods())
    }

    /// The same kinds for the zones of `multicluster`.
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
        let verified = self.options().pods == PodMode::Verified;
        if verified { Kinds::of(&[Kind::Pod]) } else { Kinds::default() }
    }

    /// Synchronisation state of a zone that depends on these kinds and on namespaces.
    fn sync_state(cluster: &Snapshot, kinds: Kinds) -> SyncState {
        // SOA serials have 32 bits and wrap (RFC 1982).
        let serial = cluster.changed_at(kinds) as u32;
        SyncState { serial, synced: cluster.synced(kinds.union(Kinds::of(&[Kind::Namespace]))) }
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

    fn service(
        &self,
        of: RecordsSource,
        cluster: &Snapshot,
        key: &Key,
        namespaces: &Namespaces,
    ) -> Option<RecordsEntry> {
        let build =
            if of == RecordsSource::Service { ServiceRecords::of_service } else { ServiceRecords::of_import };
        let service = build(self.options(), cluster, key, namespaces.contains(&key.namespace))?;
        Some(RecordsEntry { hash: service.hash, service: Arc::new(service) })
    }

    fn zone(&self, cluster: &Snapshot, parts: ZoneParts) -> Zone {
        let ZoneParts { services, imports, ptr_entries, pods, namespaces } = parts;
        Zone {
            plan: self.plan.clone(),
            services,
            imports,
            ptr_entries,
            pods,
            namespaces,
            local: Self::sync_state(cluster, self.dated()),
            imported: Self::sync_state(cluster, self.imported()),
        }
    }

    /// Keys of the services that the changes affect, in their order: objects that arrived together are next to each other in memory, and
    /// most of the cost of a large batch is to load them from there.
    fn reached(
        &self,
        of: RecordsSource,
        last: &ShardedTable<RecordsEntry>,
        touched: &[ObjectChange],
    ) -> DistinctKeys {
        let mut keys = DistinctKeys::default();
        let mut shown = Vec::new();
        for touched in touched {
            match touched {
                ObjectChange::Service(change) if of == RecordsSource::Service => {
                    keys.extend(change.sides().map(|service| service.key.clone()));
                }
                ObjectChange::ServiceImport(change) if of == RecordsSource::Import => {
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
            // A namespace rarely becomes visible or hidden; a scan over all services is cheaper than keeping an index by namespace.
            let of_shown = |service: &ServiceRecords| {
                let namespace = std::str::from_utf8(service.namespace().get(1..)?).ok()?;
                shown.iter().any(|name| *name == namespace).then(|| service_key(service))
            };
            keys.extend(last.iter().filter_map(|entry| of_shown(&entry.service)));
        }
        keys
    }

    /// The services that differ, each as (before, after).
    fn steps(
        &self,
        of: RecordsSource,
        last: &ShardedTable<RecordsEntry>,
        cluster: &Snapshot,
        touched: &[ObjectChange],
        namespaces: &Namespaces,
    ) -> Vec<(Option<RecordsEntry>, Option<RecordsEntry>)> {
        let keys = self.reached(of, last, touched);
        let step = |key: &Key| (entry(last, key), self.service(of, cluster, key, namespaces));
        keys.iter().map(step).filter(|(before, after)| before != after).collect()
    }

    /// Whether the change makes the namespace visible or hides it.
    fn flips(&self, change: &Change<Namespace>) -> bool {
        let exposed = |side: &Option<Arc<Namespace>>| side.as_ref().is_some_and(|side| self.exposes(side));
        exposed(&change.before) != exposed(&change.after)
    }
}

/// Keys in the order in which they were added, each once.
type DistinctKeys = IndexSet<Key, RandomState>;

/// The tables of a [`Zone`].
struct ZoneParts {
    services: ShardedTable<RecordsEntry>,
    imports: ShardedTable<RecordsEntry>,
    ptr_entries: ShardedTable<PtrEntry>,
    pods: ShardedTable<PodAddress>,
    namespaces: Arc<Namespaces>,
}

impl Projection for ZoneIndex {
    type View = Zone;

    fn kinds(&self) -> Kinds {
        self.dated().union(self.imported()).union(Kinds::of(&[Kind::Namespace]))
    }

    fn build(&self, cluster: &Snapshot) -> Zone {
        let namespaces = Arc::new(self.namespaces(cluster));
        let mut keys = DistinctKeys::default();
        keys.extend(cluster.iter::<Service>().map(|service| service.key.clone()));
        if self.options().endpoints {
            keys.extend(
                cluster.iter::<EndpointSlice>().filter_map(|slice| owner(RecordsSource::Service, slice)),
            );
        }
        let service = |key: &Key| self.service(RecordsSource::Service, cluster, key, &namespaces);
        let services: Vec<RecordsEntry> = keys.iter().filter_map(service).collect();
        let ptr_entries = ShardedTable::new(services.iter().flat_map(|entry| entry.service.ptr_entries()));
        let imports = cluster.iter::<ServiceImport>().filter(|_| self.imports());
        let imports = imports
            .filter_map(|import| self.service(RecordsSource::Import, cluster, &import.key, &namespaces));
        let verified = self.options().pods == PodMode::Verified;
        let pods = cluster.iter::<Pod>().filter(|_| verified).flat_map(|pod| pod_addresses(pod));
        let (imports, pods) = (ShardedTable::new(imports), ShardedTable::new(pods));
        self.zone(
            cluster,
            ZoneParts { services: ShardedTable::new(services), imports, ptr_entries, pods, namespaces },
        )
    }

    fn advance(&self, last: &Zone, cluster: &Snapshot, touched: &[ObjectChange]) -> Zone {
        let of_namespaces = touched.iter().any(|touched| touched.kind() == Kind::Namespace);
        let namespaces =
            if of_namespaces { Arc::new(self.namespaces(cluster)) } else { last.namespaces.clone() };
        let (mut services, mut ptr_entries) = (TableChanges::default(), TableChanges::default());
        for (before, after) in
            self.steps(RecordsSource::Service, &last.services, cluster, touched, &namespaces)
        {
            let borne = |entry: &Option<RecordsEntry>| {
                entry.as_ref().map_or_else(Vec::new, |entry| entry.service.ptr_entries())
            };
            ptr_entries.step(borne(&before), borne(&after));
            services.gone.extend(before);
            services.came.extend(after);
        }
        let mut imports = TableChanges::default();
        if self.imports() {
            for (before, after) in
                self.steps(RecordsSource::Import, &last.imports, cluster, touched, &namespaces)
            {
                imports.gone.extend(before);
                imports.came.extend(after);
            }
        }
        let mut pods = TableChanges::default();
        if self.options().pods == PodMode::Verified {
            for touched in touched {
                let ObjectChange::Pod(change) = touched else { continue };
                let of = |side: &Option<Arc<Pod>>| side.as_deref().map_or_else(Vec::new, pod_addresses);
                pods.step(of(&change.before), of(&change.after));
            }
        }
        let parts = ZoneParts {
            services: services.make(&last.services),
            imports: imports.make(&last.imports),
            ptr_entries: ptr_entries.make(&last.ptr_entries),
            pods: pods.make(&last.pods),
            namespaces,
        };
        self.zone(cluster, parts)
    }
}

/// Entries to remove from and to add to a [`ShardedTable`].
struct TableChanges<T> {
    gone: Vec<T>,
    came: Vec<T>,
}

impl<T> Default for TableChanges<T> {
    fn default() -> Self {
        Self { gone: Vec::new(), came: Vec::new() }
    }
}

impl<T: TableEntry + PartialEq> TableChanges<T> {
    /// Records the difference between two sorted lists of entries.
    fn step(&mut self, before: Vec<T>, after: Vec<T>) {
        let has = |side: &[T], entry: &T| side.binary_search_by(|other| other.order(entry)).is_ok();
        self.gone.extend(before.iter().filter(|entry| !has(&after, entry)).cloned());
        self.came.extend(after.iter().filter(|entry| !has(&before, entry)).cloned());
    }

    fn make(self, last: &ShardedTable<T>) -> ShardedTable<T> {
        if self.gone.is_empty() && self.came.is_empty() {
            return last.clone();
        }
        last.change(self.gone, self.came)
    }
}

/// Key of the service that owns the endpoints of a slice.
fn owner(of: RecordsSource, slice: &EndpointSlice) -> Option<Key> {
    match of {
        RecordsSource::Service => (!slice.service.is_empty()).then(|| slice.service_key()),
        RecordsSource::Import => slice.import_key(),
    }
}

fn entry(services: &ShardedTable<RecordsEntry>, key: &Key) -> Option<RecordsEntry> {
    let wire = wire_key(key)?;
    let hash = service_hash(&wire);
    services.at(hash).find(|entry| entry.service.key == wire).cloned()
}

fn service_key(service: &ServiceRecords) -> Key {
    let mut labels =
        dns_wire::name::labels(&service.key).map(|label| String::from_utf8_lossy(label).into_owned());
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
        let pods = prop_oneof![Just(PodMode::Disabled), Just(PodMode::Insecure), Just(PodMode::Verified)];
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
