//! A reader that only wants: for tests of what follows from it.

use cluster::{Kinds, ObjectChange, Projection, Snapshot};

/// Reads kinds and shows nothing of them.
pub(crate) struct Reads(pub(crate) Kinds);

impl Projection for Reads {
    type View = ();

    fn kinds(&self) -> Kinds {
        self.0
    }

    fn build(&self, _: &Snapshot) {}

    fn advance(&self, (): &(), _: &Snapshot, _: &[ObjectChange]) {}
}
