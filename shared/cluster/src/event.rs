//! Events that a source sends to the cache.

use std::sync::Arc;

use crate::key::Key;
use crate::kind::{Kind, kinds};
use crate::objects::*;

/// One change of the cluster, or one step of a list, as a source saw it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The object exists and has this content.
    Apply(Object),
    /// The object does not exist any more.
    Remove(Kind, Key),
    /// The object exists but could not be decoded: its last content stays, also when the current list ends.
    Keep(Kind, Key),
    /// A list of this kind begins. Objects stay until [`Event::Synced`].
    Restart(Kind),
    /// The list of this kind is complete: objects that it did not name are removed.
    Synced(Kind),
    /// The kind is not read any more: its objects are removed, as if it had never been listed.
    Forget(Kind),
}

impl Event {
    /// The kind of the object or list.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Apply(object) => object.kind(),
            Self::Remove(kind, _)
            | Self::Keep(kind, _)
            | Self::Restart(kind)
            | Self::Synced(kind)
            | Self::Forget(kind) => *kind,
        }
    }
}

macro_rules! object {
    ($($kind:ident: $($rest:tt),*;)*) => {
        /// An object of any kind.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Object {
            $($kind(Arc<$kind>),)*
        }

        impl Object {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$kind(_) => Kind::$kind,)*
                }
            }

            /// Its key.
            pub fn key(&self) -> &Key {
                match self {
                    $(Self::$kind(object) => &object.key,)*
                }
            }
        }
    };
}
kinds!(object);
