//! The wire formats of the ingress proxy: bytes in, values out.
//!
//! Has no socket, task, clock or log. No input makes this crate panic.

pub mod chunked;
pub mod chunk_encoder;
pub mod request_head;

mod scan;
pub mod known_header;
pub mod head;
mod field_line;
pub mod framing;
pub mod request;
pub mod response;
pub mod head_writer;

pub mod client_hello;
pub mod fastcgi;
pub mod proxy_protocol;

#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
