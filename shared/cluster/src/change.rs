//! What a batch changed.

use std::sync::Arc;

use crate::key::Key;
use crate::kind::{Kind, kinds};
use crate::objects::*;

/// An object before and after a batch. At least one side is there, and the two differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<T> {
    /// As it was when the batch began; `None` when it is new.
    pub before: Option<Arc<T>>,
    /// As it is now; `None` when it is gone.
    pub after: Option<Arc<T>>,
}

impl<T> Change<T> {
    /// Both sides, the old one first: whatever either of them reaches may look different now.
    pub fn sides(&self) -> impl Iterator<Item = &Arc<T>> {
        self.before.iter().chain(self.after.iter())
    }
}

impl<T: PartialEq> Change<T> {
    /// This change and a later one of the same object as one; `None` when it is back to how it was.
    fn then(self, later: Self) -> Option<Self> {
        let both = Self { before: self.before, after: later.after };
        (both.before != both.after).then_some(both)
    }
}

/// What happened to an object in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ChangeType {
    Added,
    Changed,
    Removed,
}

macro_rules! touched {
    ($($kind:ident: $($rest:tt),*;)*) => {
        /// A change of an object of any kind.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum ObjectChange {
            $($kind(Change<$kind>),)*
        }

        impl ObjectChange {
            /// The kind of the object.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }

            /// The key of the object, and what happened to it.
            pub fn summary(&self) -> (Key, ChangeType) {
                match self {
                    $(Self::$kind(change) => summary(change, |object| &object.key),)*
                }
            }

            /// This change and a later one of the same object as one; `None` when it is back to how it was.
            pub(crate) fn then(self, later: Self) -> Option<Self> {
                match (self, later) {
                    $((Self::$kind(change), Self::$kind(later)) => change.then(later).map(Self::$kind),)*
                    (_, later) => Some(later),
                }
            }
        }
    };
}
kinds!(touched);

fn summary<T>(change: &Change<T>, key: fn(&T) -> &Key) -> (Key, ChangeType) {
    let what = match (&change.before, &change.after) {
        (None, _) => ChangeType::Added,
        (_, None) => ChangeType::Removed,
        _ => ChangeType::Changed,
    };
    (change.sides().next().map(|object| key(object).clone()).unwrap_or_default(), what)
}
