//! The DNS codec of the fast path: parses a packet into a [`Query`] and encodes a [`Reply`] as a packet.
//!
//! Has no socket, task, clock or log. Both values are reused for many packets, so nothing is allocated once their buffers
//! have grown. No input makes this crate panic.

pub mod codes;
pub mod hash;
pub mod name;
mod options;
mod rdata;
pub mod query;
mod layout;
mod compress;
pub mod reply;
mod letter_case;

pub use hash::hash;
pub use letter_case::{EchoedCase, restore_letter_case, set_letter_case};
pub use name::{InvalidName, Name};
pub use query::{Edns, Query, QuestionFields, Rejection};
pub use reply::{InvalidMessage, Owner, Record, Reply, ResponseHeader, Section};
