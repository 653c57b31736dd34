//! The records of a zone by name, and the zones that a plugin serves.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use arc_swap::{ArcSwap, ArcSwapOption};
use dns_wire::codes::rtype;
use dns_wire::{Name, Query};
use foldhash::fast::RandomState;

use crate::codes::Type;
use crate::names::Zones;

/// The most types of a name. Each query looks through them.
const MAX_TYPES: usize = 256;
/// The most records of a name and type: as many addresses as the longest message (64 KiB) has room for.
const MAX_SET: usize = 4096;

/// The records of a zone.
pub(in crate::plugins) struct ZoneData {
    pub origin: Name,
    pub serial: u32,
    /// Whether the file includes others, which may change while it does not.
    pub has_includes: bool,
    /// By lower-case name in wire form. Names above others exist as well, without records.
    nodes: HashMap<Box<[u8]>, NameRecords, RandomState>,
}

/// The records of a name.
#[derive(Default)]
pub(in crate::plugins) struct NameRecords {
    pub sets: Vec<RecordSet>,
}

/// The records of a name and type.
pub(in crate::plugins) struct RecordSet {
    pub rtype: u16,
    pub records: Vec<StoredRecord>,
}

pub(in crate::plugins) struct StoredRecord {
    pub ttl: u32,
    /// Whether an earlier record of the set has the same target (see `target`).
    pub repeats_target: bool,
    pub rdata: Box<[u8]>,
}

impl NameRecords {
    /// The records of a type.
    // Hot: 0 allocations.
    pub(in crate::plugins) fn set(&self, rtype: u16) -> Option<&RecordSet> {
        self.sets.iter().find(|set| set.rtype == rtype)
    }

    /// Whether all records are of such types.
    // Hot: 0 allocations.
    pub(super) fn has_only(&self, is_one: impl Fn(u16) -> bool) -> bool {
        self.sets.iter().all(|set| is_one(set.rtype))
    }
}

impl RecordSet {
    /// For each record whether none before it has the same data.
    fn first_ones(&self) -> Vec<bool> {
        let mut known = HashSet::<&[u8], RandomState>::default();
        self.records.iter().map(|record| known.insert(&record.rdata)).collect()
    }
}

impl ZoneData {
    pub(in crate::plugins) fn new(origin: Name) -> Self {
        let mut nodes = HashMap::<Box<[u8]>, NameRecords, RandomState>::default();
        nodes.insert(origin.wire().into(), NameRecords::default());
        Self { origin, serial: 0, has_includes: false, nodes }
    }

    /// Adds a record whose owner is within the zone. Afterwards the zone needs [`complete`](Self::complete).
    pub(in crate::plugins) fn insert(
        &mut self,
        owner: &Name,
        rtype: u16,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), String> {
        let wire = *owner;
        let mut above = wire.wire();
        // Every name between the zone and the owner exists (RFC 4592 §2.2.2).
        while above.len() > self.origin.wire().len() {
            self.nodes.entry(above.into()).or_default();
            above = &above[1 + usize::from(above[0])..];
        }
        let node = self.nodes.entry(owner.wire().into()).or_default();
        let record = StoredRecord { ttl, repeats_target: false, rdata: rdata.into() };
        let types = node.sets.len();
        match node.sets.iter_mut().find(|set| set.rtype == rtype) {
            Some(set) => set.records.push(record),
            None if types == MAX_TYPES => {
                return Err(format!("{owner} has records of more than {MAX_TYPES} types"));
            }
            None => node.sets.push(RecordSet { rtype, records: vec![record] }),
        }
        Ok(())
    }

    /// Removes repeated records, and finds repeated targets, once all records are there.
    pub(in crate::plugins) fn complete(&mut self) -> Result<(), String> {
        let sets =
            self.nodes.iter_mut().flat_map(|(name, node)| node.sets.iter_mut().map(move |set| (name, set)));
        for (name, set) in sets.filter(|(_, set)| set.records.len() > 1) {
            let mut is_first = set.first_ones().into_iter();
            set.records.retain(|_| is_first.next().unwrap_or_default());
            if set.records.len() > MAX_SET {
                let owner = Name::from_wire(name).unwrap_or(Name::ROOT);
                return Err(format!("{owner} has more than {MAX_SET} records of type {}", Type(set.rtype)));
            }
            if has_glue(set.rtype) {
                let mut targets = HashSet::<Name, RandomState>::default();
                for record in &mut set.records {
                    record.repeats_target =
                        target(set.rtype, &record.rdata).is_some_and(|name| !targets.insert(name));
                }
            }
        }
        Ok(())
    }

    /// The node of a name in lower case.
    // Hot: 0 allocations.
    pub(in crate::plugins) fn node(&self, name: &[u8]) -> Option<&NameRecords> {
        self.nodes.get(name)
    }

    pub(in crate::plugins) fn apex(&self) -> Option<&NameRecords> {
        self.node(self.origin.wire())
    }

    /// The number of records.
    #[cfg(test)]
    pub(in crate::plugins) fn len(&self) -> usize {
        self.nodes.values().flat_map(|node| &node.sets).map(|set| set.records.len()).sum()
    }

    pub(in crate::plugins) fn has_soa(&self) -> bool {
        self.apex().is_some_and(|apex| apex.set(rtype::SOA).is_some())
    }
}

/// Whether the addresses of a record's target are sent along with it: SVCB is 64.
pub(super) fn has_glue(rtype: u16) -> bool {
    matches!(rtype, rtype::NS | rtype::MX | rtype::SRV | rtype::HTTPS | 64)
}

/// The name in the data of a record of such a type, in lower case.
// Hot: 0 allocations.
pub(super) fn target(rtype: u16, rdata: &[u8]) -> Option<Name> {
    let before = match rtype {
        rtype::SRV => 6,
        rtype::NS => 0,
        _ => 2,
    };
    rdata.get(before..).and_then(Name::from_wire).map(Name::lower)
}

/// A zone as it is served. Its records are replaced when the file has changed.
pub(in crate::plugins) struct LoadedZone {
    pub origin: Name,
    pub data: ArcSwapOption<ZoneData>,
    /// The file.
    pub path: ArcSwap<PathBuf>,
    fallthrough: Option<Zones>,
}

impl LoadedZone {
    pub(in crate::plugins) fn new(origin: Name, fallthrough: Option<Zones>, path: PathBuf) -> Self {
        Self { origin, data: ArcSwapOption::empty(), path: ArcSwap::from_pointee(path), fallthrough }
    }

    pub(in crate::plugins) fn falls_through(&self, query: &Query) -> bool {
        self.fallthrough.as_ref().is_some_and(|zones| zones.contain(query))
    }
}

/// The zones of a plugin.
#[derive(Clone, Default)]
pub(in crate::plugins) struct ZoneTable(HashMap<Box<[u8]>, std::sync::Arc<LoadedZone>, RandomState>);

impl ZoneTable {
    /// Adds a zone, in place of one with the same name.
    pub(in crate::plugins) fn insert(&mut self, zone: std::sync::Arc<LoadedZone>) {
        self.0.insert(zone.origin.wire().into(), zone);
    }

    /// The longest zone that contains the name of the query.
    // Hot: 0 allocations.
    pub(in crate::plugins) fn find(&self, query: &Query) -> Option<&std::sync::Arc<LoadedZone>> {
        let name = query.lower();
        let starts = query.offsets().iter().map(|offset| usize::from(*offset)).chain([name.len() - 1]);
        starts.into_iter().find_map(|start| self.0.get(&name[start..]))
    }
}
