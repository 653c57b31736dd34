//! HTTP on a client's connection: requests of HTTP/1 out of bytes, and frame headers of HTTP/2.

pub(crate) mod frame_budget;
pub(crate) mod http1_stream;
pub(crate) mod http2_body;
