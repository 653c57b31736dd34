//! Where the picture of the cluster comes from: sources feed events to the one writer, which publishes views.
//!
//! A source never fails. It retries, and says through [`EventSink::report`] how it stands. Bytes are turned into the
//! compact objects of `cluster` at the door; whole objects are never kept.

pub mod watch_status;
#[cfg(test)]
mod testing;

mod metrics;
pub mod source;
mod programming;
pub mod writer;

pub mod decode;

pub mod manifests;

mod watch_stream;
pub mod fuzz;

#[cfg(feature = "kube")]
pub mod kube;

pub use source::{EventSink, Source, WriterStopped};
pub use watch_status::{WatchStatus, WatchStatuses};
pub use writer::Cluster;
