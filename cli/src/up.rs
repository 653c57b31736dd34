//! `portolan up`: DNS, HTTP and HTTPS in one process, without configuration.

mod corefile;
mod examples;
mod query_lines;
mod show;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dns_server::{DnsService, ServerOptions};
use ingress_proxy::ProxyOptions;
use net::{DescriptorShares, descriptors};
use sources::kube::{Access, RequestLimiter, Selection};
use telemetry::log::{LogFormat, LogOutput};
use telemetry::{AdminListener, AdminResponse};

use crate::access_logs::AccessLogs;
use crate::args::UpArgs;
use crate::clusters::{self, ClusterOrigin, Clusters};
use crate::command_error::CommandError;
use crate::live::{self, LiveIngress};
use crate::runtime::{FatalErrors, Runtime};
use crate::signals::{SignalAction, Signals};
use crate::{demo, dns, edge, output};
use examples::Examples;
use query_lines::QueryLines;

/// Serves until a signal stops the process.
///
/// # Errors
/// When an argument or the Corefile is invalid (exit code 2) or an address cannot be bound (exit code 1).
pub fn run(args: UpArgs) -> Result<(), CommandError> {
    let format = if args.log.json { LogFormat::Json } else { LogFormat::CoreDns };
    telemetry::log::init(format, LogOutput::Stderr, &args.log.filter("warn,report=info,sources=info"))
        .map_err(|error| CommandError::outside(error.to_string()))?;
    let (runtime, executor, fatal) = Runtime::start()?;
    let result = executor.block_on(serve(&args, &runtime, fatal));
    executor.shutdown_background();
    result
}

async fn serve(args: &UpArgs, runtime: &Runtime, mut fatal: FatalErrors) -> Result<(), CommandError> {
    let started_at = Instant::now();
    let mut signals = Signals::listen()?;
    let origin = origin(args);
    let limiter = RequestLimiter::default();
    let cluster =
        clusters::open(&origin, Selection::default(), edge::complete(false), limiter.clone(), runtime)
            .await?;
    let options = ProxyOptions {
        http: vec![args.http],
        https: vec![args.https],
        // The other half is for the DNS server of this process.
        descriptors: DescriptorShares::of(descriptors::limit() / 2),
        ..ProxyOptions::default()
    };
    let routes = ingress_routes::RouteOptions {
        watch_ingress_without_class: !matches!(origin, ClusterOrigin::Server(_)),
        // Redirects must lead to the port of this process.
        port_in_redirects: Some(args.https.port()).filter(|port| ![0, 443].contains(port)),
        ..Default::default()
    };
    let views = edge::views(&cluster, &routes, &options.controller, runtime);
    let shown = LiveIngress {
        cluster: cluster.clone(),
        views: views.clone(),
        options: routes.clone(),
        followed: options.followed.clone(),
    };
    let live_dns = live::serve(args.live, Some(shown), runtime);
    let pages = admin_listener(args.admin, runtime).await?;
    let listing = cluster.clone();
    let waiting = move |_: &_| edge::waiting(&listing);
    let _routes = [pages.route("/healthz", waiting), pages.route_large("/metrics", runtime.metrics.page())];

    // Requests, queries and changes share one log, in the order in which they occur.
    let access = AccessLogs::shared(args.log.json, runtime);
    let lines = access.requests.clone();
    let queries = dns::query_log(QueryLines::new(lines.clone()), runtime);
    let clusters = Clusters::with_open(cluster.clone(), limiter, origin.clone(), runtime);
    let context = dns::context(clusters, queries.clone(), runtime, false);
    let server_options =
        ServerOptions { threads: None, addresses: vec![args.dns.ip()], ..Default::default() };
    let corefile = corefile::load(args);
    let started = DnsService::start(corefile.clone(), context, server_options).await;
    let advice = dns::StartAdvice { listen: "; move it with --dns", ..dns::StartAdvice::default() };
    let dns = started.map_err(|error| dns::failure(error, &corefile, advice))?;
    let _ = live_dns.set(dns.served());

    if matches!(origin, ClusterOrigin::Server(_)) {
        output::print_error("waiting for the API server's lists …");
    }
    tokio::select! {
        // Without its Ingresses the proxy would answer 404 to everything.
        () = clusters::listed(&cluster, edge::REQUIRED) => {}
        Some(reason) = fatal.recv() => return Err(CommandError::outside(reason)),
        _ = signals.stop() => return Ok(()),
    }
    if !matches!(origin, ClusterOrigin::Server(_)) {
        demo::follow(&cluster, runtime).await;
    }
    let proxy = edge::start(options, views.clone(), access, runtime, ("--http", "--https"))?;
    let health = proxy.health();
    let _health = pages.route("/healthz", move |_| match health() {
        true => AdminResponse::ok("ok"),
        false => AdminResponse::text(http::StatusCode::INTERNAL_SERVER_ERROR, "shutting down"),
    });
    let zone = corefile().ok().and_then(|corefile| examples::zone(&corefile));
    if !args.log.json {
        cluster.read(|snapshot| {
            let examples = Examples::of(snapshot, &views, zone.as_deref().unwrap_or("cluster.local"));
            show::startup_message(args, &origin, snapshot, &examples, started_at.elapsed());
        });
    }
    show::changes(&cluster, &lines);
    let result = loop {
        tokio::select! {
            action = signals.next() => match action {
                SignalAction::Stop(_) => break Ok(()),
                SignalAction::Reload(_) => dns.reloader().reload(),
            },
            Some(reason) = fatal.recv() => break Err(CommandError::outside(reason)),
        }
    };
    // Objects that are dropped during shutdown would be logged as changes of the cluster.
    queries.close();
    lines.close();
    let stopping = async { tokio::join!(proxy.stop(Duration::ZERO), dns.stop()) };
    tokio::select! {
        _ = stopping => {}
        // A second signal ends the process immediately.
        _ = signals.stop() => {}
    }
    result
}

fn origin(args: &UpArgs) -> ClusterOrigin {
    let flags = ClusterOrigin::from_flags(&args.manifests, args.kubeconfig.as_ref(), args.context.as_ref());
    match flags {
        Some(ClusterOrigin::Server(Access::Kubeconfig { file: None, context: None })) | None => {
            ClusterOrigin::Demo(demo::free_port(&[args.http, args.https, args.admin]))
        }
        Some(origin) => origin,
    }
}

async fn admin_listener(address: SocketAddr, runtime: &Runtime) -> Result<AdminListener, CommandError> {
    let opened = runtime.admin.listen(&address.to_string()).await;
    opened.map_err(|error| CommandError::outside(format!("{error}; move it with --admin")))
}
