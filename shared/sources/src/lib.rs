//! Sources of cluster objects, and the writer: sources send events to the one writer, which publishes views.
//!
//! A source never fails. It retries, and reports its status through [`EventSink::report`]. It decodes objects into the
//! compact types of `cluster` as it reads them; whole objects are never kept.

pub mod watch_status;
#[cfg(test)]
mod testing;

mod file_signature;
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

pub use file_signature::FileSignature;
pub use source::{EventSink, Source, WriterStopped};
pub use watch_status::{WatchStatus, WatchStatuses};
pub use writer::Cluster;
