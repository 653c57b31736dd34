//! What every server here stands on: listening sockets, TLS by name, and a way to stop without cutting anyone off.
//!
//! It knows no protocol above TLS and nothing of the cluster; names are looked up through a closure.

pub mod descriptors;
pub mod drain;
pub mod listen;

pub mod session_cache;
pub mod tls;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub mod certificate;

pub use descriptors::DescriptorShares;
pub use drain::{Drain, DrainOutcome, DrainToken};
pub use listen::BindError;
pub use tls::TlsError;
