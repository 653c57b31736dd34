//! The records of a zone by name, and the zones that a plugin serves.

use std::collections::HashMap;

use arc_swap::ArcSwapOption;
use dns_wire::codes::rtype;
use dns_wire::{Name, Query};
use foldhash::fast::RandomState;

use crate::names::Zones;

/// The records of a zone.
pub(in crate::plugins) struct ZoneData {
    pub origin: Name,
    pub serial: u32,
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
    pub rdata: Box<[u8]>,
}

impl NameRecords {
    /// The records of a type.
    // Hot: 0 allocations.
    pub(in crate::plugins) fn set(&self, rtype: u16) -> Option<&RecordSet> {
        self.sets.iter().find(|set| set.rtype == rtype)
    }
}

impl ZoneData {
    pub(in crate::plugins) fn new(origin: Name) -> Self {
        let mut nodes = HashMap::<Box<[u8]>, NameRecords, RandomState>::default();
        nodes.insert(origin.wire().into(), NameRecords::default());
        Self { origin, serial: 0, nodes }
    }

    /// Adds a record whose owner is within the zone. A repeated record counts once.
    pub(in crate::plugins) fn insert(&mut self, owner: &Name, rtype: u16, ttl: u32, rdata: &[u8]) {
        let wire = *owner;
        let mut above = wire.wire();
        // Every name between the zone and the owner exists (RFC 4592 §2.2.2).
        while above.len() > self.origin.wire().len() {
            self.nodes.entry(above.into()).or_default();
            above = &above[1 + usize::from(above[0])..];
        }
        let node = self.nodes.entry(owner.wire().into()).or_default();
        let record = StoredRecord { ttl, rdata: rdata.into() };
        match node.sets.iter_mut().find(|set| set.rtype == rtype) {
            Some(set) if set.records.iter().any(|known| known.rdata == record.rdata) => {}
            Some(set) => set.records.push(record),
            None => node.sets.push(RecordSet { rtype, records: vec![record] }),
        }
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

/// A zone as it is served. Its records are replaced when the file has changed.
pub(in crate::plugins) struct FileZone {
    pub origin: Name,
    pub data: ArcSwapOption<ZoneData>,
    fallthrough: Option<Zones>,
}

impl FileZone {
    pub(in crate::plugins) fn new(origin: Name, fallthrough: Option<Zones>) -> Self {
        Self { origin, data: ArcSwapOption::empty(), fallthrough }
    }

    pub(in crate::plugins) fn falls_through(&self, query: &Query) -> bool {
        self.fallthrough.as_ref().is_some_and(|zones| zones.contain(query))
    }
}

/// The zones of a plugin.
#[derive(Clone, Default)]
pub(in crate::plugins) struct ZoneTable(HashMap<Box<[u8]>, std::sync::Arc<FileZone>, RandomState>);

impl ZoneTable {
    /// Adds a zone, in place of one with the same name.
    pub(in crate::plugins) fn insert(&mut self, zone: std::sync::Arc<FileZone>) {
        self.0.insert(zone.origin.wire().into(), zone);
    }

    /// The longest zone that contains the name of the query.
    // Hot: 0 allocations.
    pub(in crate::plugins) fn find(&self, query: &Query) -> Option<&std::sync::Arc<FileZone>> {
        let name = query.lower();
        let starts = query.offsets().iter().map(|offset| usize::from(*offset)).chain([name.len() - 1]);
        starts.into_iter().find_map(|start| self.0.get(&name[start..]))
    }
}
