//! `portolan up`: DNS, HTTP and HTTPS at once, with nothing configured.

mod corefile;
mod examples;
mod show;

use std::net::SocketAddr;
use std::time::Instant;

use cluster::Kinds;
use dns_server::{DnsService, DnsStartError, ServerOptions};
use ingress_proxy::ProxyOptions;
use net::{BindError, DescriptorShares, descriptors};
use sources::kube::{Access, RequestLimiter, Selection};
use telemetry::log::{LogFormat, LogOutput};
use telemetry::{AdminListener, AdminResponse};

use crate::args::UpArgs;
use crate::clusters::{self, ClusterOrigin, Clusters};
use crate::command_error::CommandError;
use crate::runtime::{FatalErrors, Runtime};
use crate::signals::{SignalAction, Signals};
use crate::{demo, dns, edge, output};
use examples::Examples;

/// Serves until it is told to stop.
///
/// # Errors
/// When an argument or the Corefile is wrong (2) or an address cannot be had (1).
pub fn run(args: UpArgs) -> Result<(), CommandError> {
    let level =
        if args.verbose { "debug,hyper=info,h2=info,rustls=info" } else { "warn,report=info,sources=info" };
    telemetry::log::init(LogFormat::CoreDns, LogOutput::Stderr, level)
        .map_err(|error| CommandError::outside(error.to_string()))?;
    let (runtime, executor, fatal) = Runtime::start()?;
    let served = executor.block_on(serve(&args, &runtime, fatal));
    executor.shutdown_background();
    served
}

async fn serve(args: &UpArgs, runtime: &Runtime, mut fatal: FatalErrors) -> Result<(), CommandError> {
    let begun = Instant::now();
    let mut signals = Signals::listen()?;
    let origin = origin(args);
    let limiter = RequestLimiter::default();
    let cluster = clusters::open(&origin, Selection::default(), limiter.clone(), runtime).await?;
    let options = ProxyOptions {
        http: vec![args.http],
        https: vec![args.https],
        // The DNS server of this process needs the other half.
        descriptors: DescriptorShares::of(descriptors::limit() / 2),
        ..ProxyOptions::default()
    };
    let routes = ingress_routes::RouteOptions {
        watch_ingress_without_class: !matches!(origin, ClusterOrigin::Server(_)),
        // A browser that follows a redirect has to come back to this process.
        port_in_redirects: Some(args.https.port()).filter(|port| ![0, 443].contains(port)),
        ..Default::default()
    };
    let views = edge::views(&cluster, &routes, &options.controller, runtime);
    let pages = pages(args.admin, runtime).await?;

    let context =
        dns::context(Clusters::with(cluster.clone(), limiter, origin.clone(), runtime), runtime, false);
    let fronts = ServerOptions { threads: None, addresses: vec![args.dns.ip()], ..Default::default() };
    let corefile = corefile::load(args);
    let started = DnsService::start(corefile.clone(), context, fronts).await;
    let dns = started.map_err(|error| match &error {
        DnsStartError::Bind(..) => CommandError::outside(format!("{error}; move it with --dns")),
        _ => dns::failure(error),
    })?;

    if matches!(origin, ClusterOrigin::Server(_)) {
        output::tell("waiting for the API server's lists …");
    }
    tokio::select! {
        () = clusters::listed(&cluster, Kinds::default()) => {}
        () = signals.stop() => return Ok(()),
    }
    if !matches!(origin, ClusterOrigin::Server(_)) {
        demo::follow(&cluster, runtime).await;
    }
    let access = edge::access_log(runtime);
    let proxy = edge::start(options, views.clone(), Some(access.clone()), runtime, ("--http", "--https"))?;
    let health = proxy.health();
    let _routes = [
        pages.route("/healthz", move |_| match health() {
            true => AdminResponse::ok("ok"),
            false => AdminResponse::text(http::StatusCode::INTERNAL_SERVER_ERROR, "shutting down"),
        }),
        pages.route_large("/metrics", runtime.metrics.page()),
        pages.route("/problems", runtime.reports.page()),
    ];
    let zone = corefile().ok().and_then(|corefile| examples::zone(&corefile));
    cluster.read(|snapshot| {
        let examples = Examples::of(snapshot, &views, zone.as_deref().unwrap_or("cluster.local"));
        show::greeting(args, &origin, snapshot, &examples, begun.elapsed());
    });
    let shown = show::changes(&cluster, runtime);
    let ended = loop {
        tokio::select! {
            said = signals.next() => match said {
                SignalAction::Stop(_) => break Ok(()),
                SignalAction::Reload => dns.reloader().reload(),
            },
            Some(reason) = fatal.recv() => break Err(CommandError::outside(reason)),
        }
    };
    // What is no longer read now goes, which is no change of the cluster.
    shown.abort();
    tokio::select! {
        _ = async { tokio::join!(proxy.stop(std::time::Duration::ZERO), dns.stop()) } => {}
        // Told a second time: at once.
        _ = signals.next() => {}
    }
    access.close();
    ended
}

fn origin(args: &UpArgs) -> ClusterOrigin {
    let flags = ClusterOrigin::of_flags(&args.manifests, args.kubeconfig.as_ref(), args.context.as_ref());
    match flags {
        Some(ClusterOrigin::Server(Access::Kubeconfig { file: None, context: None })) | None => {
            ClusterOrigin::Demo(demo::free_port(&[args.http, args.https, args.admin]))
        }
        Some(origin) => origin,
    }
}

async fn pages(address: SocketAddr, runtime: &Runtime) -> Result<AdminListener, CommandError> {
    let opened = runtime.admin.listen(&address.to_string()).await;
    opened.map_err(|cause| {
        CommandError::outside(format!("{}; move it with --admin", BindError { address, cause }))
    })
}
