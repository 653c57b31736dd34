//! What a source tells the cache.

use std::sync::Arc;

use crate::key::Key;
use crate::kind::{Kind, kinds};
use crate::objects::*;

/// One step in the history of the cluster, as a source saw it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The object exists and looks like this.
    Apply(Object),
    /// The object is gone.
    Remove(Kind, Key),
    /// The object exists but cannot be read: what is known of it stays, also when the current list ends.
    Keep(Kind, Key),
    /// A list of this kind begins. The old picture stays until [`Event::Synced`].
    Restart(Kind),
    /// The list of this kind is complete: what it did not name is gone.
    Synced(Kind),
    /// Nobody reads the kind any more: its objects go, as if it had never been listed.
    Forget(Kind),
}

impl Event {
    /// The kind of object it is about.
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
