//! Accepted connections: TLS, the protocol, and serving until the connection ends.

pub(crate) mod connection;
