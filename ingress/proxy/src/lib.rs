//! Serves HTTP from the views: listeners, routes, connections to endpoints, the access log.
//!
//! Each worker is a thread with a runtime of its own: a request never changes threads and takes no lock. It
//! decides nothing about routes; that is `ingress-routes`.

mod chunked;
mod clock;
mod gather;
mod scratch;
mod text;

mod client;

mod forward;
mod pages;
mod splice;

mod upstream;

pub mod options;
mod views;

mod metrics;
mod record;

mod worker;

mod reply;
mod visit;

mod ask;
mod serve;

mod connection;

mod proxy;

pub use metrics::Configuration;
pub use options::{Controller, MetricsOptions, ProxyOptions};
pub use proxy::{Proxy, StartError, Telling};
pub use upstream::idle::KeepAlive;
pub use views::Views;
