//! `portolan explain`: why a request goes where it goes.
//!
//! The code that serves also explains: a request is put through the same route table, and its filters are run in the same order. The
//! result is a [`Tree`] of sentences, which is written as text or JSON.

mod tree;

mod request;
pub mod ingress;

pub use request::{BadExplainedRequest, ExplainedRequest};
pub use tree::Tree;
