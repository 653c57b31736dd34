//! `portolan node-cache`: a DNS cache on the node's link-local address, with the flags of NodeLocal DNSCache.
//!
//! Without packet filter rules: Pods reach it by the address that kubelet writes into their resolv.conf. The address is added before the
//! server starts and removed after it has ended.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use net::local_address::LocalAddresses;
use telemetry::AdminResponse;
use telemetry::metrics::{Counter, Registry};

use crate::args::{DnsArgs, LiveAccess, NodeCacheArgs};
use crate::command_error::CommandError;
use crate::dns::{self, CorefileSource, Placeholder};
use crate::runtime::Runtime;

/// The files with the servers for external names.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Serves until a signal stops the process.
///
/// # Errors
/// When the Corefile or a flag is invalid (exit code 2), or when an address cannot be added or bound (exit code 1).
pub fn run(args: NodeCacheArgs) -> Result<(), CommandError> {
    refuse_stub_domains(&args.stub_domains)?;
    let corefile = corefile(&args)?;
    dns::start_log(args.log)?;
    let addresses = match &args.interface {
        Some(interface) => Some(add(interface, &args)?),
        None => None,
    };
    let (runtime, executor, fatal) = Runtime::start()?;
    let errors = setup_errors(&runtime.metrics);
    let result = executor.block_on(async {
        let metrics = runtime.metrics.clone();
        let page = runtime.admin.listen(&args.metrics).await.map(|pages| {
            pages.route_large("/metrics", move |_| AdminResponse {
                status: StatusCode::OK,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: metrics.text().into(),
            })
        });
        let _page = page.map_err(|error| {
            CommandError::outside(format!("-metrics-listen-address {}: {error}", args.metrics))
        })?;
        let dns = DnsArgs {
            live: LiveAccess::default(),
            conf: None,
            port: 53,
            pidfile: None,
            plugins: false,
            quiet: false,
            version: false,
            legacy_metrics: true,
            log: args.log,
            manifests: Vec::new(),
            kubeconfig: None,
            context: None,
            workers: None,
        };
        tokio::select! {
            served = dns::serve(dns, Some(corefile), &runtime, fatal) => served,
            () = check(addresses.as_ref(), args.check_interval, errors) => Ok(()),
        }
    });
    executor.shutdown_background();
    if let Some(addresses) = addresses.filter(|_| !args.keeps_addresses)
        && let Err(error) = addresses.remove()
    {
        tracing::warn!("cannot remove {} from {}: {error}", list(&args), addresses.interface());
    }
    result
}

fn add(interface: &str, args: &NodeCacheArgs) -> Result<LocalAddresses, CommandError> {
    let added = LocalAddresses::add(interface, args.addresses.clone()).map_err(|error| {
        let advice = match error.kind() {
            ErrorKind::PermissionDenied => {
                "; it needs root with the capability NET_ADMIN in the network of the node"
            }
            _ => "",
        };
        CommandError::outside(format!("cannot add {} to interface {interface}: {error}{advice}", list(args)))
    })?;
    if added.interface() != interface {
        tracing::warn!(
            "the kernel has no dummy interfaces: {} is added to {}",
            list(args),
            added.interface()
        );
    }
    Ok(added)
}

fn list(args: &NodeCacheArgs) -> String {
    args.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Adds the addresses again when another program has removed them. Never ends.
async fn check(addresses: Option<&LocalAddresses>, every: Duration, errors: Counter) {
    let Some(addresses) = addresses else { return std::future::pending().await };
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = addresses.ensure() {
            errors.inc();
            tracing::error!("cannot add the addresses to {} again: {error}", addresses.interface());
        }
    }
}

/// The counter of NodeLocal DNSCache with the one label value that occurs here.
pub fn setup_errors(metrics: &Registry) -> Counter {
    let help = "The number of errors during periodic network setup for node-cache";
    metrics.counters("coredns_nodecache_setup_errors_total", help, ["errortype"]).with(["interface_check"])
}

/// The Corefile with its placeholders. `__PILLAR__CLUSTER__DNS__` is the address of the Service `-upstreamsvc`, which kubelet passes in an
/// environment variable.
fn corefile(args: &NodeCacheArgs) -> Result<CorefileSource, CommandError> {
    let mut placeholders =
        vec![Placeholder { name: "__PILLAR__UPSTREAM__SERVERS__", value: RESOLV_CONF.to_owned() }];
    let variable = format!("{}_SERVICE_HOST", args.upstream.to_uppercase().replace('-', "_"));
    let cluster_dns = "__PILLAR__CLUSTER__DNS__";
    match std::env::var(&variable) {
        Ok(address) => placeholders.push(Placeholder { name: cluster_dns, value: address }),
        Err(_) => {
            let text = std::fs::read_to_string(&args.corefile).unwrap_or_default();
            if text.contains(cluster_dns) {
                return Err(CommandError::usage(format!(
                    "{}: {cluster_dns} is the address of the Service {}, but the variable {variable} is not set; the Service has to exist in the namespace of \
                     the Pod before the Pod starts",
                    args.corefile.display(),
                    args.upstream
                )));
            }
        }
    }
    Ok(CorefileSource::Template(args.corefile.clone(), placeholders.into()))
}

/// NodeLocal DNSCache makes server blocks of the stub domains in the ConfigMap kube-dns.
fn refuse_stub_domains(folder: &Path) -> Result<(), CommandError> {
    for name in ["stubDomains", "upstreamNameservers"] {
        let path = folder.join(name);
        if path.exists() {
            return Err(CommandError::usage(format!(
                "{}: is not translated; write a server block with forward into the Corefile, and mount no ConfigMap at {}",
                path.display(),
                folder.display()
            )));
        }
    }
    Ok(())
}
