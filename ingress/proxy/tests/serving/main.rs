//! The proxy over real sockets on the loopback.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod support;
mod tls;

mod bodies;
mod forwarding;
mod http2;
mod retries;
mod smuggling;
mod stopping;
mod telling;
mod upgrades;
mod views;
