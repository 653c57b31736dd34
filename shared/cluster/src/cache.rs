//! The one writer: batches of events in, views out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::change::ObjectChange;
use crate::current::{Current, OnUnused, WeakCurrent};
use crate::event::Event;
use crate::key::Key;
use crate::kind::{Kind, Kinds};
use crate::projection::Projection;
use crate::snapshot::Snapshot;

/// Holds the snapshot and keeps every projection's view current.
///
/// A batch costs what it touches: only projections that read a touched kind advance, and an object that comes again
/// as it was (a relist) touches nothing.
#[derive(Default)]
pub struct Cache {
    snapshot: Snapshot,
    publishers: Vec<Box<dyn Publish>>,
    on_unused: Option<OnUnused>,
}

impl Cache {
    /// Keeps the view of a projection current from now on, until the last clone of the cell is dropped. Views are
    /// published in the order in which their projections were added.
    pub fn project<P: Projection + 'static>(&mut self, projection: P) -> Current<P::View> {
        let current = Current::with_callback(projection.build(&self.snapshot), self.on_unused.clone());
        self.publishers.push(Box::new(Publisher { projection, cell: current.downgrade() }));
        current
    }

    /// Has `told` called whenever the last clone of a cell is dropped that is made from now on, on the thread that drops
    /// it: time for [`Cache::release`].
    pub fn on_unused(&mut self, told: impl Fn() + Send + Sync + 'static) {
        self.on_unused = Some(Arc::new(told));
    }

    /// Forgets the projections whose views nobody reads any more.
    pub fn release(&mut self) {
        self.publishers.retain(|publisher| publisher.has_readers());
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
    pub fn apply(&mut self, batch: impl IntoIterator<Item = Event>, now: u64) -> Vec<ObjectChange> {
        let mut changes = Changes::default();
        for event in batch {
            match event {
                Event::Apply(object) => changes.record(self.snapshot.apply(object)),
                Event::Remove(kind, key) => changes.record(self.snapshot.remove(kind, &key)),
                Event::Restart(kind) => self.snapshot.begin_list(kind),
                Event::Synced(kind) => self.sweep(kind, &mut changes),
                Event::Forget(kind) => self.forget(kind, &mut changes),
            }
        }
        let Changes { touched, synced, .. } = changes;
        let touched: Vec<ObjectChange> = touched.into_iter().flatten().collect();
        let changed =
            touched.iter().map(|touched| Kinds::of(&[touched.kind()])).fold(Kinds::default(), Kinds::union);
        for kind in changed.iter() {
            self.snapshot.set_changed_at(kind, now);
        }
        self.publish(changed.union(synced), &touched);
        touched
    }

    fn publish(&mut self, kinds: Kinds, touched: &[ObjectChange]) {
        self.release();
        for publisher in &mut self.publishers {
            if kinds.iter().any(|kind| publisher.kinds().contains(kind)) {
                publisher.publish(&self.snapshot, touched);
            }
        }
    }

    fn sweep(&mut self, kind: Kind, changes: &mut Changes) {
        let (unseen, first) = self.snapshot.end_list(kind);
        if first {
            changes.synced = changes.synced.union(Kinds::of(&[kind]));
        }
        for key in unseen {
            changes.record(self.snapshot.remove(kind, &key));
        }
    }

    fn forget(&mut self, kind: Kind, changes: &mut Changes) {
        changes.synced = changes.synced.union(Kinds::of(&[kind]));
        for touched in self.snapshot.forget(kind) {
            changes.record(Some(touched));
        }
    }
}

/// What a batch has changed so far: one entry an object, however often it changed.
#[derive(Default)]
struct Changes {
    /// `None` where an object came back to how it was.
    touched: Vec<Option<ObjectChange>>,
    index: HashMap<(Kind, Key), usize, RandomState>,
    /// Kinds that have been listed now, or are no longer.
    synced: Kinds,
}

impl Changes {
    fn record(&mut self, change: Option<ObjectChange>) {
        let Some(change) = change else { return };
        let (key, _) = change.summary();
        match self.index.entry((change.kind(), key)) {
            Entry::Vacant(place) => {
                place.insert(self.touched.len());
                self.touched.push(Some(change));
            }
            Entry::Occupied(place) => {
                let touched = &mut self.touched[*place.get()];
                *touched = match touched.take() {
                    Some(earlier) => earlier.then(change),
                    None => Some(change),
                };
            }
        }
    }
}

/// A projection with its cell, whatever its view is.
trait Publish: Send {
    fn kinds(&self) -> Kinds;
    fn has_readers(&self) -> bool;
    fn publish(&mut self, cluster: &Snapshot, touched: &[ObjectChange]);
}

struct Publisher<P: Projection> {
    projection: P,
    cell: WeakCurrent<P::View>,
}

impl<P: Projection> Publish for Publisher<P> {
    fn kinds(&self) -> Kinds {
        self.projection.kinds()
    }

    fn has_readers(&self) -> bool {
        self.cell.has_readers()
    }

    fn publish(&mut self, cluster: &Snapshot, touched: &[ObjectChange]) {
        let Some(current) = self.cell.upgrade() else { return };
        let last = current.load_full();
        current.store(Arc::new(self.projection.advance(&last, cluster, touched)));
    }
}

#[cfg(test)]
mod tests;
