//! The EndpointSlices by their owner.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use smallvec::SmallVec;

use crate::change::Change;
use crate::key::Key;
use crate::objects::EndpointSlice;

/// The slices of each owner: a Service or a ServiceImport in the namespace of the slice.
#[derive(Clone)]
pub(super) struct SliceIndex {
    /// The slices of one owner, at least one. They are sorted by name, so that views do not depend on the order of events. Their own
    /// fields are the key of the entry.
    owners: HashTable<SmallVec<[Arc<EndpointSlice>; 1]>>,
    hasher: RandomState,
    /// The name of the owner; empty if a slice has none.
    owner: fn(&EndpointSlice) -> &str,
}

impl SliceIndex {
    /// An empty index by the name that `owner` returns.
    pub(super) fn new(owner: fn(&EndpointSlice) -> &str) -> Self {
        Self { owners: HashTable::default(), hasher: RandomState::default(), owner }
    }

    /// An index of the same kind without slices.
    pub(super) fn empty(&self) -> Self {
        Self::new(self.owner)
    }

    /// The slices of an owner.
    pub(super) fn slices(&self, owner: &Key) -> &[Arc<EndpointSlice>] {
        let (namespace, name) = (&*owner.namespace, &*owner.name);
        let is = |slices: &SmallVec<[Arc<EndpointSlice>; 1]>| self.key(&slices[0]) == (namespace, name);
        let found = self.owners.find(self.hasher.hash_one((namespace, name)), is);
        found.map(SmallVec::as_slice).unwrap_or_default()
    }

    /// Updates the index after a change of a slice.
    pub(super) fn update(&mut self, change: &Change<EndpointSlice>) {
        if let Some(slice) = &change.before
            && let Entry::Occupied(mut entry) = self.entry(slice)
        {
            if let [_] = entry.get().as_slice() {
                entry.remove();
            } else {
                entry.get_mut().retain(|known| known.key.name != slice.key.name);
            }
        }
        let Some(slice) = &change.after else { return };
        if (self.owner)(slice).is_empty() {
            return;
        }
        match self.entry(slice) {
            Entry::Vacant(entry) => _ = entry.insert([slice.clone()].into_iter().collect()),
            Entry::Occupied(mut entry) => {
                let slices = entry.get_mut();
                let at = slices.partition_point(|known| known.key.name < slice.key.name);
                slices.insert(at, slice.clone());
            }
        }
    }

    /// The entry of a slice's owner.
    fn entry(&mut self, slice: &EndpointSlice) -> Entry<'_, SmallVec<[Arc<EndpointSlice>; 1]>> {
        let Self { owners, hasher, owner } = self;
        let key = |slice: &EndpointSlice| hasher.hash_one((&*slice.key.namespace, owner(slice)));
        let is = |slices: &SmallVec<[Arc<EndpointSlice>; 1]>| {
            slices[0].key.namespace == slice.key.namespace && owner(&slices[0]) == owner(slice)
        };
        owners.entry(key(slice), is, |slices| key(&slices[0]))
    }

    fn key<'a>(&self, slice: &'a EndpointSlice) -> (&'a str, &'a str) {
        (&slice.key.namespace, (self.owner)(slice))
    }
}
