//! The command line of `portolan serve`: the flags of `portolan ingress` and of `portolan dns`.

use std::collections::BTreeSet;

use clap::{ArgMatches, Command};

use super::dns::{self, DnsArgs};
use super::ingress::{self, IngressArgs};
use crate::command_error::CommandError;

/// Arguments of `portolan serve`.
#[derive(Clone, Debug)]
pub struct ServeArgs {
    /// The flags of the DNS server. The cluster and the log are those of `ingress`.
    pub dns: DnsArgs,
    /// The flags of the ingress proxy.
    pub ingress: IngressArgs,
}

impl ServeArgs {
    /// Reads the arguments from clap's matches.
    ///
    /// # Errors
    /// When a value is invalid for its flag, or two flags are mutually exclusive.
    pub fn read(matches: &ArgMatches) -> Result<Self, CommandError> {
        let ingress = IngressArgs::read(matches)?;
        if let Some(namespace) = &ingress.namespace {
            return Err(CommandError::usage(format!(
                "--watch-namespace {namespace}: both services use one watch cache, and DNS needs all namespaces; run `portolan ingress` and \
                 `portolan dns` instead"
            )));
        }
        let dns = DnsArgs::with_kubeconfig(matches, ingress.kubeconfig.clone());
        Ok(Self { dns, ingress })
    }
}

/// The definition of the command for clap.
pub fn command() -> Command {
    let ingress = ingress::command();
    let dns = dns::command();
    let known: BTreeSet<_> = ingress.get_arguments().map(clap::Arg::get_id).collect();
    let more = dns.get_arguments().filter(|arg| !known.contains(arg.get_id()));
    Command::new("serve")
        .about("Run the DNS server and the ingress proxy in one process, over one watch cache; takes the flags of both")
        .disable_version_flag(true)
        .args_override_self(true)
        .after_help(
            "Examples:\n  \
             # In a Pod of a small cluster, in place of CoreDNS and ingress-nginx\n  \
             portolan serve --conf /etc/coredns/Corefile --configmap kube-system/ingress-nginx-controller\n\n  \
             # On unprivileged ports\n  \
             portolan serve --conf Corefile --dns.port 1053 --http-port 8080 --https-port 8443 --kubeconfig ~/.kube/config\n\n\
             The health page of --healthz-port answers 200 while both services serve. Flags have two dashes; --workers sets the threads of each \
             service.",
        )
        .args(more.map(|arg| arg.clone().help_heading("DNS")).collect::<Vec<_>>())
        .args(ingress.get_arguments().cloned().collect::<Vec<_>>())
}
