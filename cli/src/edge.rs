//! Starts the ingress proxy: its views of a cluster, problem reports, access log and listeners.

use cluster::{Current, Kind, Kinds};
use ingress_proxy::{
    ConfigurationMetrics, Controller, Proxy, ProxyOptions, ProxyStartError, ProxyViews, Telemetry,
};
use ingress_routes::{CertIndex, GeoDatabases, PoolIndex, RouteIndex, RouteOptions, StreamIndex};
use sources::Cluster;
use telemetry::AdminResponse;

use crate::access_logs::AccessLogs;
use crate::command_error::CommandError;
use crate::runtime::Runtime;
use crate::{clusters, config_metrics, reporting};

/// Kinds that must be listed before the proxy is ready, if it watches them. The first three are needed for every route. The
/// ConfigMap of `--configmap` may restrict access, and `--watch-namespace-selector` needs the labels of Namespaces. Not required:
/// without permission to list IngressClasses the class annotation decides, and without permission to list Secrets the default
/// certificate is served, as in ingress-nginx.
pub const REQUIRED: Kinds =
    Kinds::of(&[Kind::Ingress, Kind::Service, Kind::EndpointSlice, Kind::ConfigMap, Kind::Namespace]);

/// Kinds of which the proxy must know every object of the manifests before it serves. An Ingress that cannot be decoded may protect
/// a path that another one covers, an IngressClass decides whose Ingresses are served, and the labels of Namespaces matter only to
/// a selector. A missing object of another kind makes routes answer 503.
pub fn complete(namespace_selector: bool) -> Kinds {
    let always = Kinds::of(&[Kind::Ingress, Kind::IngressClass, Kind::ConfigMap]);
    if namespace_selector { always.union(Kinds::of(&[Kind::Namespace])) } else { always }
}

/// Creates the views and starts reporting problems of the objects in them.
///
/// Views are published in the order of creation: certificates and pools before the routes that use them.
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
        streams: cluster.project(StreamIndex::new(options.clone())),
        geo: Current::new(GeoDatabases::default()),
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

/// The health page while the proxy waits for the lists of the cluster, with the kinds that are missing.
pub fn waiting(cluster: &Cluster) -> AdminResponse {
    let waiting = clusters::unlisted(cluster, REQUIRED).join("\n");
    let text = format!("waiting for the cluster\n{waiting}\n");
    AdminResponse::text(http::StatusCode::INTERNAL_SERVER_ERROR, text)
}

/// Starts the proxy.
///
/// # Errors
/// When an address cannot be bound. `flags` are the flags that change the addresses of HTTP and HTTPS, for the message.
pub fn start(
    options: ProxyOptions,
    views: ProxyViews,
    access: AccessLogs,
    runtime: &Runtime,
    flags: (&str, &str),
) -> Result<Proxy, CommandError> {
    let https = options.https.clone();
    let shutdown = runtime.clone();
    let worker_failed = std::sync::Arc::new(move |reason: &str| {
        shutdown.request_shutdown(format!("a worker of the proxy: {reason}"))
    });
    let stream_problems = reporting::stream_problems(runtime);
    let listen_problems = reporting::listen_problems(runtime);
    let registry = runtime.metrics.clone();
    let telemetry = Telemetry {
        registry,
        access: Some(access.requests),
        stream_access: Some(access.streams),
        worker_failed,
        stream_problems,
        listen_problems,
        stapling_problems: reporting::stapling_problems(runtime),
    };
    Proxy::start(options, views, &telemetry).map_err(|error| match &error {
        ProxyStartError::Bind(bind) => {
            let flag = if https.contains(&bind.address) { flags.1 } else { flags.0 };
            CommandError::outside(format!("{error}; {flag} changes the address"))
        }
        _ => CommandError::outside(error.to_string()),
    })
}
