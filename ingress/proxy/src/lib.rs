//! Serves HTTP from the views: listeners, routes, connections to endpoints, the access log.
//!
//! A request passes `listener` → `client` → `exchange` → `upstream`. Each worker is a thread with its own runtime: a
//! request never changes threads, and takes no lock unless its route has limits, passwords or cached authentication. This crate decides nothing about routes; that is `ingress-routes`.

mod brotli;
mod io;
mod wire;

pub mod followed_requests;
pub mod options;
mod views;

mod observe;
mod upstream;

mod state;

mod client;
mod exchange;
mod listener;
mod stream;

mod proxy;

pub mod explain;

pub use listener::addresses::{ListenProblem, ListenProblems};
pub use listener::stapling::StaplingProblems;
pub use observe::metrics::ConfigurationMetrics;
pub use options::{Controller, MetricsOptions, ProxyOptions};
pub use proxy::{Proxy, ProxyStartError, Telemetry, WorkerFailed};
pub use stream::ports::StreamProblems;
pub use views::ProxyViews;
