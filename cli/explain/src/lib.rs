//! `portolan explain`: why a request goes where it goes.
//!
//! The code that serves also explains: a request is put through the same route table, and its filters are run in the same order; a query
//! runs through the same plugins. The result is a [`Tree`] of sentences, which is written as text or JSON.

mod tree;

mod request;
pub mod dns;
pub mod ingress;
pub mod stream;
pub mod followed;

pub use dns::ExplainedName;
pub use request::{BadExplainedRequest, ExplainedRequest};
pub use stream::ExplainedStream;
pub use tree::Tree;
