//! How a view is made of a snapshot and kept current.

use crate::change::ObjectChange;
use crate::kind::Kinds;
use crate::snapshot::Snapshot;

/// A view of the cluster, kept current.
///
/// Law: `advance(last, snapshot, touched)` equals `build(snapshot)` for every batch; the feature `testing` holds
/// a projection to it. A view may depend on the snapshot only: its objects, which kinds have synced
/// ([`Snapshot::synced`]) and when they last changed ([`Snapshot::changed_at`]).
pub trait Projection: Send {
    /// What readers see.
    type View: Send + Sync;

    /// The kinds it reads. Each kind is watched only when some projection asks for it.
    fn kinds(&self) -> Kinds;

    /// The view of this snapshot, from nothing.
    fn build(&self, cluster: &Snapshot) -> Self::View;

    /// The view of this snapshot, given the view before the batch and what the batch changed. `touched` holds only
    /// kinds that [`Projection::kinds`] names, each object at most once; it may be empty when only sync state changed.
    fn advance(&self, last: &Self::View, cluster: &Snapshot, touched: &[ObjectChange]) -> Self::View;
}
