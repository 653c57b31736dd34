//! Where the picture of the cluster comes from: sources feed events to the one writer, which publishes views.
//!
//! A source never fails. It retries, and says through [`Feed::report`] how it stands. Bytes are turned into the
//! compact objects of `cluster` at the door; whole objects are never kept.

pub mod status;
#[cfg(test)]
mod testing;

pub mod feed;
mod metrics;
mod programming;
pub mod writer;

pub mod slim;

pub mod manifests;

#[cfg(feature = "kube")]
pub mod kube;

pub use feed::{Feed, Source, Stopped};
pub use status::{Status, Statuses};
pub use writer::Cluster;
