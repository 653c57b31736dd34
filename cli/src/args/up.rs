//! The command line of `portolan up`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

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
        Arg::new(name).long(name).value_name("ADDR").default_value(default).value_parser(socket).help(help)
    };
    Command::new("up")
        .about("Serve DNS, HTTP and HTTPS for a demo cluster, your manifests or a real cluster")
        .args_override_self(true)
        .after_help(
            "Ingresses without a class are served where the cluster comes from manifests; a real cluster needs class nginx, as with \
             ingress-nginx. `portolan ingress` has the flags for other classes.\n\nExamples:\n  portolan up\n  portolan up --cluster manifests/\n  portolan up --kubeconfig ~/.kube/config --conf Corefile",
        )
        .args([
            Arg::new("cluster")
                .long("cluster")
                .value_name("DIR")
                .action(ArgAction::Append)
                .value_parser(path())
                .help("Serve the manifests in this folder or file, and follow their changes; may be given several times"),
            Arg::new("kubeconfig").long("kubeconfig").value_name("FILE").value_parser(path()).help("Serve a real cluster"),
            Arg::new("context").long("context").value_name("NAME").help("Context of the kubeconfig"),
            Arg::new("conf").long("conf").value_name("COREFILE").value_parser(path()).help(
                "Corefile for the DNS side; its port 53 becomes the address of --dns [default: a built-in one]",
            ),
            address("dns", "127.0.0.1:1053", "Address for DNS, UDP and TCP"),
            address("http", "127.0.0.1:8080", "Address for HTTP"),
            address("https", "127.0.0.1:8443", "Address for HTTPS"),
            address("admin", "127.0.0.1:10254", "Address for health and metrics"),
        ])
        .args(logging::args())
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "wanted an IP address and a port, such as 127.0.0.1:1053 or [::]:1053".to_owned())
}
