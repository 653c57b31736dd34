//! The command line of `portolan up`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::live::{self, LiveAccess};
use super::logging::{self, LogArgs};
use crate::command_error::CommandError;

/// Arguments of `portolan up`.
#[derive(Clone, Debug)]
pub struct UpArgs {
    /// `--cluster`: manifests.
    pub manifests: Vec<PathBuf>,
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
    /// `--conf`: the Corefile.
    pub conf: Option<PathBuf>,
    /// `--dns`.
    pub dns: SocketAddr,
    /// `--http`.
    pub http: SocketAddr,
    /// `--https`.
    pub https: SocketAddr,
    /// `--admin`.
    pub admin: SocketAddr,
    /// `--log-format` and `-v`.
    pub log: LogArgs,
    /// `--live-page`.
    pub live: LiveAccess,
}

impl UpArgs {
    /// Reads the arguments from clap's matches.
    ///
    /// # Errors
    /// When `--cluster` and `--kubeconfig` are both given.
    pub fn read(matches: &ArgMatches) -> Result<Self, CommandError> {
        let address = |name| *super::required(matches, name);
        let args = Self {
            manifests: matches.get_many("cluster").map(|paths| paths.cloned().collect()).unwrap_or_default(),
            kubeconfig: matches.get_one("kubeconfig").cloned(),
            context: matches.get_one("context").cloned(),
            conf: matches.get_one("conf").cloned(),
            dns: address("dns"),
            http: address("http"),
            https: address("https"),
            admin: address("admin"),
            log: LogArgs::read(matches),
            live: LiveAccess::read(matches),
        };
        if !args.manifests.is_empty() && args.kubeconfig.is_some() {
            return Err(CommandError::usage(
                "--cluster and --kubeconfig are mutually exclusive: objects are read either from manifests or from an API server",
            ));
        }
        Ok(args)
    }
}

/// The definition of the command for clap.
pub fn command() -> Command {
    let path = || clap::value_parser!(PathBuf);
    let address = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("ADDR")
            .default_value(default)
            .value_parser(socket)
            .help_heading("Addresses")
            .help(help)
    };
    Command::new("up")
        .about("Run the DNS server and the ingress proxy for a demo cluster, manifests or a real cluster")
        .args_override_self(true)
        .after_help(
            "Examples:\n  \
             # Serve the built-in demo cluster\n  \
             portolan up\n\n  \
             # Serve manifests and follow their changes\n  \
             portolan up --cluster manifests/\n\n  \
             # Serve a real cluster with a Corefile\n  \
             portolan up --kubeconfig ~/.kube/config --conf Corefile\n\n\
             Ingresses without a class are served, except those of a real cluster: they need the class nginx, as with ingress-nginx. \
             `portolan ingress` has flags for other classes.",
        )
        .args([
            Arg::new("cluster")
                .long("cluster")
                .value_name("PATH")
                .action(ArgAction::Append)
                .value_parser(path())
                .help_heading("Cluster")
                .help("Serve the manifests of this directory or file and follow their changes; may be repeated"),
            Arg::new("kubeconfig")
                .long("kubeconfig")
                .value_name("FILE")
                .value_parser(path())
                .help_heading("Cluster")
                .help("Serve the cluster of this kubeconfig"),
            Arg::new("context").long("context").value_name("NAME").help_heading("Cluster").help("Context of the kubeconfig"),
            Arg::new("conf").long("conf").value_name("COREFILE").value_parser(path()).help(
                "Corefile; its port 53 is replaced by the address of --dns [default: built-in]",
            ),
            address("dns", "127.0.0.1:1053", "Address of DNS over UDP and TCP"),
            address("http", "127.0.0.1:8080", "Address of HTTP"),
            address("https", "127.0.0.1:8443", "Address of HTTPS"),
            address("admin", "127.0.0.1:10254", "Address of the admin pages: health, metrics, problems"),
        ])
        .arg(live::arg())
        .args(logging::args())
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "wanted an IP address and a port, such as 127.0.0.1:1053 or [::]:1053".to_owned())
}
