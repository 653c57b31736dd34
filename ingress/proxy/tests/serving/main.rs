//! The proxy over real sockets on the loopback.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod bodies;
mod forwarding;
mod http2;
mod retries;
mod smuggling;
mod stopping;
mod support;
mod telling;
mod tls;
mod upgrades;
mod views;
