//! The ingress side, wired: views of a cluster, the proxy over them, and its health page.

use cluster::{Kind, Kinds};
use ingress_proxy::{
    ConfigurationMetrics, Controller, Proxy, ProxyOptions, ProxyStartError, ProxyViews, Telemetry,
};
use ingress_routes::{CertIndex, PoolIndex, RouteIndex, RouteOptions};
use sources::Cluster;
use telemetry::LogWriter;
use telemetry::log::JsonLines;

use crate::command_error::CommandError;
use crate::runtime::Runtime;
use crate::{config_metrics, reporting};

/// Kinds without which the edge is not ready, if it reads them at all: without the first three there is nothing to serve,
/// without the ConfigMap of `--configmap` nobody knows what it protects, and without Namespaces which of them
/// `--watch-namespace-selector` selects. Without the right to list IngressClasses ingress-nginx goes by the class annotation
/// alone, and without that to list Secrets it shows its default certificate.
pub const REQUIRED: Kinds =
    Kinds::of(&[Kind::Ingress, Kind::Service, Kind::EndpointSlice, Kind::ConfigMap, Kind::Namespace]);

/// Makes the views, and tells from now on what is wrong with the objects behind them.
///
/// The order is that of publishing: what a route needs is there before the route.
pub fn views(
    cluster: &Cluster,
    options: &RouteOptions,
    controller: &Controller,
    runtime: &Runtime,
) -> ProxyViews {
    let views = ProxyViews {
        certs: cluster.project(CertIndex::new(options.clone())),
        pools: cluster.project(PoolIndex::new(options.clone())),
        table: cluster.project(RouteIndex::new(options.clone())),
    };
    reporting::follow(cluster, &views, options, runtime);
    config_metrics::follow(
        cluster,
        &views,
        ConfigurationMetrics::new(&runtime.metrics, controller),
        &runtime.handle,
    );
    views
}

/// Starts the proxy.
///
/// # Errors
/// When an address cannot be had; `flags` names the flags that move HTTP and HTTPS.
pub fn start(
    options: ProxyOptions,
    views: ProxyViews,
    access: Option<LogWriter>,
    runtime: &Runtime,
    flags: (&str, &str),
) -> Result<Proxy, CommandError> {
    let https = options.https.clone();
    let shutdown = runtime.clone();
    let worker_failed = std::sync::Arc::new(move |reason: &str| {
        shutdown.request_shutdown(format!("a worker of the proxy: {reason}"))
    });
    let telemetry = Telemetry { registry: runtime.metrics.clone(), access, worker_failed };
    Proxy::start(options, views, &telemetry).map_err(|error| match &error {
        ProxyStartError::Bind(bind) => {
            let flag = if https.contains(&bind.address) { flags.1 } else { flags.0 };
            CommandError::outside(format!("{error}; move it with {flag}"))
        }
        _ => CommandError::outside(error.to_string()),
    })
}

/// The access log, on standard output; its lines are JSON objects with the text as `msg` where all lines are to be JSON.
pub fn access_log(json: bool, runtime: &Runtime) -> LogWriter {
    let help = "Lines of the access log that were not written.";
    let dropped = runtime.metrics.counter("portolan_access_log_dropped_total", help);
    match json {
        true => LogWriter::new(JsonLines::new(std::io::stdout(), "access"), dropped),
        false => LogWriter::new(std::io::stdout(), dropped),
    }
}
