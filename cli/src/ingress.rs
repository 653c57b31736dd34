//! `portolan ingress`: the ingress proxy, with the flags of ingress-nginx.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ingress_proxy::{Controller, Proxy, ProxyOptions, ProxyViews};
use ingress_routes::{Defaults, GeoSettings, RouteOptions, ServerSettings};
use sources::Cluster;
use sources::kube::{Access, ClientTls, RequestLimiter, Selection};
use telemetry::log::{LogFormat, LogOutput};
use telemetry::{AdminResponse, AdminRoute};

use crate::access_logs::AccessLogs;
use crate::args::IngressArgs;
use crate::cluster_writer;
use crate::clusters::{self, ClusterOrigin};
use crate::command_error::CommandError;
use crate::edge;
use crate::geoip;
use crate::live::{self, LiveIngress};
use crate::other_controllers;
use crate::output;
use crate::own_zone;
use crate::reporting;
use crate::runtime::{FatalErrors, Runtime};
use crate::signals::{SignalAction, Signals};

/// Serves until a signal stops the process.
///
/// # Errors
/// When an argument is invalid (exit code 2) or an address cannot be bound (exit code 1).
pub fn run(args: IngressArgs) -> Result<(), CommandError> {
    if args.version {
        output::print(concat!("Portolan ", env!("CARGO_PKG_VERSION"), "\n"));
        return Ok(());
    }
    let format = if args.log.json { LogFormat::Json } else { LogFormat::Klog };
    telemetry::log::init(format, LogOutput::Stderr, &args.log.filter("info"))
        .map_err(|error| CommandError::outside(error.to_string()))?;
    tracing::info!(
        "Portolan {} on {}/{}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    let (runtime, executor, fatal) = Runtime::start()?;
    reporting::flags(&args.unsupported, &runtime);
    let result = executor.block_on(serve(&args, &runtime, fatal));
    executor.shutdown_background();
    result
}

async fn serve(args: &IngressArgs, runtime: &Runtime, mut fatal: FatalErrors) -> Result<(), CommandError> {
    let mut signals = Signals::listen()?;
    let selection = Selection {
        namespace: args.namespace.clone(),
        config_maps: args.config_maps(),
        tls_secrets_only: args.tls_secrets_only,
        ..Selection::default()
    };
    let complete = edge::complete(args.namespace_selector.is_some());
    let cluster =
        clusters::open(&origin(args), selection, complete, RequestLimiter::default(), runtime).await?;
    let mut options = proxy_options(args);
    let pages = AdminPages::open(args, &cluster, runtime).await?;
    let (source, mut routes) = (origin(args), table_options(args));
    routes.zone = tokio::select! {
        zone = own_zone::find(&source, args, runtime) => zone,
        _ = signals.stop() => return Ok(()),
    };
    let views = edge::views(&cluster, &routes, &options.controller, runtime);
    let shown = LiveIngress {
        cluster: cluster.clone(),
        views: views.clone(),
        options: routes.clone(),
        followed: options.followed.clone(),
    };
    live::serve(args.live, Some(shown), runtime);
    tokio::select! {
        () = clusters::listed(&cluster, edge::REQUIRED) => {}
        Some(reason) = fatal.recv() => return Err(CommandError::outside(reason)),
        _ = signals.stop() => return Ok(()),
    }
    follow_worker_processes(&mut options, args, &views);
    geoip::follow(&args.geoip_folder, &cluster, &views, runtime);
    let access = AccessLogs::open(args.log.json, runtime);
    access.follow(&cluster, &views, args.log.is_verbose(), runtime);
    other_controllers::follow(&origin(args), &cluster, &routes, &options.controller, runtime);
    let controller = cluster_writer::start(&origin(args), args, &routes, &cluster, &views, runtime)?;
    let proxy = start(options, views, access.clone(), runtime)?;
    let _health = pages.healthy(args, proxy.health());
    let result = tokio::select! {
        signal = stopped(&mut signals, &access) => {
            tracing::info!("{signal}: shutting down");
            Ok(())
        }
        Some(reason) = fatal.recv() => Err(CommandError::outside(reason)),
    };
    let stopping =
        async { tokio::join!(proxy.stop(args.shutdown_grace), controller.stop(args.shutdown_grace)) };
    tokio::select! {
        // The proxy logs the connections that it waits for.
        (drained, ()) = stopping => tracing::info!("connections: {drained:?}"),
        signal = signals.stop() => tracing::warn!("{signal} again: exiting immediately"),
    }
    access.close();
    wait_to_exit(args, &mut signals).await;
    result
}

/// Waits for a signal to stop. On SIGUSR1 the files of the access log are opened again, as nginx does.
async fn stopped(signals: &mut Signals, access: &AccessLogs) -> &'static str {
    loop {
        match signals.next().await {
            SignalAction::Stop(signal) => return signal,
            SignalAction::Reload(signal) => {
                tracing::info!("{signal}: opening the files of the access log again");
                access.reopen();
            }
        }
    }
}

/// Starts the proxy and logs its addresses.
///
/// # Errors
/// When an address cannot be bound.
pub fn start(
    options: ProxyOptions,
    views: ProxyViews,
    access: AccessLogs,
    runtime: &Runtime,
) -> Result<Proxy, CommandError> {
    let flags = (
        "--http-port (chart: controller.containerPort.http)",
        "--https-port (chart: controller.containerPort.https)",
    );
    let proxy = edge::start(options, views, access, runtime, flags)?;
    for (what, addresses) in [("HTTP", proxy.http()), ("HTTPS", proxy.https())] {
        addresses.iter().for_each(|address| tracing::info!("serving {what} on {address}"));
    }
    Ok(proxy)
}

/// Waits for `--post-shutdown-grace-period`.
pub async fn wait_to_exit(args: &IngressArgs, signals: &mut Signals) {
    if !args.post_shutdown_grace.is_zero() {
        let grace = args.post_shutdown_grace.as_secs();
        tracing::info!(
            "exiting in {grace}s (--post-shutdown-grace-period), or immediately on another signal"
        );
    }
    tokio::select! {
        () = tokio::time::sleep(args.post_shutdown_grace) => {}
        _ = signals.stop() => {}
    }
}

/// The source of the cluster.
pub fn origin(args: &IngressArgs) -> ClusterOrigin {
    if let Some(url) = &args.apiserver
        && args.kubeconfig.is_none()
        && args.manifests.is_empty()
    {
        let tls = ClientTls { identity: None, authority: args.certificate_authority.clone() };
        return ClusterOrigin::Server(Access::Endpoint { url: url.clone(), tls });
    }
    let flags = ClusterOrigin::from_flags(&args.manifests, args.kubeconfig.as_ref(), args.context.as_ref());
    flags.unwrap_or(ClusterOrigin::Server(Access::InCluster))
}

/// The options of the routes. The zone of the node is not known here: see [`own_zone::find`].
pub fn table_options(args: &IngressArgs) -> RouteOptions {
    RouteOptions {
        controller_class: args.controller_class.as_str().into(),
        ingress_class: args.ingress_class.as_str().into(),
        ingress_class_by_name: args.class_by_name,
        watch_ingress_without_class: args.without_class,
        admit_default_class: !matches!(origin(args), ClusterOrigin::Server(_)),
        watch_namespace: args.namespace.as_deref().map(Into::into),
        namespace_selector: args.namespace_selector.clone(),
        config_map: args.config_map.clone(),
        annotations_prefix: args.annotations_prefix.as_str().into(),
        default_backend_service: args.default_backend.clone(),
        default_ssl_certificate: args.default_certificate.clone(),
        ssl_passthrough: args.ssl_passthrough,
        disable_catch_all: args.disable_catch_all,
        disable_svc_external_name: args.disable_external_name,
        zone: None,
        tls_secrets_only: args.tls_secrets_only,
        // Clients reach `--https-port` through port 443 of a Service or load balancer.
        port_in_redirects: None,
        http_port: args.http_port,
        https_port: args.https_port,
        health_port: args.healthz.1,
        tcp_services: args.tcp_services.clone(),
        udp_services: args.udp_services.clone(),
        defaults: Defaults {
            server: Arc::new(ServerSettings {
                geo: GeoSettings { editions: args.geoip_editions.clone(), ..GeoSettings::default() },
                ..ServerSettings::default()
            }),
            ..Defaults::default()
        },
    }
}

/// The options of the proxy.
pub fn proxy_options(args: &IngressArgs) -> ProxyOptions {
    let all_addresses = |port| {
        [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
            .into_iter()
            .filter(|ip| ip.is_ipv4() || has_ipv6())
            .map(|ip| SocketAddr::new(ip, port))
            .collect()
    };
    let environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut options = ProxyOptions {
        http: all_addresses(args.http_port),
        https: all_addresses(args.https_port),
        ssl_passthrough: args.ssl_passthrough,
        completes_chains: args.completes_chains,
        health_check_path: args.health_path.clone(),
        controller: Controller {
            class: args.controller_class.clone(),
            namespace: environment("POD_NAMESPACE").unwrap_or_else(|| "default".to_owned()),
            pod: environment("POD_NAME").unwrap_or_default(),
        },
        metrics: args.request_metrics.clone(),
        ..ProxyOptions::default()
    };
    if let Some(workers) = args.workers {
        options.workers = workers;
    }
    options
}

/// Takes the number of workers from `worker-processes` of the ConfigMap, unless `--workers` is given.
pub fn follow_worker_processes(options: &mut ProxyOptions, args: &IngressArgs, views: &ProxyViews) {
    if let (None, Some(workers)) = (args.workers, views.table.load().server().listen.workers) {
        options.workers = workers;
    }
}

/// Whether IPv6 is enabled on this host.
fn has_ipv6() -> bool {
    std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// The admin pages: health and metrics.
pub struct AdminPages {
    pages: telemetry::AdminListener,
    _routes: Vec<AdminRoute>,
}

impl AdminPages {
    /// Opens the listener. The health page answers 500 until [`Self::healthy`] is called.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn open(
        args: &IngressArgs,
        cluster: &Cluster,
        runtime: &Runtime,
    ) -> Result<Self, CommandError> {
        let (host, port) = &args.healthz;
        let address = format!("{}:{port}", host.as_deref().unwrap_or_default());
        let pages = runtime.admin.listen(&address).await.map_err(|error| {
            CommandError::outside(format!(
                "{error}; --healthz-port (chart: controller.metrics.port) and --healthz-host (chart: controller.healthCheckHost) change the address"
            ))
        })?;
        let cluster = cluster.clone();
        let starting = move |_: &_| edge::waiting(&cluster);
        let mut routes = vec![pages.route(&args.health_path, starting)];
        if args.metrics {
            routes.push(pages.route_large("/metrics", runtime.metrics.page()));
        }
        Ok(Self { pages, _routes: routes })
    }

    /// Serves the health of the proxy on the health page.
    pub fn healthy(
        &self,
        args: &IngressArgs,
        health: impl Fn() -> bool + Send + Sync + 'static,
    ) -> AdminRoute {
        self.pages.route(&args.health_path, move |_| match health() {
            true => AdminResponse::ok("ok"),
            false => AdminResponse::text(http::StatusCode::INTERNAL_SERVER_ERROR, "shutting down"),
        })
    }
}
