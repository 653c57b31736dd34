//! The writer's side of the cache: batches of events in, views out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};

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
/// A batch costs what it changes: only projections that read a changed kind advance, and an object that a relist repeats
/// unchanged changes nothing.
#[derive(Default)]
pub struct Cache {
    snapshot: Snapshot,
    publishers: Vec<Box<dyn Publish>>,
    on_unused: Option<OnUnused>,
    recordings: Vec<Recording>,
}

impl Cache {
    /// Keeps the view of a projection current from now on, until the last clone of the cell is dropped. Views are
    /// published in the order in which their projections were added.
    pub fn project<P: Projection + 'static>(&mut self, projection: P) -> Current<P::View> {
        let built = self.begin_projection(projection).build();
        self.finish_projection(built)
    }

    /// Begins to add a projection whose first view takes long to build. [`PendingProjection::build`] needs no access to
    /// the cache, so that batches can be applied meanwhile.
    pub fn begin_projection<P: Projection>(&mut self, projection: P) -> PendingProjection<P> {
        let kinds = projection.kinds();
        let pending = Arc::new(());
        self.recordings.push(Recording {
            pending: Arc::downgrade(&pending),
            kinds,
            changes: Changes::default(),
            is_stale: false,
        });
        PendingProjection { projection, snapshot: self.snapshot.copy(kinds), pending }
    }

    /// Adds a projection that [`Cache::begin_projection`] began: brings its view up to date and keeps it current.
    pub fn finish_projection<P: Projection + 'static>(
        &mut self,
        built: BuiltProjection<P>,
    ) -> Current<P::View> {
        let BuiltProjection { projection, mut view, pending } = built;
        let of = |recording: &mut Recording| recording.pending.as_ptr() == Arc::as_ptr(&pending);
        if let Some(recording) = self.recordings.extract_if(.., of).next()
            && recording.is_stale
        {
            let touched: Vec<ObjectChange> = recording.changes.touched.into_iter().flatten().collect();
            view = projection.advance(&view, &self.snapshot, &touched);
        }
        let current = Current::with_callback(view, self.on_unused.clone());
        self.publishers.push(Box::new(Publisher { projection, cell: current.downgrade() }));
        current
    }

    /// Calls `callback` whenever the last clone of a cell that is created from now on is dropped, on the thread that
    /// drops it. [`Cache::release`] then drops the projection.
    pub fn on_unused(&mut self, callback: impl Fn() + Send + Sync + 'static) {
        self.on_unused = Some(Arc::new(callback));
    }

    /// Drops the projections whose views have no reader any more.
    pub fn release(&mut self) {
        self.publishers.retain(|publisher| publisher.has_readers());
    }

    /// The kinds that at least one projection reads.
    pub fn kinds(&self) -> Kinds {
        self.publishers.iter().fold(Kinds::default(), |kinds, publisher| kinds.union(publisher.kinds()))
    }

    /// The snapshot as of the last batch.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Applies a batch and publishes the next views. `now` is Unix seconds. Returns what changed.
    pub fn apply(&mut self, batch: impl IntoIterator<Item = Event>, now: u64) -> Vec<ObjectChange> {
        let batch = batch.into_iter();
        let mut changes = Changes { expected: batch.size_hint().0, ..Changes::default() };
        for event in batch {
            match event {
                Event::Apply(object) => changes.record(self.snapshot.apply(object)),
                Event::Remove(kind, key) => changes.record(self.snapshot.remove(kind, &key)),
                Event::Keep(kind, key) => self.snapshot.keep(kind, &key),
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
        self.record(changed.union(synced), &touched);
        self.publish(changed.union(synced), &touched);
        touched
    }

    /// Records the changes for projections that are still being built.
    fn record(&mut self, kinds: Kinds, touched: &[ObjectChange]) {
        self.recordings.retain(|recording| recording.pending.strong_count() > 0);
        for recording in &mut self.recordings {
            recording.is_stale |= kinds.iter().any(|kind| recording.kinds.contains(kind));
            for change in touched.iter().filter(|change| recording.kinds.contains(change.kind())) {
                recording.changes.record(Some(change.clone()));
            }
        }
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

/// The changes of a batch so far: one entry an object, however often it changed.
#[derive(Default)]
struct Changes {
    /// `None` for an object whose content is the same as before the batch.
    touched: Vec<Option<ObjectChange>>,
    index: HashMap<(Kind, Key), usize, RandomState>,
    /// Kinds whose list ended for the first time, or that were forgotten.
    synced: Kinds,
    /// Changes for which the first one reserves memory. Most batches change nothing or everything.
    expected: usize,
}

impl Changes {
    fn record(&mut self, change: Option<ObjectChange>) {
        let Some(change) = change else { return };
        let expected = std::mem::take(&mut self.expected);
        self.touched.reserve(expected);
        self.index.reserve(expected);
        let (key, _) = change.summary();
        match self.index.entry((change.kind(), key)) {
            Entry::Vacant(entry) => {
                entry.insert(self.touched.len());
                self.touched.push(Some(change));
            }
            Entry::Occupied(entry) => {
                let touched = &mut self.touched[*entry.get()];
                *touched = match touched.take() {
                    Some(earlier) => earlier.then(change),
                    None => Some(change),
                };
            }
        }
    }
}

/// A projection that is about to be added, with the snapshot of its kinds.
pub struct PendingProjection<P> {
    projection: P,
    snapshot: Snapshot,
    pending: Arc<()>,
}

/// A projection with its first view, which was built from the snapshot at [`Cache::begin_projection`].
pub struct BuiltProjection<P: Projection> {
    projection: P,
    view: P::View,
    pending: Arc<()>,
}

impl<P: Projection> PendingProjection<P> {
    /// Builds the first view.
    pub fn build(self) -> BuiltProjection<P> {
        let Self { projection, snapshot, pending } = self;
        let view = projection.build(&snapshot);
        BuiltProjection { projection, view, pending }
    }
}

/// The changes since a projection was begun.
struct Recording {
    /// Dangling once the projection was dropped.
    pending: Weak<()>,
    kinds: Kinds,
    changes: Changes,
    /// Whether an object changed or a kind has been listed.
    is_stale: bool,
}

/// A projection with its cell, independent of the type of its view.
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
