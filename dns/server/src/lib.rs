//! Serves the DNS chain over UDP (on threads of its own) and TCP (on the async runtime), and reloads its Corefile.
//!
//! This crate handles sockets and framing. A message is parsed into a [`dns_chain::Request`], [`dns_chain::run::answer`]
//! produces the reply, and the reply is sent back over the same transport.

mod arrivals;
mod name_samples;
mod supervise;

mod tcp_connections;

mod listener_state;

mod tcp;
mod udp;

mod listeners;

mod reload_problems;
mod service;

pub use listeners::{DnsStartError, ServerOptions};
pub use name_samples::{NameSamples, SampledName};
pub use service::{CorefileLoader, DnsService, ReloadHandle, ServedRoutes};
pub use tcp_connections::TcpLimits;
