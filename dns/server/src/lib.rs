//! The fronts of the DNS chain: UDP on threads of its own, TCP on the async runtime, and the service around them.
//!
//! Knows sockets and framing, not what is answered. A query is read into [`dns_chain::Request`], answered by
//! [`dns_chain::run::answer`], and its reply leaves the way it came.

mod supervise;

mod listener_state;
mod tcp;
mod udp;

mod listeners;

mod service;

pub use listeners::{DnsStartError, ServerOptions};
pub use service::{CorefileLoader, DnsService, ReloadHandle};
pub use tcp::TcpLimits;
