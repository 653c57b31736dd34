//! What the proxy counts and shows, under ingress-nginx's names, labels and help texts (reference §3.17).
//!
//! The names are a contract: dashboards and alerts read them. A golden test holds the whole page.

mod names;

mod configuration;
mod connections;
mod process;
mod requests;
mod views;

mod series;

use telemetry::metrics::Registry;

pub use self::configuration::Configuration;
pub(crate) use self::connections::Connections;
pub(crate) use self::requests::{Of, Sample};
pub(crate) use self::series::Series;

use self::requests::Requests;
use crate::options::{Controller, MetricsOptions};
use crate::views::Views;

/// Everything that is counted, shared by all workers.
#[derive(Clone)]
pub(crate) struct Metrics {
    requests: Requests,
    pub(crate) connections: Connections,
}

impl Metrics {
    pub(crate) fn new(
        registry: &Registry,
        controller: &Controller,
        options: &MetricsOptions,
        views: &Views,
    ) -> Self {
        views::show(registry, controller, views);
        process::show(registry, controller);
        let requests = Requests::new(registry, controller, options);
        Self { requests, connections: Connections::new(registry, controller) }
    }
}
