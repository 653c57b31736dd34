//! The command line of `portolan check`.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use sources::kube::Access;

use crate::command_error::CommandError;

/// The format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// One self-contained file.
    Html,
    /// For code review.
    Sarif,
}

/// Arguments of `portolan check`.
#[derive(Clone, Debug)]
pub struct CheckArgs {
    /// Manifests, folders and Corefiles; `-` for standard input. Empty for a cluster.
    pub paths: Vec<PathBuf>,
    /// The API server, without paths.
    pub access: Access,
    /// The format of the report.
    pub format: ReportFormat,
    /// `--all`: also what works as before.
    pub all: bool,
    /// The flags of the controller, for the case that its Deployment is not among the objects.
    pub flags: Vec<String>,
}

impl CheckArgs {
    /// Reads the arguments from clap's matches.
    ///
    /// # Errors
    /// When paths and a cluster are both given.
    pub fn read(matches: &ArgMatches) -> Result<Self, CommandError> {
        let paths: Vec<PathBuf> =
            matches.get_many("path").map(|paths| paths.cloned().collect()).unwrap_or_default();
        let file: Option<PathBuf> = matches.get_one("kubeconfig").cloned();
        let context: Option<String> = matches.get_one("context").cloned();
        if !paths.is_empty() && (file.is_some() || context.is_some()) {
            return Err(CommandError::usage(
                "check reads either files or a cluster: leave out the paths or --kubeconfig",
            ));
        }
        let format =
            [("json", ReportFormat::Json), ("html", ReportFormat::Html), ("sarif", ReportFormat::Sarif)];
        let format = format.into_iter().find(|(name, _)| matches.get_flag(name)).map(|(_, format)| format);
        Ok(Self {
            paths,
            access: Access::Kubeconfig { file, context },
            format: format.unwrap_or(ReportFormat::Text),
            all: matches.get_flag("all"),
            flags: matches.get_many("flags").map(|flags| flags.cloned().collect()).unwrap_or_default(),
        })
    }
}

/// The definition of the command for clap.
pub fn command() -> Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let formats = ["json", "html", "sarif"];
    Command::new("check")
        .about("Say what changes if Portolan replaces CoreDNS and ingress-nginx: per annotation, key, flag and line of a Corefile")
        .after_help(
            "Examples:\n  \
             # Manifests of a folder, and of the folders below\n  \
             portolan check manifests/\n\n  \
             # The rendered output of Helm charts\n  \
             helm template my-release my-chart | portolan check -\n\n  \
             # A Corefile\n  \
             portolan check /etc/coredns/Corefile\n\n  \
             # The cluster of a kubeconfig, as a web page\n  \
             portolan check --kubeconfig ~/.kube/config --html > report.html\n\n  \
             # Manifests without the Deployment of their controller, whose flags are given instead\n  \
             portolan check manifests/ -- --configmap=edge/controller --ingress-class=edge\n\n\
             Nothing is written, and only the verbs `list` and `watch` are needed in a cluster: on ingresses, ingressclasses, configmaps, secrets, \
             namespaces, deployments and daemonsets. What may not be read is reported as unknown.\n\n\
             Exit code: 0 nothing changes; 1 something differs or is unknown; 2 something is closed or refused.",
        )
        .args([
            Arg::new("path")
                .value_name("PATH")
                .num_args(0..)
                .value_parser(clap::value_parser!(PathBuf))
                .help("Manifests, folders of them and Corefiles; - for standard input [default: the cluster of the kubeconfig]"),
            Arg::new("kubeconfig")
                .long("kubeconfig")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("Check the cluster of this kubeconfig"),
            Arg::new("context").long("context").value_name("NAME").help("Context of the kubeconfig"),
            switch("all", "Also list what works as before"),
            switch("json", "Write the report as JSON").conflicts_with_all(&formats[1..]),
            switch("html", "Write the report as one HTML file").conflicts_with("sarif"),
            switch("sarif", "Write the report as SARIF 2.1.0, for annotations in code review"),
            Arg::new("flags")
                .value_name("FLAGS")
                .num_args(0..)
                .last(true)
                .allow_hyphen_values(true)
                .help("Flags of the controller, if its Deployment or DaemonSet is not among the objects"),
        ])
}
