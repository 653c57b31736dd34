//! `portolan up`: DNS, HTTP and HTTPS at once, with nothing configured.

mod corefile;
mod sample;
mod show;

use std::net::SocketAddr;
use std::time::Instant;

use dns_server::{Dns, Options, StartError};
use ingress_proxy::ProxyOptions;
use net::BindError;
use sources::kube::{Access, RequestLimiter, Selection};
use telemetry::log::{Format, Output};
use telemetry::{Answer, Pages};

use crate::args::UpArgs;
use crate::clusters::{self, Clusters, Origin};
use crate::failure::Failure;
use crate::ground::{Fatal, Ground};
use crate::signals::{Said, Signals};
use crate::{demo, dns, edge, output};
use sample::Sample;

/// Serves until it is told to stop.
///
/// # Errors
/// When an argument or the Corefile is wrong (2) or an address cannot be had (1).
pub fn run(args: UpArgs) -> Result<(), Failure> {
    let level =
        if args.verbose { "debug,hyper=info,h2=info,rustls=info" } else { "warn,report=info,sources=info" };
    telemetry::log::init(Format::CoreDns, Output::Stderr, level)
        .map_err(|error| Failure::outside(error.to_string()))?;
    let (ground, runtime, fatal) = Ground::lay()?;
    let served = runtime.block_on(serve(&args, &ground, fatal));
    runtime.shutdown_background();
    served
}

async fn serve(args: &UpArgs, ground: &Ground, mut fatal: Fatal) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut signals = Signals::listen()?;
    let origin = origin(args);
    let limiter = RequestLimiter::default();
    let cluster = clusters::open(&origin, Selection::default(), limiter.clone(), ground).await?;
    let options = ProxyOptions { http: vec![args.http], https: vec![args.https], ..ProxyOptions::default() };
    let routes = ingress_routes::RouteOptions {
        watch_ingress_without_class: !matches!(origin, Origin::Server(_)),
        // A browser that follows a redirect has to come back to this process.
        port_in_redirects: Some(args.https.port()).filter(|port| ![0, 443].contains(port)),
        ..Default::default()
    };
    let views = edge::views(&cluster, &routes, &options.controller, ground);
    let pages = pages(args.admin, ground).await?;

    let context =
        dns::context(Clusters::with(cluster.clone(), limiter, origin.clone(), ground), ground, false);
    let fronts = Options { threads: None, addresses: vec![args.dns.ip()] };
    let corefile = corefile::load(args);
    let started = Dns::start(corefile.clone(), context, fronts).await;
    let dns = started.map_err(|error| match &error {
        StartError::Bind(_) => Failure::outside(format!("{error}; move it with --dns")),
        _ => dns::failure(error),
    })?;

    if matches!(origin, Origin::Server(_)) {
        output::tell("waiting for the API server's lists …");
    }
    tokio::select! {
        () = clusters::listed(&cluster) => {}
        () = signals.stop() => return Ok(()),
    }
    if !matches!(origin, Origin::Server(_)) {
        demo::follow(&cluster, ground).await;
    }
    let access = edge::access_log(ground);
    let proxy = edge::start(options, views.clone(), Some(access.clone()), ground, ("--http", "--https"))?;
    let health = proxy.health();
    let _routes = [
        pages.route("/healthz", move |_| match health() {
            true => Answer::ok("ok"),
            false => Answer::text(http::StatusCode::INTERNAL_SERVER_ERROR, "shutting down"),
        }),
        pages.route("/metrics", ground.metrics.page()),
        pages.route("/problems", ground.reports.page()),
    ];
    let zone = corefile().ok().and_then(|corefile| sample::zone(&corefile));
    cluster.read(|snapshot| {
        let sample = Sample::of(snapshot, &views, zone.as_deref().unwrap_or("cluster.local"));
        show::greeting(args, &origin, snapshot, &sample, begun.elapsed());
    });
    let shown = show::changes(&cluster, ground);
    let ended = loop {
        tokio::select! {
            said = signals.next() => match said {
                Said::Stop(_) => break Ok(()),
                Said::Reload => dns.reloader().reload(),
            },
            Some(reason) = fatal.recv() => break Err(Failure::outside(reason)),
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

fn origin(args: &UpArgs) -> Origin {
    let flags = Origin::of_flags(&args.manifests, args.kubeconfig.as_ref(), args.context.as_ref());
    match flags {
        Some(Origin::Server(Access::Kubeconfig { file: None, context: None })) | None => {
            Origin::Demo(demo::free_port(&[args.http, args.https, args.admin]))
        }
        Some(origin) => origin,
    }
}

async fn pages(address: SocketAddr, ground: &Ground) -> Result<Pages, Failure> {
    let opened = ground.admin.pages(&address.to_string()).await;
    opened
        .map_err(|cause| Failure::outside(format!("{}; move it with --admin", BindError { address, cause })))
}
