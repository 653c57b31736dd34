//! The DNS fast path's codec: a packet to a [`Query`], a filled [`Reply`] to a packet.
//!
//! Quiet: no socket, task, clock or log. Both values are reused from packet to packet, so that nothing is allocated
//! once their buffers have grown. No input makes it panic.

pub mod codes;
pub mod hash;
pub mod name;
pub mod query;
mod layout;
mod rdata;
mod compress;
pub mod reply;

pub use hash::hash;
pub use name::{InvalidName, Name};
pub use query::{Edns, Query, Rejection};
pub use reply::{InvalidMessage, Owner, Record, Reply, ResponseHeader, Section};
