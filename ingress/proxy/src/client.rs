//! The client side: connections, their byte streams, HTTP/1 and HTTP/2 on them.
//!
//! It serves requests with the handler that the listener passes in, and knows nothing of routes.

pub(crate) mod frame_budget;
pub(crate) mod pages;
pub(crate) mod table;

pub(crate) mod connection_state;

pub(crate) mod closing;
pub(crate) mod stream;

pub(crate) mod request_guard;

pub(crate) mod connection;

mod http1;
mod http2;

mod serve;

pub(crate) use serve::serve;
