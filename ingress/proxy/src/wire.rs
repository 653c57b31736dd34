//! Frame headers of HTTP/2. No I/O.

pub(crate) mod frame_budget;
