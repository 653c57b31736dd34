//! HTTP/1 syntax: request heads and the chunked coding. No I/O.

pub(crate) mod chunked;
pub(crate) mod request_head;
