//! The client side: byte streams, the state of a connection, pages for requests that cannot be parsed.

pub(crate) mod pages;

pub(crate) mod connection_state;

pub(crate) mod stream;
