//! The wire formats of the ingress proxy: bytes in, values out.
//!
//! Has no socket, task, clock or log. No input makes this crate panic.

pub mod chunked;
pub mod chunk_encoder;
pub mod request_head;

pub mod client_hello;
pub mod fastcgi;
pub mod proxy_protocol;
