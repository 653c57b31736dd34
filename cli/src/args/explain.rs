//! The command line of `portolan explain`.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::command_error::CommandError;
use clap::{Arg, ArgAction, ArgMatches, Command};
use explain::{BadExplainedRequest, ExplainedRequest, ExplainedStream};
use telemetry::AdminAddress;

/// The request, stream or DNS query to explain.
#[derive(Clone, Debug)]
pub enum ExplainSubject {
    /// A request over HTTP.
    Request(ExplainedRequest),
    /// A connection or datagrams to a TCP or UDP service.
    Stream(ExplainedStream),
    /// A DNS query.
    Name {
        /// The name as given.
        name: String,
        /// The queried type.
        qtype: u16,
        /// The client.
        from: NameClient,
    },
}

/// Who asks for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameClient {
    /// A client with this address, whose search list is not known.
    Address(IpAddr),
    /// A Pod by its namespace and name.
    Pod(String, String),
}

impl NameClient {
    /// Reads an address, or a Pod as `NAMESPACE/NAME` or as `NAME` in the namespace `default`.
    pub fn parse(text: &str) -> Self {
        match (text.parse::<IpAddr>(), text.split_once('/')) {
            (Ok(address), _) => Self::Address(address),
            (Err(_), Some((namespace, pod))) => Self::Pod(namespace.to_owned(), pod.to_owned()),
            (Err(_), None) => Self::Pod("default".to_owned(), text.to_owned()),
        }
    }
}

/// Arguments of `portolan explain`.
#[derive(Clone, Debug)]
pub struct ExplainArgs {
    /// The request, stream or DNS query to explain.
    pub subject: ExplainSubject,
    /// `--corefile`.
    pub corefile: Option<PathBuf>,
    /// `--admin`: the address of a running instance.
    pub admin: Option<AdminAddress>,
    /// `--send`.
    pub sends: bool,
    /// `--trace`: the address that the request is sent to; empty for that of the URL.
    pub trace: Option<String>,
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
    /// When the URL has no host, the type is not known, or several clusters are given.
    pub fn read(matches: &ArgMatches) -> Result<Self, CommandError> {
        let subject = subject(matches)?;
        let manifests: Vec<PathBuf> =
            matches.get_many("cluster").map(|paths| paths.cloned().collect()).unwrap_or_default();
        let file: Option<PathBuf> = matches.get_one("kubeconfig").cloned();
        let context: Option<String> = matches.get_one("context").cloned();
        let has_kubeconfig = file.is_some() || context.is_some();
        let given =
            [!manifests.is_empty(), has_kubeconfig, matches.get_flag("demo"), matches.contains_id("admin")];
        if given.into_iter().filter(|given| *given).count() > 1 {
            return Err(CommandError::usage(
                "--cluster, --kubeconfig, --demo and --admin are different clusters: give one of them",
            ));
        }
        let trace =
            matches.get_flag("trace").then(|| matches.get_one("connect").cloned().unwrap_or_default());
        if trace.is_some()
            && (!matches.contains_id("admin") || !matches!(subject, ExplainSubject::Request(_)))
        {
            return Err(CommandError::usage(
                "--trace follows a request: give a URL of http or https, and --admin",
            ));
        }
        Ok(Self {
            subject,
            corefile: matches.get_one("corefile").cloned(),
            admin: matches.get_one("admin").cloned(),
            sends: matches.get_flag("send"),
            trace,
            manifests,
            kubeconfig: file,
            context,
            demo: matches.get_flag("demo"),
            json: matches.get_flag("json"),
            flags: matches.get_many("flags").map(|flags| flags.cloned().collect()).unwrap_or_default(),
        })
    }
}

/// Reads what is explained: a text with `://`, a path or a port is a URL.
fn subject(matches: &ArgMatches) -> Result<ExplainSubject, CommandError> {
    let target: &String = super::required(matches, "target");
    let given: &String = super::required(matches, "from");
    let client = NameClient::parse(given);
    if ExplainedStream::is_url(target) {
        let stream =
            target.parse().map_err(|error: BadExplainedRequest| CommandError::usage(error.to_string()))?;
        return Ok(ExplainSubject::Stream(stream));
    }
    if !target.contains([':', '/']) {
        let named: &String = super::required(matches, "type");
        let qtype = dns_chain::explain::type_named(named)
            .ok_or_else(|| CommandError::usage(format!("{named}: wanted a type of records, such as AAAA")))?;
        return Ok(ExplainSubject::Name { name: target.clone(), qtype, from: client });
    }
    let mut request =
        ExplainedRequest::get(target).map_err(|error| CommandError::usage(error.to_string()))?;
    request.headers = matches.get_many("header").map(|all| all.cloned().collect()).unwrap_or_default();
    if let Some(method) = matches.get_one::<String>("method") {
        request.method.clone_from(method);
    }
    request.from = match client {
        NameClient::Address(address) => address,
        NameClient::Pod(..) => {
            return Err(CommandError::usage(format!(
                "--from {given}: wanted the IP address of the client; a Pod is only for names"
            )));
        }
    };
    Ok(ExplainSubject::Request(request))
}

/// The definition of the command for clap.
pub fn command() -> Command {
    Command::new("explain")
        .about(
            "Say why a request or a DNS query goes where it goes: host, path, annotations, canary, endpoints; server block, plugins, records",
        )
        .after_help(
            "Examples:\n  \
             # A request to the built-in demo cluster\n  \
             portolan explain --demo http://shop.localhost/\n\n  \
             # A name of the demo cluster, plugin by plugin\n  \
             portolan explain --demo db.shop.svc.cluster.local\n\n  \
             # A name as a Pod of the cluster asks for it, with a Corefile\n  \
             portolan explain web AAAA --from shop/web-0 --corefile Corefile\n\n  \
             # A request with a cookie, to the cluster of a kubeconfig\n  \
             portolan explain https://shop.example/cart -H Cookie:canary=always --kubeconfig ~/.kube/config\n\n  \
             # Manifests, with the flags of their controller\n  \
             portolan explain https://shop.example/ --cluster manifests/ -- --configmap=edge/controller\n\n  \
             # What a running instance does with a request that is really sent\n  \
             portolan explain http://shop.localhost:8080/ --admin 127.0.0.1:10254 --trace\n\n\
             Without --send and --trace nothing is sent to an endpoint or a DNS server, and nothing is written.",
        )
        .args([
            Arg::new("target")
                .value_name("URL|NAME")
                .required(true)
                .help("The URL of a request, such as https://shop.example/cart, or a DNS name"),
            Arg::new("type").value_name("TYPE").default_value("A").help("The type of records of a name"),
            Arg::new("method").short('X').long("request").value_name("METHOD").help("The method [default: GET]"),
            Arg::new("header")
                .short('H')
                .long("header")
                .value_name("LINE")
                .action(ArgAction::Append)
                .help("A header of the request, such as 'Cookie: a=b'; may be repeated"),
            Arg::new("from")
                .long("from")
                .value_name("ADDR|POD")
                .default_value("127.0.0.1")
                .help("The address of the client; for a name also a Pod as NAMESPACE/NAME, whose search list is used"),
            Arg::new("corefile")
                .long("corefile")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("For names: the Corefile [default: that of kube-system/coredns, or the built-in one]"),
            Arg::new("send")
                .long("send")
                .action(ArgAction::SetTrue)
                .help("For names: ask upstream servers, too"),
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
            Arg::new("admin")
                .long("admin")
                .value_name("ADDR")
                .value_parser(clap::value_parser!(AdminAddress))
                .help_heading("Cluster")
                .help("Ask a running instance at its admin address, such as 127.0.0.1:10254"),
            Arg::new("trace")
                .long("trace")
                .action(ArgAction::SetTrue)
                .help("With --admin: send the request, and say what really happened to it"),
            Arg::new("connect")
                .long("connect")
                .value_name("HOST:PORT")
                .requires("trace")
                .help("With --trace: send it to this address [default: that of the URL]"),
            Arg::new("json").long("json").action(ArgAction::SetTrue).help("Write the tree as JSON"),
            Arg::new("flags")
                .value_name("FLAGS")
                .num_args(0..)
                .last(true)
                .allow_hyphen_values(true)
                .help("Flags of the controller, as for `portolan ingress`"),
        ])
}
