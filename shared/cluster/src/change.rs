//! Changes of objects in a batch.

use std::sync::Arc;

use crate::key::Key;
use crate::kind::{Kind, kinds};
use crate::objects::*;

/// An object before and after a batch. At least one side is present, and the two differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<T> {
    /// Its content when the batch began; `None` when it is new.
    pub before: Option<Arc<T>>,
    /// Its content now; `None` when it was removed.
    pub after: Option<Arc<T>>,
}

impl<T> Change<T> {
    /// Both sides, the old one first: everything that depends on either of them has to be rebuilt.
    pub fn sides(&self) -> impl Iterator<Item = &Arc<T>> {
        self.before.iter().chain(self.after.iter())
    }
}

impl<T: PartialEq> Change<T> {
    /// Merges a later change of the same object into this one; `None` when the object is the same as before.
    fn then(self, later: Self) -> Option<Self> {
        let both = Self { before: self.before, after: later.after };
        (both.before != both.after).then_some(both)
    }
}

/// How an object changed in a batch.
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

            /// The key of the object, and how it changed.
            pub fn summary(&self) -> (Key, ChangeType) {
                match self {
                    $(Self::$kind(change) => summary(change, |object| &object.key),)*
                }
            }

            /// Merges a later change of the same object into this one; `None` when the object is the same as before.
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
    let change_type = match (&change.before, &change.after) {
        (None, _) => ChangeType::Added,
        (_, None) => ChangeType::Removed,
        _ => ChangeType::Changed,
    };
    (change.sides().next().map(|object| key(object).clone()).unwrap_or_default(), change_type)
}
