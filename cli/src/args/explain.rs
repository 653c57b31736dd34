//! The command line of `portolan explain`.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::command_error::CommandError;
use clap::{Arg, ArgAction, ArgMatches, Command};
use explain::ExplainedRequest;

/// Arguments of `portolan explain`.
#[derive(Clone, Debug)]
pub struct ExplainArgs {
    /// The request.
    pub request: ExplainedRequest,
    /// `--cluster`: manifests.
    pub manifests: Vec<PathBuf>,
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
    /// `--demo`: the built-in cluster.
    pub demo: bool,
    /// `--json`.
    pub json: bool,
    /// The flags of the controller.
    pub flags: Vec<String>,
}

impl ExplainArgs {
    /// Reads the arguments from clap's matches.
    ///
    /// # Errors
    /// When the URL has no host, or several clusters are given.
    pub fn read(matches: &ArgMatches) -> Result<Self, CommandError> {
        let url: &String = super::required(matches, "url");
        let mut request =
            ExplainedRequest::get(url).map_err(|error| CommandError::usage(error.to_string()))?;
        request.headers = matches.get_many("header").map(|all| all.cloned().collect()).unwrap_or_default();
        if let Some(method) = matches.get_one::<String>("method") {
            request.method.clone_from(method);
        }
        request.from = *super::required(matches, "from");
        let manifests: Vec<PathBuf> =
            matches.get_many("cluster").map(|paths| paths.cloned().collect()).unwrap_or_default();
        let file: Option<PathBuf> = matches.get_one("kubeconfig").cloned();
        let context: Option<String> = matches.get_one("context").cloned();
        let given = [!manifests.is_empty(), file.is_some() || context.is_some(), matches.get_flag("demo")];
        if given.into_iter().filter(|given| *given).count() > 1 {
            return Err(CommandError::usage(
                "--cluster, --kubeconfig and --demo are different clusters: give one of them",
            ));
        }
        Ok(Self {
            request,
            manifests,
            kubeconfig: file,
            context,
            demo: matches.get_flag("demo"),
            json: matches.get_flag("json"),
            flags: matches.get_many("flags").map(|flags| flags.cloned().collect()).unwrap_or_default(),
        })
    }
}

/// The definition of the command for clap.
pub fn command() -> Command {
    Command::new("explain")
        .about("Say why a request goes where it goes: host, path, annotations, canary, endpoints, and what the endpoint gets")
        .after_help(
            "Examples:\n  \
             # A request to the built-in demo cluster\n  \
             portolan explain --demo http://shop.localhost/\n\n  \
             # A request with a cookie, to the cluster of a kubeconfig\n  \
             portolan explain https://shop.example/cart -H Cookie:canary=always --kubeconfig ~/.kube/config\n\n  \
             # Manifests, with the flags of their controller\n  \
             portolan explain https://shop.example/ --cluster manifests/ -- --configmap=edge/controller\n\n\
             Nothing is sent to an endpoint, and nothing is written.",
        )
        .args([
            Arg::new("url").value_name("URL").required(true).help("The URL of the request, such as https://shop.example/cart"),
            Arg::new("method").short('X').long("request").value_name("METHOD").help("The method [default: GET]"),
            Arg::new("header")
                .short('H')
                .long("header")
                .value_name("LINE")
                .action(ArgAction::Append)
                .help("A header of the request, such as 'Cookie: a=b'; may be repeated"),
            Arg::new("from")
                .long("from")
                .value_name("ADDR")
                .default_value("127.0.0.1")
                .value_parser(clap::value_parser!(IpAddr))
                .help("The address of the client"),
            Arg::new("cluster")
                .long("cluster")
                .value_name("PATH")
                .action(ArgAction::Append)
                .value_parser(clap::value_parser!(PathBuf))
                .help_heading("Cluster")
                .help("Manifests in this directory or file; may be repeated"),
            Arg::new("kubeconfig")
                .long("kubeconfig")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help_heading("Cluster")
                .help("The cluster of this kubeconfig [default: KUBECONFIG or ~/.kube/config]"),
            Arg::new("context").long("context").value_name("NAME").help_heading("Cluster").help("Context of the kubeconfig"),
            Arg::new("demo")
                .long("demo")
                .action(ArgAction::SetTrue)
                .help_heading("Cluster")
                .help("The built-in demo cluster of `portolan up`"),
            Arg::new("json").long("json").action(ArgAction::SetTrue).help("Write the tree as JSON"),
            Arg::new("flags")
                .value_name("FLAGS")
                .num_args(0..)
                .last(true)
                .allow_hyphen_values(true)
                .help("Flags of the controller, as for `portolan ingress`"),
        ])
}
