//! The client side: connections, their byte streams, HTTP/1 and HTTP/2 on them.
//!
//! Requests are served by a handler that the listener passes in; routes are not known here.

pub(crate) mod pages;

pub(crate) mod connection_state;

pub(crate) mod closing;

pub(crate) mod client_handshake;
pub(crate) mod connection;
pub(crate) mod response_head;
pub(crate) mod request_guard;

mod rate_limiter;
pub(crate) mod body_encoder;
pub(crate) mod response_body;
pub(crate) mod request;

mod send_response;
mod http1;

mod http2_stream;
mod http2;

mod begin;

pub(crate) use begin::{ServeRequests, begin};
