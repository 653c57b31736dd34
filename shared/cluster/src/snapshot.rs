//! The picture of the cluster that projections read.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::event::Object;
use crate::key::{Key, Kind, Kinds, Text};
use crate::objects::{ConfigMap, EndpointSlice, Ingress, IngressClass, Namespace, Pod, Secret, Service};
use crate::touched::{Change, Touched};

/// A type of object that the snapshot stores.
pub trait Resource: PartialEq + Sized + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
    /// Its key.
    fn key(&self) -> &Key;
    /// Where the snapshot keeps objects of this type.
    fn store(snapshot: &Snapshot) -> &Store<Self>;
    /// The same, for the writer.
    fn store_mut(snapshot: &mut Snapshot) -> &mut Store<Self>;
    /// As an object of any kind.
    fn object(self: Arc<Self>) -> Object;
    /// As a change of any kind.
    fn touched(change: Change<Self>) -> Touched;
    /// The change, where it is one of this type.
    fn change(touched: Touched) -> Option<Change<Self>>;
    /// Keeps indexes in step with an object that came, changed or went.
    fn reindex(_: &mut Snapshot, _: &Change<Self>) {}
}

/// All objects of the kinds that are watched, as of the last batch. The one writer owns it.
#[derive(Default)]
pub struct Snapshot {
    namespaces: Store<Namespace>,
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    pods: Store<Pod>,
    ingresses: Store<Ingress>,
    classes: Store<IngressClass>,
    secrets: Store<Secret>,
    config_maps: Store<ConfigMap>,
    /// Service key to the names of its slices, sorted, so that views come out the same whatever the order of events.
    slices_of: HashMap<Key, SmallVec<[Text; 1]>, RandomState>,
}

impl Snapshot {
    /// One object.
    pub fn get<T: Resource>(&self, key: &Key) -> Option<&Arc<T>> {
        T::store(self).objects.get(key).map(|held| &held.object)
    }

    /// All objects of a type, in no particular order.
    pub fn iter<T: Resource>(&self) -> impl Iterator<Item = &Arc<T>> {
        T::store(self).objects.values().map(|held| &held.object)
    }

    /// How many objects of a type there are.
    pub fn count<T: Resource>(&self) -> usize {
        T::store(self).objects.len()
    }

    /// The EndpointSlices of a Service, by name.
    pub fn slices_of<'a>(&'a self, service: &'a Key) -> impl Iterator<Item = &'a Arc<EndpointSlice>> {
        let names = self.slices_of.get(service).map(SmallVec::as_slice).unwrap_or_default();
        names
            .iter()
            .filter_map(|name| self.get(&Key { namespace: service.namespace.clone(), name: name.clone() }))
    }

    /// Whether each of these kinds has been listed in full at least once.
    pub fn synced(&self, kinds: Kinds) -> bool {
        kinds.iter().all(|kind| self.state(kind).0)
    }

    /// Unix seconds of the last batch that changed an object of one of these kinds; 0 before the first.
    pub fn changed_at(&self, kinds: Kinds) -> u64 {
        kinds.iter().map(|kind| self.state(kind).1).max().unwrap_or(0)
    }

    fn state(&self, kind: Kind) -> (bool, u64) {
        match kind {
            Kind::Namespace => self.namespaces.state(),
            Kind::Service => self.services.state(),
            Kind::EndpointSlice => self.slices.state(),
            Kind::Pod => self.pods.state(),
            Kind::Ingress => self.ingresses.state(),
            Kind::IngressClass => self.classes.state(),
            Kind::Secret => self.secrets.state(),
            Kind::ConfigMap => self.config_maps.state(),
        }
    }

    /// The store of a kind, for what does not depend on its type.
    pub(crate) fn lists(&mut self, kind: Kind) -> &mut dyn Lists {
        match kind {
            Kind::Namespace => &mut self.namespaces,
            Kind::Service => &mut self.services,
            Kind::EndpointSlice => &mut self.slices,
            Kind::Pod => &mut self.pods,
            Kind::Ingress => &mut self.ingresses,
            Kind::IngressClass => &mut self.classes,
            Kind::Secret => &mut self.secrets,
            Kind::ConfigMap => &mut self.config_maps,
        }
    }

    fn reindex_slice(&mut self, change: &Change<EndpointSlice>) {
        if let Some(before) = &change.before
            && let Some(names) = self.slices_of.get_mut(&before.service_key())
        {
            names.retain(|name| *name != before.key.name);
            if names.is_empty() {
                self.slices_of.remove(&before.service_key());
            }
        }
        if let Some(after) = &change.after
            && !after.service.is_empty()
        {
            let names = self.slices_of.entry(after.service_key()).or_default();
            if let Err(at) = names.binary_search(&after.key.name) {
                names.insert(at, after.key.name.clone());
            }
        }
    }
}

/// The objects of one kind.
pub struct Store<T> {
    objects: HashMap<Key, Held<T>, RandomState>,
    /// Counts the lists of this kind; an object not seen in the current one is swept when it ends.
    list: u32,
    synced: bool,
    changed_at: u64,
}

struct Held<T> {
    object: Arc<T>,
    seen: u32,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self { objects: HashMap::default(), list: 0, synced: false, changed_at: 0 }
    }
}

impl<T> Store<T> {
    fn state(&self) -> (bool, u64) {
        (self.synced, self.changed_at)
    }
}

/// What can be done to a store without knowing its type.
pub(crate) trait Lists {
    /// Begins a list.
    fn restart(&mut self);
    /// Ends a list. Returns the keys that it did not name, and whether this is the first list to end.
    fn sweep(&mut self) -> (Vec<Key>, bool);
    /// Remembers when an object changed, in Unix seconds.
    fn changed(&mut self, now: u64);
}

impl<T> Lists for Store<T> {
    fn restart(&mut self) {
        self.list = self.list.wrapping_add(1);
    }

    fn changed(&mut self, now: u64) {
        self.changed_at = now;
    }

    fn sweep(&mut self) -> (Vec<Key>, bool) {
        let first = !std::mem::replace(&mut self.synced, true);
        let unseen = |(key, held): (&Key, &Held<T>)| (held.seen != self.list).then(|| key.clone());
        (self.objects.iter().filter_map(unseen).collect(), first)
    }
}

impl<T: Resource> Store<T> {
    /// Takes an object in. Returns what changed; `None` when it looked just like this before.
    pub(crate) fn apply(&mut self, object: Arc<T>) -> Option<Change<T>> {
        if let Some(held) = self.objects.get_mut(object.key()) {
            held.seen = self.list;
            if held.object == object {
                return None;
            }
            let before = std::mem::replace(&mut held.object, object.clone());
            return Some(Change { before: Some(before), after: Some(object) });
        }
        self.objects.insert(object.key().clone(), Held { object: object.clone(), seen: self.list });
        Some(Change { before: None, after: Some(object) })
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Change<T>> {
        let held = self.objects.remove(key)?;
        Some(Change { before: Some(held.object), after: None })
    }
}

/// Binds a type to its kind and its store.
macro_rules! resource {
    ($type:ident, $store:ident $(, $reindex:item)?) => {
        impl Resource for $type {
            const KIND: Kind = Kind::$type;
            fn key(&self) -> &Key {
                &self.key
            }
            fn store(snapshot: &Snapshot) -> &Store<Self> {
                &snapshot.$store
            }
            fn store_mut(snapshot: &mut Snapshot) -> &mut Store<Self> {
                &mut snapshot.$store
            }
            fn object(self: Arc<Self>) -> Object {
                Object::$type(self)
            }
            fn touched(change: Change<Self>) -> Touched {
                Touched::$type(change)
            }
            fn change(touched: Touched) -> Option<Change<Self>> {
                let Touched::$type(change) = touched else { return None };
                Some(change)
            }
            $($reindex)?
        }
    };
}

resource!(Namespace, namespaces);
resource!(Service, services);
resource!(
    EndpointSlice,
    slices,
    fn reindex(snapshot: &mut Snapshot, change: &Change<Self>) {
        snapshot.reindex_slice(change);
    }
);
resource!(Pod, pods);
resource!(Ingress, ingresses);
resource!(IngressClass, classes);
resource!(Secret, secrets);
resource!(ConfigMap, config_maps);
