//! How a view is built from a snapshot and kept current.

use crate::change::ObjectChange;
use crate::kind::Kinds;
use crate::snapshot::Snapshot;

/// Builds a view of the cluster and keeps it current.
///
/// Law: `advance(last, snapshot, touched)` equals `build(snapshot)` for every batch, or for several batches merged into
/// one; the feature `testing` checks it. A view may depend on the snapshot only: its objects, which kinds have synced
/// ([`Snapshot::synced`]) and when they last changed ([`Snapshot::changed_at`]).
pub trait Projection: Send {
    /// The type that readers see.
    type View: Send + Sync;

    /// The kinds that it reads. A kind is watched only while at least one projection reads it.
    fn kinds(&self) -> Kinds;

    /// Builds the view of this snapshot.
    fn build(&self, cluster: &Snapshot) -> Self::View;

    /// Builds the view of this snapshot from the view before the batch and the changes in the batch. `touched` holds only
    /// kinds that [`Projection::kinds`] names, each object at most once; it may be empty when only sync state changed.
    fn advance(&self, last: &Self::View, cluster: &Snapshot, touched: &[ObjectChange]) -> Self::View;
}
