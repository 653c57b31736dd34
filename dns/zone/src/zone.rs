//! The view: all names of the zones at one moment.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use cluster::CompactString;
use dns_wire::{Name, Query};
use foldhash::fast::RandomState;

use crate::address::is_exact;
use crate::options::ZoneOptions;
use crate::records::{PtrEntry, RecordsEntry, ServiceRecords, address_hash, service_hash};
use crate::sharded::ShardedTable;

/// All names of the zones at one moment. Built by [`ZoneIndex`](crate::ZoneIndex); queries are answered by
/// [`Zone::answer`].
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    pub(crate) plan: Arc<ZonePlan>,
    pub(crate) services: ShardedTable<RecordsEntry>,
    /// The table that the zones of `multicluster` use instead of `services`; empty without such zones.
    pub(crate) imports: ShardedTable<RecordsEntry>,
    pub(crate) ptr_entries: ShardedTable<PtrEntry>,
    /// Empty unless `pods verified`.
    pub(crate) pods: ShardedTable<PodAddress>,
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) local: SyncState,
    /// State of the zones of `multicluster`.
    pub(crate) imported: SyncState,
}

/// Synchronisation state of the objects that a zone depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SyncState {
    /// Unix time of the last change.
    pub(crate) serial: u32,
    /// All kinds have been listed completely at least once.
    pub(crate) synced: bool,
}

/// Names of the visible namespaces.
pub(crate) type Namespaces = HashSet<CompactString, RandomState>;

/// The part of a zone that depends on the configuration only.
#[derive(Debug, PartialEq)]
pub(crate) struct ZonePlan {
    pub(crate) options: ZoneOptions,
    /// Sorted by number of labels, most first, so that the first match is the longest.
    pub(crate) origins: Vec<ServedZone>,
    /// The first zone that is not a reverse zone; PTR records point into it.
    pub(crate) primary: Name,
}

/// A zone from the configuration.
#[derive(Debug, PartialEq)]
pub(crate) struct ServedZone {
    /// In lower case.
    pub(crate) name: Name,
    pub(crate) labels: usize,
    pub(crate) reverse: bool,
    /// Built from ServiceImports instead of Services.
    pub(crate) multicluster: bool,
    /// The labels between a Service's key and the zone: `svc`, or none in a zone of `k8s_external`.
    pub(crate) branch: &'static [u8],
    /// TTL of the addresses of SRV targets in seconds.
    pub(crate) address_ttl: u32,
}

/// The label between the key of a Service and a zone of the cluster.
pub(crate) const SVC: &[u8] = b"\x03svc";

impl ZonePlan {
    pub(crate) fn new(options: ZoneOptions) -> Self {
        let origin = |name: &Name| ServedZone {
            name: name.lower(),
            labels: name.labels().count(),
            reverse: name.labels().last().is_some_and(|last| last.eq_ignore_ascii_case(b"arpa"))
                && is_reverse(name),
            multicluster: options.multicluster.iter().any(|zone| name.is_within(zone)),
            branch: SVC,
            address_ttl: options.ttl,
        };
        let mut origins: Vec<ServedZone> = options.zones.iter().map(origin).collect();
        let forward = origins.iter().find(|origin| !origin.reverse);
        let primary = forward.or(origins.first()).map_or(Name::ROOT, |origin| origin.name);
        origins.sort_by_key(|origin| std::cmp::Reverse(origin.labels));
        Self { options, origins, primary }
    }

    /// The longest zone that contains the name.
    pub(crate) fn origin(&self, query: &Query) -> Option<&ServedZone> {
        self.origins.iter().find(|origin| origin.contains(query))
    }
}

impl ServedZone {
    /// Whether the name of the query is in the zone.
    pub(crate) fn contains(&self, query: &Query) -> bool {
        let (name, offsets, zone) = (query.lower(), query.offsets(), self.name.wire());
        let Some(start) = name.len().checked_sub(zone.len()) else { return false };
        let Some(left) = offsets.len().checked_sub(self.labels) else { return false };
        let border = offsets.get(left).map_or(name.len() - 1, |offset| usize::from(*offset));
        border == start && name[start..] == *zone
    }
}

pub(crate) fn is_reverse(name: &Name) -> bool {
    ["in-addr.arpa", "ip6.arpa"].iter().any(|tree| {
        let tree: Name = tree.parse().expect("it is a name");
        name.is_within(&tree)
    })
}

impl Zone {
    /// Whether all kinds that answers depend on have been listed once. Until then unknown names are
    /// [`ZoneVerdict::NotSynced`](crate::ZoneVerdict::NotSynced).
    pub fn synced(&self) -> bool {
        self.local.synced && (self.plan.options.multicluster.is_empty() || self.imported.synced)
    }

    /// Like [`Zone::synced`], ignoring the zones of `multicluster`.
    pub fn synced_locally(&self) -> bool {
        self.local.synced
    }

    /// SOA serial: Unix time of the last change. Zones of `multicluster` have a serial of their own.
    pub fn serial(&self) -> u32 {
        self.local.serial
    }

    pub(crate) fn sync_state(&self, origin: &ServedZone) -> SyncState {
        if origin.multicluster { self.imported } else { self.local }
    }

    /// Services that may have the address; the caller verifies.
    pub(crate) fn candidates_by_address(&self, address: IpAddr) -> impl Iterator<Item = &ServiceRecords> {
        let mut last = None;
        // Two services whose keys have the same hash produce two equal entries.
        let ptr_entries = self
            .ptr_entries
            .at(address_hash(address))
            .filter(move |ptr_entry| last.replace(ptr_entry.service) != Some(ptr_entry.service));
        ptr_entries.flat_map(|ptr_entry| self.services.at(ptr_entry.service)).map(|entry| &*entry.service)
    }

    /// Whether a Pod of the namespace has the address and the label is its canonical form.
    pub(crate) fn has_pod(&self, namespace: &[u8], label: &[u8], address: IpAddr) -> bool {
        let hash = pod_hash(namespace, address);
        is_exact(label, address) && self.pods.at((hash >> 32) as u32).any(|pod| pod.hash == hash)
    }

    pub(crate) fn has_namespace(&self, label: &[u8]) -> bool {
        std::str::from_utf8(label).is_ok_and(|name| self.namespaces.contains(name))
    }
}

/// Finds the service with this lower-case key.
pub(crate) fn service<'a>(
    services: &'a ShardedTable<RecordsEntry>,
    key: &[u8],
) -> Option<&'a ServiceRecords> {
    let hash = service_hash(key);
    services.at(hash).find(|entry| *entry.service.key == *key).map(|entry| &*entry.service)
}

/// Records that a Pod has an address in a namespace, as a keyed hash of both. `pod` is a hash of the Pod's name: Pods that
/// share an address have separate entries, so that removing one keeps the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodAddress {
    pub(crate) hash: u64,
    pub(crate) pod: u64,
}

impl crate::sharded::TableEntry for PodAddress {
    fn hash(&self) -> u32 {
        (self.hash >> 32) as u32
    }

    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.cmp(other)
    }
}

/// The hash of an address in a namespace.
pub(crate) fn pod_hash(namespace: &[u8], address: IpAddr) -> u64 {
    let mut bytes = [0; 80];
    let len = namespace.len().min(63);
    bytes[..len].copy_from_slice(&namespace[..len]);
    let address = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    bytes[64..].copy_from_slice(&address.octets());
    dns_wire::hash(&bytes)
}
