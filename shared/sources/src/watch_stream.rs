//! The JSON that the API server sends for lists and watches, cut into objects and decoded one at a time.
//!
//! The input is bytes, the output messages or an [`ApiError`]. It builds without the feature `kube`, so that it can be fuzzed
//! without the Kubernetes client.

mod error;
mod splitter;

mod message;

pub(crate) use error::{ApiError, ConnectionProblem};
pub(crate) use message::{
    ObjectEvent, Undecodable, WatchMessage, change_of, read_item, read_message, read_page,
};
pub(crate) use splitter::{LineSplitter, ListSplitter, Part};
