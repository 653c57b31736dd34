//! The objects of the cluster, as projections read them.

mod slice_index;

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::change::{Change, ObjectChange};
use crate::event::Object;
use crate::key::Key;
use crate::kind::{Kind, Kinds, kinds};
use crate::objects::*;
use slice_index::SliceIndex;

/// A type of object that the snapshot stores.
pub trait Resource: PartialEq + Sized + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
    /// Its key.
    fn key(&self) -> &Key;
    /// The store of the snapshot for objects of this type.
    fn store(snapshot: &Snapshot) -> &Store<Self>;
    /// The object, if it is of this type.
    fn of(object: Object) -> Option<Arc<Self>>;
    /// Wraps a change of an object of this type.
    fn change(change: Change<Self>) -> ObjectChange;
}

macro_rules! stores {
    ($($kind:ident: $store:ident, $($rest:tt),*;)*) => {
        /// A store for each kind.
        #[derive(Default)]
        struct Stores {
            $($store: Store<$kind>,)*
        }

        impl Stores {
            /// The stores of these kinds; those of others are empty.
            fn copy(&self, kinds: Kinds) -> Self {
                Self {
                    $($store: if kinds.contains(Kind::$kind) { self.$store.clone() } else { Store::default() },)*
                }
            }

            fn of(&self, kind: Kind) -> &dyn AnyStore {
                match kind {
                    $(Kind::$kind => &self.$store,)*
                }
            }

            fn of_mut(&mut self, kind: Kind) -> &mut dyn AnyStore {
                match kind {
                    $(Kind::$kind => &mut self.$store,)*
                }
            }
        }

        $(impl Resource for $kind {
            const KIND: Kind = Kind::$kind;

            fn key(&self) -> &Key {
                &self.key
            }

            fn store(snapshot: &Snapshot) -> &Store<Self> {
                &snapshot.stores.$store
            }

            fn of(object: Object) -> Option<Arc<Self>> {
                if let Object::$kind(object) = object { Some(object) } else { None }
            }

            fn change(change: Change<Self>) -> ObjectChange {
                ObjectChange::$kind(change)
            }
        })*
    };
}
kinds!(stores);

/// All objects of the kinds that are watched, as of the last batch. The writer owns it.
pub struct Snapshot {
    stores: Stores,
    slices_of: SliceIndex,
    imported_by: SliceIndex,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            stores: Stores::default(),
            slices_of: SliceIndex::new(|slice| &slice.service),
            imported_by: SliceIndex::new(|slice| slice.import.as_ref().map_or("", |import| &import.service)),
        }
    }
}

impl Snapshot {
    /// One object.
    pub fn get<T: Resource>(&self, key: &Key) -> Option<&Arc<T>> {
        T::store(self).find(key).map(|stored| &stored.object)
    }

    /// All objects of a type, in arbitrary order.
    pub fn iter<T: Resource>(&self) -> impl Iterator<Item = &Arc<T>> {
        T::store(self).objects.iter().map(|stored| &stored.object)
    }

    /// The number of objects of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.stores.of(kind).count()
    }

    /// The EndpointSlices of a Service, by name.
    pub fn slices_of<'a>(&'a self, service: &'a Key) -> impl Iterator<Item = &'a Arc<EndpointSlice>> {
        self.slices_of.slices(service).iter()
    }

    /// The EndpointSlices of a ServiceImport, by name.
    pub fn imported_by<'a>(&'a self, import: &'a Key) -> impl Iterator<Item = &'a Arc<EndpointSlice>> {
        self.imported_by.slices(import).iter()
    }

    /// Whether each of these kinds has been listed in full at least once.
    pub fn synced(&self, kinds: Kinds) -> bool {
        kinds.iter().all(|kind| self.stores.of(kind).synced())
    }

    /// Unix seconds of the last batch that changed an object of one of these kinds; 0 before the first.
    pub fn changed_at(&self, kinds: Kinds) -> u64 {
        kinds.iter().map(|kind| self.stores.of(kind).changed_at()).max().unwrap_or(0)
    }

    /// A copy with the objects of these kinds, which it shares.
    pub(crate) fn copy(&self, kinds: Kinds) -> Self {
        let index = |index: &SliceIndex| {
            if kinds.contains(Kind::EndpointSlice) { index.clone() } else { index.empty() }
        };
        Self {
            stores: self.stores.copy(kinds),
            slices_of: index(&self.slices_of),
            imported_by: index(&self.imported_by),
        }
    }

    /// Stores an object. Returns the change; `None` when the object is the same as before.
    pub(crate) fn apply(&mut self, object: Object) -> Option<ObjectChange> {
        let touched = self.stores.of_mut(object.kind()).apply(object)?;
        self.reindex(&touched);
        Some(touched)
    }

    /// Removes an object. Returns the change; `None` when there was no such object.
    pub(crate) fn remove(&mut self, kind: Kind, key: &Key) -> Option<ObjectChange> {
        let touched = self.stores.of_mut(kind).remove(key)?;
        self.reindex(&touched);
        Some(touched)
    }

    /// Counts an object as seen in the current list, without a change.
    pub(crate) fn keep(&mut self, kind: Kind, key: &Key) {
        self.stores.of_mut(kind).keep(key);
    }

    /// Begins a list of a kind.
    pub(crate) fn begin_list(&mut self, kind: Kind) {
        self.stores.of_mut(kind).begin_list();
    }

    /// Ends a list of a kind. Returns the keys of objects that were not in it, and whether it is the first list of this kind
    /// that ends.
    pub(crate) fn end_list(&mut self, kind: Kind) -> (Vec<Key>, bool) {
        self.stores.of_mut(kind).end_list()
    }

    /// Removes all objects of a kind, which then counts as not listed. Returns the changes.
    pub(crate) fn forget(&mut self, kind: Kind) -> Vec<ObjectChange> {
        let removed = self.stores.of_mut(kind).forget();
        removed.iter().for_each(|touched| self.reindex(touched));
        removed
    }

    /// Sets when an object of a kind last changed, in Unix seconds.
    pub(crate) fn set_changed_at(&mut self, kind: Kind, now: u64) {
        self.stores.of_mut(kind).set_changed_at(now);
    }

    /// Updates the indexes after a change.
    fn reindex(&mut self, touched: &ObjectChange) {
        let ObjectChange::EndpointSlice(change) = touched else { return };
        self.slices_of.update(change);
        self.imported_by.update(change);
    }
}

/// The objects of one kind.
pub struct Store<T> {
    /// By key, which is that of the object: a copy of it would take three times as much as the rest of an entry.
    objects: HashTable<StoredObject<T>>,
    hasher: RandomState,
    /// The number of the current list; an object that was not seen in it is removed when it ends.
    list: u32,
    synced: bool,
    changed_at: u64,
}

struct StoredObject<T> {
    object: Arc<T>,
    seen: u32,
}

impl<T> Clone for StoredObject<T> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), seen: self.seen }
    }
}

impl<T> Clone for Store<T> {
    fn clone(&self) -> Self {
        let Self { objects, hasher, list, synced, changed_at } = self;
        Self {
            objects: objects.clone(),
            hasher: hasher.clone(),
            list: *list,
            synced: *synced,
            changed_at: *changed_at,
        }
    }
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        let (objects, hasher) = (HashTable::default(), RandomState::default());
        Self { objects, hasher, list: 0, synced: false, changed_at: 0 }
    }
}

impl<T: Resource> Store<T> {
    fn find(&self, key: &Key) -> Option<&StoredObject<T>> {
        self.objects.find(self.hasher.hash_one(key), |stored| stored.object.key() == key)
    }

    fn entry(&mut self, key: &Key) -> Entry<'_, StoredObject<T>> {
        let Self { objects, hasher, .. } = self;
        let is = |stored: &StoredObject<T>| stored.object.key() == key;
        objects.entry(hasher.hash_one(key), is, |stored| hasher.hash_one(stored.object.key()))
    }
}

/// The operations of a store that do not depend on its type.
trait AnyStore {
    fn count(&self) -> usize;
    fn synced(&self) -> bool;
    fn changed_at(&self) -> u64;
    fn apply(&mut self, object: Object) -> Option<ObjectChange>;
    fn remove(&mut self, key: &Key) -> Option<ObjectChange>;
    fn keep(&mut self, key: &Key);
    fn begin_list(&mut self);
    fn end_list(&mut self) -> (Vec<Key>, bool);
    fn forget(&mut self) -> Vec<ObjectChange>;
    fn set_changed_at(&mut self, now: u64);
}

impl<T: Resource> AnyStore for Store<T> {
    fn count(&self) -> usize {
        self.objects.len()
    }

    fn synced(&self) -> bool {
        self.synced
    }

    fn changed_at(&self) -> u64 {
        self.changed_at
    }

    fn apply(&mut self, object: Object) -> Option<ObjectChange> {
        let object = T::of(object)?;
        let list = self.list;
        let before = match self.entry(object.key()) {
            Entry::Occupied(entry) => {
                let stored = entry.into_mut();
                stored.seen = list;
                if stored.object == object {
                    return None;
                }
                Some(std::mem::replace(&mut stored.object, object.clone()))
            }
            Entry::Vacant(entry) => {
                entry.insert(StoredObject { object: object.clone(), seen: list });
                None
            }
        };
        Some(T::change(Change { before, after: Some(object) }))
    }

    fn remove(&mut self, key: &Key) -> Option<ObjectChange> {
        let Entry::Occupied(entry) = self.entry(key) else { return None };
        let (stored, _) = entry.remove();
        Some(T::change(Change { before: Some(stored.object), after: None }))
    }

    fn keep(&mut self, key: &Key) {
        let list = self.list;
        if let Entry::Occupied(mut entry) = self.entry(key) {
            entry.get_mut().seen = list;
        }
    }

    fn begin_list(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    fn end_list(&mut self) -> (Vec<Key>, bool) {
        let first = !std::mem::replace(&mut self.synced, true);
        let unseen = self.objects.iter().filter(|stored| stored.seen != self.list);
        (unseen.map(|stored| stored.object.key().clone()).collect(), first)
    }

    fn forget(&mut self) -> Vec<ObjectChange> {
        self.synced = false;
        // Frees the table as well: for Pods it can be larger than the objects.
        let objects = std::mem::take(&mut self.objects).into_iter();
        objects.map(|stored| T::change(Change { before: Some(stored.object), after: None })).collect()
    }

    fn set_changed_at(&mut self, now: u64) {
        self.changed_at = now;
    }
}
