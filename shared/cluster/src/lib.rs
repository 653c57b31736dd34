//! The watch cache: compact Kubernetes objects, the snapshot that holds them, and the projections that make views of it.
//!
//! This crate has no socket, task, clock or log. Its input is events and the time, its output views, which are swapped in
//! by pointer.

pub mod key;
pub mod selector;
pub mod kind;
pub mod objects;
pub mod event;
pub mod change;
pub mod snapshot;
pub mod projection;
pub mod current;
pub mod cache;
#[cfg(feature = "testing")]
pub mod testing;

pub use cache::Cache;
pub use change::{Change, ObjectChange};
pub use current::{Current, HeldView, LocalView};
pub use event::{Event, Object};
pub use key::{CompactString, Key};
pub use kind::{Kind, Kinds};
pub use objects::*;
pub use projection::Projection;
pub use selector::{BadLabelSelector, LabelSelector};
pub use snapshot::{Resource, Snapshot, Store};
