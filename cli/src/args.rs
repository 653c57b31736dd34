//! The command line: commands, flags and help texts.

mod check;
mod dbg;
mod dns;
mod explain;
mod flag;
mod go_style;
mod ingress;
mod live;
mod logging;
mod migrate;
mod node_cache;
mod program;
mod serve;
#[cfg(feature = "top")]
mod top;
mod up;

use std::ffi::OsString;
use std::time::Duration;

use clap::{ArgMatches, Command};

pub use check::{CheckArgs, ReportFormat};
pub use dbg::{DbgArgs, DbgSubject};
pub use dns::DnsArgs;
pub use explain::{ExplainArgs, ExplainSubject, NameClient};
pub use flag::{FlagSupport, UnsupportedFlag, ValueKind};
pub use ingress::{IngressArgs, flags as ingress_flags};
pub use live::LiveAccess;
pub use logging::LogArgs;
pub use migrate::{MigrateArgs, ValuesArgs};
pub use node_cache::NodeCacheArgs;
pub use serve::ServeArgs;
#[cfg(feature = "top")]
pub use top::TopArgs;
pub use up::UpArgs;

use crate::command_error::CommandError;
use crate::probe::ProbeUrl;

/// The parsed command line.
pub enum ParsedCommand {
    /// `portolan up`.
    Up(UpArgs),
    /// `portolan dns`.
    Dns(DnsArgs),
    /// `portolan ingress`.
    Ingress(Box<IngressArgs>),
    /// `portolan serve`.
    Serve(Box<ServeArgs>),
    /// `portolan check`.
    Check(CheckArgs),
    /// `portolan explain`.
    Explain(Box<ExplainArgs>),
    /// `portolan top`.
    #[cfg(feature = "top")]
    Top(TopArgs),
    /// `portolan dbg`.
    Dbg(DbgArgs),
    /// `portolan migrate`.
    Migrate(MigrateArgs),
    /// `portolan node-cache`.
    NodeCache(NodeCacheArgs),
    /// `portolan completions SHELL`.
    Completions(clap_complete::Shell),
    /// `portolan probe URL`, and how long it may take.
    Probe(ProbeUrl, Duration),
    /// `portolan reference PAGE`, and whether as JSON.
    Reference(String, bool),
    /// `portolan reference rbac`.
    ReferenceRbac(RbacPart),
    /// `portolan wait-shutdown`: does nothing.
    WaitShutdown,
}

/// Which services' permissions are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RbacPart {
    /// Both.
    Both,
    /// Only those of `portolan dns`.
    Dns,
    /// Only those of `portolan ingress`.
    Ingress,
}

/// Parses the command line.
///
/// # Errors
/// With exit code 0 after help or version, with exit code 2 if a flag is unknown or its value is missing or invalid.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<ParsedCommand, CommandError> {
    parsed(&matches(args).map_err(CommandError::from)?)
}

/// Reads the flags of a controller as `portolan ingress` reads them, and prints nothing: the error has the message.
///
/// # Errors
/// As [`read`], also after help or version.
pub fn read_controller_flags(flags: &[String]) -> Result<IngressArgs, CommandError> {
    let line =
        ["portolan", "ingress"].into_iter().map(OsString::from).chain(flags.iter().map(OsString::from));
    let matches = matches(line).map_err(|error| CommandError::usage(error.to_string()))?;
    match parsed(&matches)? {
        ParsedCommand::Ingress(args) => Ok(*args),
        _ => Err(CommandError::usage("these are not the flags of an ingress controller")),
    }
}

fn matches(args: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, clap::Error> {
    command().try_get_matches_from(go_style::rewrite(program::insert_command(args)))
}

fn parsed(matches: &ArgMatches) -> Result<ParsedCommand, CommandError> {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(CommandError::usage(
            "no command given: use `portolan up`, `portolan dns` or `portolan ingress`; see `portolan --help`",
        ));
    };
    Ok(match name {
        "dns" => ParsedCommand::Dns(DnsArgs::read(matches)?),
        "ingress" => ParsedCommand::Ingress(Box::new(IngressArgs::read(matches)?)),
        "serve" => ParsedCommand::Serve(Box::new(ServeArgs::read(matches)?)),
        "check" => ParsedCommand::Check(CheckArgs::read(matches)?),
        "explain" => ParsedCommand::Explain(Box::new(ExplainArgs::read(matches)?)),
        #[cfg(feature = "top")]
        "top" => ParsedCommand::Top(TopArgs::read(matches)),
        "dbg" => ParsedCommand::Dbg(DbgArgs::read(matches)),
        "migrate" => ParsedCommand::Migrate(MigrateArgs::read(matches)?),
        "node-cache" => ParsedCommand::NodeCache(NodeCacheArgs::read(matches)?),
        "wait-shutdown" => ParsedCommand::WaitShutdown,
        "completions" => ParsedCommand::Completions(*required(matches, "shell")),
        "probe" => ParsedCommand::Probe(
            required::<ProbeUrl>(matches, "url").clone(),
            Duration::from_secs(*required::<u64>(matches, "timeout")),
        ),
        "reference" => reference(matches)?,
        _ => ParsedCommand::Up(UpArgs::read(matches)?),
    })
}

/// `portolan top`, if this build has it.
fn top_command() -> Option<Command> {
    #[cfg(feature = "top")]
    return Some(top::command());
    #[cfg(not(feature = "top"))]
    None
}

/// Reads the arguments of `portolan reference`.
fn reference(matches: &ArgMatches) -> Result<ParsedCommand, CommandError> {
    let page: &String = required(matches, "page");
    let part = match (matches.get_flag("dns"), matches.get_flag("ingress")) {
        (true, _) => RbacPart::Dns,
        (_, true) => RbacPart::Ingress,
        _ => RbacPart::Both,
    };
    let as_json = matches.get_flag("json");
    if page == "rbac" && as_json {
        return Err(CommandError::usage("the page rbac is YAML; --json is for the other pages"));
    }
    if page == "rbac" {
        return Ok(ParsedCommand::ReferenceRbac(part));
    }
    if part != RbacPart::Both {
        return Err(CommandError::usage(format!(
            "--dns and --ingress select parts of the page rbac, not of {page}"
        )));
    }
    Ok(ParsedCommand::Reference(page.clone(), as_json))
}

/// The definition of the command line for clap.
pub fn command() -> Command {
    Command::new("portolan")
        .version(env!("CARGO_PKG_VERSION"))
        .about(
            "Portolan is a DNS server and an ingress proxy for Kubernetes in one binary. `portolan dns` reads a CoreDNS Corefile and takes \
             CoreDNS's flags; `portolan ingress` serves Ingresses and takes ingress-nginx's flags; `portolan serve` is both in one process. \
             `portolan up` runs both, without configuration, for a demo cluster, for manifests or for a real cluster.",
        )
        .after_help(
            "Examples:\n  \
             # Serve the built-in demo cluster on 127.0.0.1: DNS on port 1053, HTTP on 8080, HTTPS on 8443\n  \
             portolan up\n\n  \
             # Replace CoreDNS\n  \
             portolan dns -conf /etc/coredns/Corefile\n\n  \
             # Replace ingress-nginx\n  \
             portolan ingress --configmap ingress-nginx/ingress-nginx-controller\n\n\
             `portolan COMMAND --help` shows the flags of a command.",
        )
        .arg_required_else_help(true)
        .subcommand(up::command())
        .subcommand(dns::command())
        .subcommand(ingress::command())
        .subcommand(serve::command())
        .subcommand(check::command())
        .subcommand(explain::command())
        .subcommands(top_command())
        .subcommand(dbg::command())
        .subcommand(migrate::command())
        .subcommand(node_cache::command())
        .subcommand(
            Command::new("wait-shutdown")
                .about("Do nothing: kubelet sends SIGTERM when the preStop hook /wait-shutdown ends, and that drains connections")
                .hide(true),
        )
        .subcommand(
            Command::new("completions")
                .about("Print a completion script for a shell")
                .after_help("Example:\n  portolan completions bash > /etc/bash_completion.d/portolan")
                .arg(
                    clap::Arg::new("shell")
                        .required(true)
                        .value_name("SHELL")
                        .value_parser(clap::value_parser!(clap_complete::Shell))
                        .hide_possible_values(true)
                        .help("bash, zsh, fish, elvish or powershell"),
                ),
        )
        .subcommand(
            Command::new("probe")
                .about("Ask an HTTP or DNS server until it answers; for `helm test` and exec probes")
                .after_help(
                    "Examples:\n  \
                     portolan probe http://127.0.0.1:10254/healthz\n  \
                     portolan probe dns://10.96.0.10/kubernetes.default.svc.cluster.local",
                )
                .arg(
                    clap::Arg::new("url")
                        .required(true)
                        .value_name("URL")
                        .value_parser(clap::value_parser!(ProbeUrl))
                        .help("http://HOST[:PORT]/PATH for a status of 200 to 399, dns://HOST[:PORT]/NAME for an A record over UDP and TCP"),
                )
                .arg(
                    clap::Arg::new("timeout")
                        .long("timeout")
                        .value_name("SECONDS")
                        .default_value("10")
                        .value_parser(clap::value_parser!(u64))
                        .help("Time for all attempts"),
                ),
        )
        .subcommand(
            Command::new("reference")
                .about("Print a reference page in Markdown or JSON, or the permissions in YAML")
                .after_help(
                    "Examples:\n  \
                     # What every annotation does here\n  \
                     portolan reference annotations\n\n  \
                     # The same for tools: name, values, default, fate, consequence and example of each\n  \
                     portolan reference annotations --json\n\n  \
                     # ServiceAccount, Roles and bindings for installations without Helm\n  \
                     portolan reference rbac --ingress | kubectl apply -f -",
                )
                .arg(
                    clap::Arg::new("page")
                        .required(true)
                        .value_name("PAGE")
                        .value_parser(["plugins", "annotations", "configmap", "snippets", "ingress-flags", "metrics", "chart-values", "rbac"])
                        .hide_possible_values(true)
                        .help("plugins, annotations, configmap, snippets, ingress-flags, metrics, chart-values or rbac"),
                )
                .arg(
                    clap::Arg::new("json")
                        .long("json")
                        .action(clap::ArgAction::SetTrue)
                        .help("Print JSON: the name of the page, and a list of entries"),
                )
                .args(["dns", "ingress"].map(|part| {
                    clap::Arg::new(part)
                        .long(part)
                        .action(clap::ArgAction::SetTrue)
                        .conflicts_with(if part == "dns" { "ingress" } else { "dns" })
                        .help(format!("rbac: only the permissions of `portolan {part}`"))
                })),
        )
}

/// The value of an argument that is required or has a default.
fn required<'a, T: Clone + Send + Sync + 'static>(matches: &'a ArgMatches, name: &str) -> &'a T {
    matches.get_one(name).expect("clap rejects a command line without it")
}

#[cfg(test)]
mod tests;
