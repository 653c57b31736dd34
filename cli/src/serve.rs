//! `portolan serve`: the DNS server and the ingress proxy in one process, over one watch cache.

use dns_chain::PluginContext;
use dns_server::ServerOptions;
use ingress_proxy::ProxyOptions;
use net::{DescriptorShares, descriptors};
use sources::kube::{RequestLimiter, Selection};
use telemetry::log::{LogFormat, LogOutput};

use crate::access_logs::AccessLogs;
use crate::args::ServeArgs;
use crate::clusters::{self, Clusters};
use crate::command_error::CommandError;
use crate::dns::CorefileSource;
use crate::ingress::AdminPages;
use crate::live::{self, LiveIngress};
use crate::runtime::{FatalErrors, Runtime};
use crate::signals::{SignalAction, Signals};
use crate::{cluster_writer, dns, edge, geoip, ingress, other_controllers, output, own_zone, reporting};

/// Serves until a signal stops the process.
///
/// # Errors
/// When an argument or the Corefile is invalid (exit code 2) or an address cannot be bound (exit code 1).
pub fn run(args: ServeArgs) -> Result<(), CommandError> {
    if args.ingress.version {
        output::print(concat!("Portolan ", env!("CARGO_PKG_VERSION"), "\n"));
        return Ok(());
    }
    if args.dns.plugins {
        dns::print_plugins();
        return Ok(());
    }
    let log = args.ingress.log;
    let format = if log.json { LogFormat::Json } else { LogFormat::Klog };
    telemetry::log::init(format, LogOutput::Stderr, &log.filter("info"))
        .map_err(|error| CommandError::outside(error.to_string()))?;
    let (runtime, executor, fatal) = Runtime::start()?;
    reporting::flags(&args.ingress.unsupported, &runtime);
    let result = executor.block_on(serve(&args, &runtime, fatal));
    executor.shutdown_background();
    result
}

async fn serve(args: &ServeArgs, runtime: &Runtime, mut fatal: FatalErrors) -> Result<(), CommandError> {
    let ServeArgs { dns: dns_args, ingress: ingress_args } = args;
    let mut signals = Signals::listen()?;
    let origin = ingress::origin(ingress_args);
    let selection = Selection {
        config_maps: ingress_args.config_maps(),
        tls_secrets_only: ingress_args.tls_secrets_only,
        ..Selection::default()
    };
    let complete = edge::complete(ingress_args.namespace_selector.is_some());
    let limiter = RequestLimiter::default();
    let cluster = clusters::open(&origin, selection, complete, limiter.clone(), runtime).await?;
    let mut options = ProxyOptions {
        // The other half is for the DNS server of this process.
        descriptors: DescriptorShares::of(descriptors::limit() / 2),
        ..ingress::proxy_options(ingress_args)
    };
    let pages = AdminPages::open(ingress_args, &cluster, runtime).await?;
    let mut table_options = ingress::table_options(ingress_args);
    table_options.zone = tokio::select! {
        zone = own_zone::find(&origin, ingress_args, runtime) => zone,
        _ = signals.stop() => return Ok(()),
    };
    let views = edge::views(&cluster, &table_options, &options.controller, runtime);
    let shown = LiveIngress {
        cluster: cluster.clone(),
        views: views.clone(),
        options: table_options.clone(),
        followed: options.followed.clone(),
    };
    let live_dns = live::serve(ingress_args.live, Some(shown), runtime);

    let queries = dns::query_log(std::io::stdout(), runtime);
    let context = PluginContext {
        legacy_metrics: dns_args.legacy_metrics,
        ..dns::context(
            Clusters::with_open(cluster.clone(), limiter, origin.clone(), runtime),
            queries.clone(),
            runtime,
            ingress_args.log.json,
        )
    };
    let load = dns::load(CorefileSource::new(dns_args.conf.as_deref())?, dns_args.port);
    let server_options = ServerOptions { threads: dns_args.workers, ..Default::default() };
    let dns_service = tokio::select! {
        started = dns::start(load.clone(), context, server_options) => started?,
        _ = signals.stop() => return Ok(()),
    };
    let _ = live_dns.set(dns_service.served());
    dns::write_pidfile(dns_args.pidfile.as_deref())?;
    if !dns_args.quiet {
        dns::print_startup_message(&load, ingress_args.log.json);
    }
    tokio::select! {
        // Without its Ingresses the proxy would answer 404 to everything.
        () = clusters::listed(&cluster, edge::REQUIRED) => {}
        Some(reason) = fatal.recv() => return Err(CommandError::outside(reason)),
        _ = signals.stop() => return Ok(()),
    }
    ingress::follow_worker_processes(&mut options, ingress_args, &views);
    geoip::follow(&ingress_args.geoip_folder, &cluster, &views, runtime);
    let access = AccessLogs::open(ingress_args.log.json, runtime);
    access.follow(&cluster, &views, ingress_args.log.is_verbose(), runtime);
    other_controllers::follow(&origin, &cluster, &table_options, &options.controller, runtime);
    let controller = cluster_writer::start(&origin, ingress_args, &table_options, &cluster, &views, runtime)?;
    let proxy = ingress::start(options, views, access.clone(), runtime)?;
    let health = proxy.health();
    let ready = async {
        runtime.gates.all_open().await;
        pages.healthy(ingress_args, health)
    };
    let mut ready = std::pin::pin!(ready);
    let mut health_page = None;
    let result = loop {
        tokio::select! {
            page = &mut ready, if health_page.is_none() => health_page = Some(page),
            action = signals.next() => match action {
                SignalAction::Stop(signal) => {
                    tracing::info!("{signal}: shutting down");
                    break Ok(());
                }
                SignalAction::Reload(signal) => {
                    tracing::info!("{signal}: reloading the Corefile");
                    access.reopen();
                    dns_service.reloader().reload();
                }
            },
            Some(reason) = fatal.recv() => break Err(CommandError::outside(reason)),
        }
    };
    let grace = ingress_args.shutdown_grace;
    let stopping = async { tokio::join!(proxy.stop(grace), controller.stop(grace), dns_service.stop()) };
    tokio::select! {
        // The proxy logs the connections that it waits for.
        (drained, (), ()) = stopping => tracing::info!("connections: {drained:?}"),
        signal = signals.stop() => tracing::warn!("{signal} again: exiting immediately"),
    }
    access.close();
    queries.close();
    ingress::wait_to_exit(ingress_args, &mut signals).await;
    result
}
