//! The proxy over real sockets on the loopback.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod message;
mod scripted_endpoint;
mod support;
mod frames;
mod collector;

mod descriptors;
mod limits;

mod access_log;
mod authentication;
mod balancing;
mod beside_nginx;
mod bodies;
mod compression;
mod cves;
mod error_pages;
mod forwarding;
mod heads;
mod identity;
mod mirror;
mod opentelemetry;
mod order;
mod paths;
mod retries;
mod settings;
mod smuggling;
mod snippets;
mod stopping;
mod streams;
mod listeners;
mod followed_requests;
mod udp_sessions;
mod upgrades;
mod views;

mod tls;
mod client_certificates;
mod passthrough;
mod tls_sessions;
mod upstream_tls;
mod grpc;
mod fastcgi;

mod http2;
mod metrics;
