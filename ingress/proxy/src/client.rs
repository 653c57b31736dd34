//! The side of the clients: their heads, checked, and their streams as hyper sees them.

pub(crate) mod head;

pub(crate) mod link;

pub(crate) mod io;
