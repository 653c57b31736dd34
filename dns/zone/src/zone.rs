//! The view: what every name under the zones answers right now.

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

/// The names of a cluster at one moment. Made by [`ZoneIndex`](crate::ZoneIndex); answers are given by
/// [`Zone::answer`].
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    pub(crate) plan: Arc<ZonePlan>,
    pub(crate) services: ShardedTable<RecordsEntry>,
    /// What the zones of `multicluster` have in place of `services`; empty without them.
    pub(crate) imports: ShardedTable<RecordsEntry>,
    pub(crate) ptr_entries: ShardedTable<PtrEntry>,
    /// Empty unless `pods verified`.
    pub(crate) pods: ShardedTable<PodAddress>,
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) local: SyncState,
    /// The same for the zones of `multicluster`.
    pub(crate) imported: SyncState,
}

/// How far what a zone depends on has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SyncState {
    /// Unix time of the last change.
    pub(crate) serial: u32,
    /// All of it has been listed once.
    pub(crate) synced: bool,
}

/// The namespaces that may be seen.
pub(crate) type Namespaces = HashSet<CompactString, RandomState>;

/// What does not change while the configuration stands.
#[derive(Debug, PartialEq)]
pub(crate) struct ZonePlan {
    pub(crate) options: ZoneOptions,
    /// Most labels first, so that the first that matches is the longest.
    pub(crate) origins: Vec<ServedZone>,
    /// The first zone that is no reverse zone: PTR records point into it.
    pub(crate) primary: Name,
}

/// A zone that is answered for.
#[derive(Debug, PartialEq)]
pub(crate) struct ServedZone {
    /// In lower case.
    pub(crate) name: Name,
    pub(crate) labels: usize,
    pub(crate) reverse: bool,
    /// Has imports in place of Services.
    pub(crate) multicluster: bool,
}

impl ZonePlan {
    pub(crate) fn new(options: ZoneOptions) -> Self {
        let origin = |name: &Name| ServedZone {
            name: name.lower(),
            labels: name.labels().count(),
            reverse: name.labels().last().is_some_and(|last| last.eq_ignore_ascii_case(b"arpa"))
                && is_reverse(name),
            multicluster: options.multicluster.iter().any(|zone| name.is_within(zone)),
        };
        let mut origins: Vec<ServedZone> = options.zones.iter().map(origin).collect();
        let forward = origins.iter().find(|origin| !origin.reverse);
        let primary = forward.or(origins.first()).map_or(Name::ROOT, |origin| origin.name);
        origins.sort_by_key(|origin| std::cmp::Reverse(origin.labels));
        Self { options, origins, primary }
    }

    /// The longest zone that the name is in.
    pub(crate) fn origin(&self, query: &Query) -> Option<&ServedZone> {
        let (name, offsets) = (query.lower(), query.offsets());
        self.origins.iter().find(|origin| {
            let zone = origin.name.wire();
            let Some(start) = name.len().checked_sub(zone.len()) else { return false };
            let Some(left) = offsets.len().checked_sub(origin.labels) else { return false };
            let border = offsets.get(left).map_or(name.len() - 1, |offset| usize::from(*offset));
            border == start && name[start..] == *zone
        })
    }
}

fn is_reverse(name: &Name) -> bool {
    ["in-addr.arpa", "ip6.arpa"].iter().any(|tree| {
        let tree: Name = tree.parse().expect("it is a name");
        name.is_within(&tree)
    })
}

impl Zone {
    /// Whether everything that answers depend on has been listed once. Until then names that are not found are
    /// [`ZoneVerdict::NotSynced`](crate::ZoneVerdict::NotSynced).
    pub fn synced(&self) -> bool {
        self.local.synced && (self.plan.options.multicluster.is_empty() || self.imported.synced)
    }

    /// The same, but for the zones of `multicluster`.
    pub fn synced_locally(&self) -> bool {
        self.local.synced
    }

    /// The serial number of the SOA record: Unix time of the last change. Zones of `multicluster` have another.
    pub fn serial(&self) -> u32 {
        self.local.serial
    }

    pub(crate) fn sync_state(&self, origin: &ServedZone) -> SyncState {
        if origin.multicluster { self.imported } else { self.local }
    }

    /// The services that could hold the address.
    pub(crate) fn candidates_by_address(&self, address: IpAddr) -> impl Iterator<Item = &ServiceRecords> {
        let mut last = None;
        // Two services whose keys have the same hash leave two equal entries.
        let ptr_entries = self
            .ptr_entries
            .at(address_hash(address))
            .filter(move |ptr_entry| last.replace(ptr_entry.service) != Some(ptr_entry.service));
        ptr_entries.flat_map(|ptr_entry| self.services.at(ptr_entry.service)).map(|entry| &*entry.service)
    }

    /// Whether a Pod of the namespace has the address, written as in the label.
    pub(crate) fn has_pod(&self, namespace: &[u8], label: &[u8], address: IpAddr) -> bool {
        let hash = pod_hash(namespace, address);
        is_exact(label, address) && self.pods.at((hash >> 32) as u32).any(|pod| pod.hash == hash)
    }

    pub(crate) fn has_namespace(&self, label: &[u8]) -> bool {
        std::str::from_utf8(label).is_ok_and(|name| self.namespaces.contains(name))
    }
}

/// The service with this key, which is in lower case.
pub(crate) fn service<'a>(
    services: &'a ShardedTable<RecordsEntry>,
    key: &[u8],
) -> Option<&'a ServiceRecords> {
    let hash = service_hash(key);
    let shard = services.shard(hash);
    shard.iter().find(|entry| entry.hash == hash && *entry.service.key == *key).map(|entry| &*entry.service)
}

/// Says that some Pod has an address in a namespace: a keyed hash of both. `pod` tells PodMode with the same address
/// apart, so that the last of them takes the entry with it.
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
