//! HTTP syntax: request heads and the chunked coding of HTTP/1, frame headers of HTTP/2. No I/O.

pub(crate) mod chunked;
pub(crate) mod frame_budget;
pub(crate) mod request_head;
