//! The one writer: batches of events in, views out.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::current::Current;
use crate::event::{Event, Object};
use crate::key::{Key, Kind, Kinds};
use crate::objects::{ConfigMap, EndpointSlice, Ingress, IngressClass, Namespace, Pod, Secret, Service};
use crate::projection::Projection;
use crate::snapshot::{Resource, Snapshot};
use crate::touched::{Change, Touched};

/// Holds the snapshot and keeps every projection's view current.
///
/// A batch costs what it touches: only projections that read a touched kind advance, and an object that comes again
/// as it was (a relist) touches nothing.
#[derive(Default)]
pub struct Cache {
    snapshot: Snapshot,
    publishers: Vec<Box<dyn Publish>>,
}

impl Cache {
    /// Keeps the view of a projection current from now on, until the last clone of the cell is dropped. Views are
    /// published in the order in which their projections were added.
    pub fn project<P: Projection + 'static>(&mut self, projection: P) -> Current<P::View> {
        let current = Current::new(projection.build(&self.snapshot));
        self.publishers.push(Box::new(Publisher { projection, current: current.clone() }));
        current
    }

    /// The kinds that some projection reads.
    pub fn kinds(&self) -> Kinds {
        self.publishers.iter().fold(Kinds::default(), |kinds, publisher| kinds.union(publisher.kinds()))
    }

    /// The picture as of the last batch.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Takes a batch in and publishes the next views. `now` is Unix seconds. Returns what changed.
    pub fn apply(&mut self, batch: impl IntoIterator<Item = Event>, now: u64) -> Vec<Touched> {
        let mut changes = Changes::default();
        for event in batch {
            match event {
                Event::Apply(object) => self.take(object, &mut changes),
                Event::Remove(kind, key) => self.remove(kind, &key, &mut changes),
                Event::Restart(kind) => self.snapshot.lists(kind).restart(),
                Event::Synced(kind) => self.sweep(kind, &mut changes),
            }
        }
        let Changes { touched, synced, .. } = changes;
        let touched: Vec<Touched> = touched.into_iter().flatten().collect();
        let changed =
            touched.iter().map(|touched| Kinds::of(&[touched.kind()])).fold(Kinds::default(), Kinds::union);
        for kind in changed.iter() {
            self.snapshot.lists(kind).changed(now);
        }
        self.publish(changed.union(synced), &touched);
        touched
    }

    fn publish(&mut self, kinds: Kinds, touched: &[Touched]) {
        self.publishers.retain(|publisher| publisher.is_read());
        for publisher in &mut self.publishers {
            if kinds.iter().any(|kind| publisher.kinds().contains(kind)) {
                publisher.publish(&self.snapshot, touched);
            }
        }
    }

    fn take(&mut self, object: Object, changes: &mut Changes) {
        match object {
            Object::Namespace(object) => self.apply_one(object, changes),
            Object::Service(object) => self.apply_one(object, changes),
            Object::EndpointSlice(object) => self.apply_one(object, changes),
            Object::Pod(object) => self.apply_one(object, changes),
            Object::Ingress(object) => self.apply_one(object, changes),
            Object::IngressClass(object) => self.apply_one(object, changes),
            Object::Secret(object) => self.apply_one(object, changes),
            Object::ConfigMap(object) => self.apply_one(object, changes),
        }
    }

    fn apply_one<T: Resource>(&mut self, object: Arc<T>, changes: &mut Changes) {
        if let Some(change) = T::store_mut(&mut self.snapshot).apply(object) {
            self.note(change, changes);
        }
    }

    fn remove(&mut self, kind: Kind, key: &Key, changes: &mut Changes) {
        match kind {
            Kind::Namespace => self.remove_one::<Namespace>(key, changes),
            Kind::Service => self.remove_one::<Service>(key, changes),
            Kind::EndpointSlice => self.remove_one::<EndpointSlice>(key, changes),
            Kind::Pod => self.remove_one::<Pod>(key, changes),
            Kind::Ingress => self.remove_one::<Ingress>(key, changes),
            Kind::IngressClass => self.remove_one::<IngressClass>(key, changes),
            Kind::Secret => self.remove_one::<Secret>(key, changes),
            Kind::ConfigMap => self.remove_one::<ConfigMap>(key, changes),
        }
    }

    fn remove_one<T: Resource>(&mut self, key: &Key, changes: &mut Changes) {
        if let Some(change) = T::store_mut(&mut self.snapshot).remove(key) {
            self.note(change, changes);
        }
    }

    fn note<T: Resource>(&mut self, change: Change<T>, changes: &mut Changes) {
        T::reindex(&mut self.snapshot, &change);
        changes.add(change);
    }

    fn sweep(&mut self, kind: Kind, changes: &mut Changes) {
        let (unseen, first) = self.snapshot.lists(kind).sweep();
        if first {
            changes.synced = changes.synced.union(Kinds::of(&[kind]));
        }
        for key in unseen {
            self.remove(kind, &key, changes);
        }
    }
}

/// What a batch has changed so far: one entry an object, however often it changed.
#[derive(Default)]
struct Changes {
    /// `None` where an object came back to how it was.
    touched: Vec<Option<Touched>>,
    at: HashMap<(Kind, Key), usize, RandomState>,
    synced: Kinds,
}

impl Changes {
    fn add<T: Resource>(&mut self, change: Change<T>) {
        let Some(key) = change.sides().next().map(|object| (T::KIND, object.key().clone())) else {
            return;
        };
        let Some(&at) = self.at.get(&key) else {
            self.at.insert(key, self.touched.len());
            self.touched.push(Some(T::touched(change)));
            return;
        };
        let before = match self.touched[at].take() {
            Some(touched) => T::change(touched).and_then(|earlier| earlier.before),
            None => change.before,
        };
        if before != change.after {
            self.touched[at] = Some(T::touched(Change { before, after: change.after }));
        }
    }
}

/// A projection with its cell, whatever its view is.
trait Publish: Send {
    fn kinds(&self) -> Kinds;
    fn is_read(&self) -> bool;
    fn publish(&mut self, cluster: &Snapshot, touched: &[Touched]);
}

struct Publisher<P: Projection> {
    projection: P,
    current: Current<P::View>,
}

impl<P: Projection> Publish for Publisher<P> {
    fn kinds(&self) -> Kinds {
        self.projection.kinds()
    }

    fn is_read(&self) -> bool {
        self.current.is_read()
    }

    fn publish(&mut self, cluster: &Snapshot, touched: &[Touched]) {
        let last = self.current.load_full();
        self.current.store(Arc::new(self.projection.advance(&last, cluster, touched)));
    }
}

#[cfg(test)]
mod tests;
