//! The command line of `portolan dns`: the flags of CoreDNS, and the source of the cluster.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::flag::{FlagValues, switch};
use super::live::{self, LiveAccess};
use super::logging::{self, LogArgs};
use crate::command_error::CommandError;

/// Arguments of `portolan dns`.
#[derive(Clone, Debug)]
pub struct DnsArgs {
    /// `-conf`: the Corefile; `stdin` for standard input. `None`: `Corefile` in the working directory if it exists.
    pub conf: Option<PathBuf>,
    /// `-dns.port`, `-p`: the port of server blocks that name none.
    pub port: u16,
    /// `-pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `-plugins`: list the plugins and exit.
    pub plugins: bool,
    /// `-quiet`: do not print the startup message.
    pub quiet: bool,
    /// `-version`: print the version and exit.
    pub version: bool,
    /// `-legacy-metrics`: export metrics under the names of earlier versions of CoreDNS, too.
    pub legacy_metrics: bool,
    /// `-log-format` and `-v`.
    pub log: LogArgs,
    /// `--live-page`.
    pub live: LiveAccess,
    /// `--cluster`: manifests instead of an API server.
    pub manifests: Vec<PathBuf>,
    /// `--kubeconfig`: for `kubernetes` plugins with neither `kubeconfig` nor `endpoint`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
    /// `--workers`: UDP threads; one per CPU if not given.
    pub workers: Option<usize>,
}

impl DnsArgs {
    /// Reads the arguments from clap's matches.
    ///
    /// # Errors
    /// None at present; clap rejects invalid values.
    pub fn read(matches: &ArgMatches) -> Result<Self, CommandError> {
        Ok(Self::with_kubeconfig(matches, matches.get_one("kubeconfig").cloned()))
    }

    /// Reads the arguments from clap's matches, but for the kubeconfig.
    pub fn with_kubeconfig(matches: &ArgMatches, kubeconfig: Option<PathBuf>) -> Self {
        Self {
            conf: matches.get_one("conf").cloned(),
            port: matches.get_one("dns.port").copied().unwrap_or(53),
            pidfile: matches.get_one("pidfile").cloned(),
            plugins: FlagValues(matches).on("plugins", false),
            quiet: FlagValues(matches).on("quiet", false),
            version: FlagValues(matches).on("version", false),
            legacy_metrics: FlagValues(matches).on("legacy-metrics", true),
            log: LogArgs::read(matches),
            live: LiveAccess::read(matches),
            manifests: matches.get_many("cluster").map(|paths| paths.cloned().collect()).unwrap_or_default(),
            kubeconfig,
            context: matches.get_one("context").cloned(),
            workers: matches.get_one::<u16>("workers").map(|&count| usize::from(count)),
        }
    }
}

/// The definition of the command for clap.
pub fn command() -> Command {
    let path = || clap::value_parser!(PathBuf);
    Command::new("dns")
        .about("Run the DNS server; reads a Corefile and takes the flags of CoreDNS")
        .disable_version_flag(true)
        .args_override_self(true)
        .after_help(
            "Examples:\n  \
             # Serve the names of a cluster on an unprivileged port\n  \
             portolan dns -conf Corefile -dns.port 1053 --kubeconfig ~/.kube/config\n\n  \
             # Serve the names of manifests and follow their changes\n  \
             portolan dns -conf Corefile -dns.port 1053 --cluster manifests/\n\n  \
             # In a Pod, in place of CoreDNS\n  \
             portolan dns -conf /etc/coredns/Corefile\n\n\
             Flags may have one dash or two. Without --cluster, --kubeconfig or an address in the kubernetes plugin, the service account of \
             the Pod is used.",
        )
        .args([
            Arg::new("conf").long("conf").value_name("FILE").value_parser(path()).help(
                "Corefile; stdin for standard input [default: ./Corefile if it exists, else whoami and log on port 53]",
            ),
            Arg::new("dns.port")
                .long("dns.port")
                .short('p')
                .value_name("PORT")
                .value_parser(clap::value_parser!(u16))
                .help("Port of server blocks without a port [default: 53]"),
            Arg::new("pidfile").long("pidfile").value_name("FILE").value_parser(path()).help("File to write the process id to"),
            switch(Arg::new("plugins").long("plugins")).help("List the plugins and exit"),
            switch(Arg::new("quiet").long("quiet")).help("Do not print the startup message"),
            switch(Arg::new("version").long("version")).help("Print the version and exit"),
            Arg::new("cluster")
                .long("cluster")
                .value_name("PATH")
                .action(ArgAction::Append)
                .value_parser(path())
                .help_heading("Cluster")
                .help("Read manifests from this directory or file instead of an API server; may be repeated"),
            Arg::new("kubeconfig")
                .long("kubeconfig")
                .value_name("FILE")
                .value_parser(path())
                .help_heading("Cluster")
                .help("Kubeconfig file"),
            Arg::new("context").long("context").value_name("NAME").help_heading("Cluster").help("Context of the kubeconfig"),
            switch(Arg::new("legacy-metrics").long("legacy-metrics")).help(
                "Export the metrics of forward under their names before CoreDNS 1.11, too [default: true]",
            ),
            Arg::new("workers")
                .long("workers")
                .value_name("N")
                .value_parser(clap::value_parser!(u16).range(1..=1024))
                .help("UDP threads [default: one per CPU]"),
        ])
        .arg(live::arg())
        .args(logging::args())
        .args(logging::klog_args())
}
