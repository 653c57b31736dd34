//! The ingress side, wired: views of a cluster, the proxy over them, and its health page.

use ingress_proxy::{Configuration, Controller, Proxy, ProxyOptions, StartError, Telling, Views};
use ingress_routes::{CertIndex, PoolIndex, RouteIndex, RouteOptions};
use sources::Cluster;
use telemetry::Lines;

use crate::failure::Failure;
use crate::ground::Ground;
use crate::{reporting, taking};

/// Makes the views, and tells from now on what is wrong with the objects behind them.
///
/// The order is that of publishing: what a route needs is there before the route.
pub fn views(cluster: &Cluster, options: &RouteOptions, controller: &Controller, ground: &Ground) -> Views {
    let views = Views {
        certs: cluster.project(CertIndex::new(options.clone())),
        pools: cluster.project(PoolIndex::new(options.clone())),
        table: cluster.project(RouteIndex::new(options.clone())),
    };
    reporting::follow(cluster, &views, options, ground);
    taking::follow(cluster, &views, Configuration::new(&ground.metrics, controller), &ground.runtime);
    views
}

/// Starts the proxy.
///
/// # Errors
/// When an address cannot be had; `flags` names the flags that move HTTP and HTTPS.
pub fn start(
    options: ProxyOptions,
    views: Views,
    access: Option<Lines>,
    ground: &Ground,
    flags: (&str, &str),
) -> Result<Proxy, Failure> {
    let https = options.https.clone();
    let telling = Telling { registry: ground.metrics.clone(), access };
    Proxy::start(options, views, &telling).map_err(|error| match &error {
        StartError::Bind(bind) => {
            let flag = if https.contains(&bind.address) { flags.1 } else { flags.0 };
            Failure::outside(format!("{error}; move it with {flag}"))
        }
        _ => Failure::outside(error.to_string()),
    })
}

/// The access log, on standard output.
pub fn access_log(ground: &Ground) -> Lines {
    let help = "Lines of the access log that were not written.";
    Lines::new(std::io::stdout(), ground.metrics.counter("portolan_access_log_dropped_total", help))
}
