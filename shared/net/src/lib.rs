//! Building blocks of servers: listening sockets, addresses, capabilities, descriptor limits, TLS with certificates by name, graceful shutdown.
//!
//! Contains no protocol above TLS and no Kubernetes type; certificates are looked up through a closure.

pub mod capabilities;
pub mod descriptors;
pub mod drain;
mod error_text;
pub mod listen;
pub mod datagram;
pub mod local_address;

mod client_certificate;
pub mod session_cache;
pub mod session_tickets;
pub mod tls;
pub mod tls_client;
pub mod ocsp;
pub mod issuer;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub mod certificate;

#[cfg(any(test, feature = "testing"))]
#[doc(hidden)]
pub mod fuzz;

pub use descriptors::DescriptorShares;
pub use drain::{Drain, DrainOutcome, DrainToken};
pub use error_text::error_text;
pub use listen::BindError;
pub use tls::TlsError;
