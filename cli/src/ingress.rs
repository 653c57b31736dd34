//! `portolan ingress`: the edge proxy as ingress-nginx runs it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ingress_proxy::{Controller, ProxyOptions};
use ingress_routes::RouteOptions;
use sources::kube::{Access, ClientTls, RequestLimiter, Selection};
use telemetry::log::{Format, Output};
use telemetry::{Answer, Route};

use crate::args::IngressArgs;
use crate::clusters::{self, Origin};
use crate::edge;
use crate::failure::Failure;
use crate::ground::{Fatal, Ground};
use crate::output;
use crate::signals::Signals;

/// Serves until it is told to stop.
///
/// # Errors
/// When an argument is wrong (2) or an address cannot be had (1).
pub fn run(args: IngressArgs) -> Result<(), Failure> {
    if args.version {
        output::print(concat!("Portolan ", env!("CARGO_PKG_VERSION"), "\n"));
        return Ok(());
    }
    let level = if args.verbosity >= 5 { "debug,hyper=info,h2=info,rustls=info" } else { "info" };
    telemetry::log::init(Format::Klog, Output::Stderr, level)
        .map_err(|error| Failure::outside(error.to_string()))?;
    if !args.ineffective.is_empty() {
        let names: Vec<_> = args.ineffective.iter().map(|name| format!("--{name}")).collect();
        tracing::warn!("accepted, but without effect yet: {}", names.join(", "));
    }
    let (ground, runtime, fatal) = Ground::lay()?;
    let served = runtime.block_on(serve(&args, &ground, fatal));
    runtime.shutdown_background();
    served
}

async fn serve(args: &IngressArgs, ground: &Ground, mut fatal: Fatal) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let selection = Selection { namespace: args.namespace.clone(), ..Selection::default() };
    let cluster = clusters::open(&origin(args), selection, RequestLimiter::default(), ground).await?;
    let options = proxy_options(args);
    let views = edge::views(&cluster, &table_options(args), &options.controller, ground);
    let pages = Pages::open(args, ground).await?;
    tokio::select! {
        () = clusters::listed(&cluster) => {}
        () = signals.stop() => return Ok(()),
    }
    let access = edge::access_log(ground);
    let flags = ("--http-port", "--https-port");
    let proxy = edge::start(options, views, Some(access.clone()), ground, flags)?;
    let _health = pages.healthy(args, proxy.health());
    for (what, addresses) in [("HTTP", proxy.http()), ("HTTPS", proxy.https())] {
        addresses.iter().for_each(|address| tracing::info!("serving {what} on {address}"));
    }
    // Nothing to read again at SIGUSR1: every change of the cluster is in force a moment later.
    let ended = tokio::select! {
        () = signals.stop() => Ok(()),
        Some(reason) = fatal.recv() => Err(Failure::outside(reason)),
    };
    tracing::info!("shutting down");
    tokio::select! {
        drained = proxy.stop(args.shutdown_grace) => tracing::info!("connections: {drained:?}"),
        _ = signals.next() => tracing::warn!("told a second time: ending at once"),
    }
    access.close();
    tokio::select! {
        () = tokio::time::sleep(args.post_shutdown_grace) => {}
        _ = signals.next() => {}
    }
    ended
}

fn origin(args: &IngressArgs) -> Origin {
    if let Some(url) = &args.apiserver
        && args.kubeconfig.is_none()
        && args.manifests.is_empty()
    {
        let tls = ClientTls { identity: None, authority: args.certificate_authority.clone() };
        return Origin::Server(Access::Endpoint { url: url.clone(), tls });
    }
    let flags = Origin::of_flags(&args.manifests, args.kubeconfig.as_ref(), args.context.as_ref());
    flags.unwrap_or(Origin::Server(Access::InCluster))
}

fn table_options(args: &IngressArgs) -> RouteOptions {
    RouteOptions {
        controller_class: args.controller_class.as_str().into(),
        ingress_class: args.ingress_class.as_str().into(),
        ingress_class_by_name: args.class_by_name,
        watch_ingress_without_class: args.without_class,
        admit_default_class: !matches!(origin(args), Origin::Server(_)),
        watch_namespace: args.namespace.as_deref().map(Into::into),
        annotations_prefix: args.annotations_prefix.as_str().into(),
        default_backend_service: args.default_backend.clone(),
        default_ssl_certificate: args.default_certificate.clone(),
        disable_catch_all: args.disable_catch_all,
        disable_svc_external_name: args.disable_external_name,
        // The chart and load balancers put 443 in front of `--https-port`.
        port_in_redirects: None,
    }
}

fn proxy_options(args: &IngressArgs) -> ProxyOptions {
    let everywhere = |port| {
        [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
            .into_iter()
            .filter(|ip| ip.is_ipv4() || has_ipv6())
            .map(|ip| SocketAddr::new(ip, port))
            .collect()
    };
    let environment = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut options = ProxyOptions {
        http: everywhere(args.http_port),
        https: everywhere(args.https_port),
        health_check_path: args.health_path.clone(),
        controller: Controller {
            class: args.controller_class.clone(),
            namespace: environment("POD_NAMESPACE").unwrap_or_else(|| "default".to_owned()),
            pod: environment("POD_NAME").unwrap_or_default(),
        },
        metrics: args.counting.clone(),
        ..ProxyOptions::default()
    };
    if let Some(workers) = args.workers {
        options.workers = workers;
    }
    options
}

/// Whether this host has IPv6 at all; where it is switched off nothing is bound there.
fn has_ipv6() -> bool {
    std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// The pages for probes and scrapers.
struct Pages {
    pages: telemetry::Pages,
    _routes: Vec<Route>,
}

impl Pages {
    /// Opens them; health answers 500 until the proxy serves.
    async fn open(args: &IngressArgs, ground: &Ground) -> Result<Self, Failure> {
        let (host, port) = &args.healthz;
        let address = format!("{}:{port}", host.as_deref().unwrap_or_default());
        let pages = ground.admin.pages(&address).await.map_err(|error| {
            Failure::outside(format!(
                "cannot listen on {address} for health: {error}; move it with --healthz-host and --healthz-port"
            ))
        })?;
        let starting =
            |_: &_| Answer::text(http::StatusCode::INTERNAL_SERVER_ERROR, "waiting for the cluster");
        let mut routes =
            vec![pages.route(&args.health_path, starting), pages.route("/problems", ground.reports.page())];
        if args.metrics {
            routes.push(pages.route("/metrics", ground.metrics.page()));
        }
        Ok(Self { pages, _routes: routes })
    }

    /// Health as the proxy sees it, from now on.
    fn healthy(&self, args: &IngressArgs, health: impl Fn() -> bool + Send + Sync + 'static) -> Route {
        self.pages.route(&args.health_path, move |_| match health() {
            true => Answer::ok("ok"),
            false => Answer::text(http::StatusCode::INTERNAL_SERVER_ERROR, "shutting down"),
        })
    }
}
