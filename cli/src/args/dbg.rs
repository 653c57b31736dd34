//! The command line of `portolan dbg`.

use clap::{Arg, ArgMatches, Command};
use telemetry::AdminAddress;

use super::required;

/// Arguments of `portolan dbg`.
#[derive(Clone, Debug)]
pub struct DbgArgs {
    /// `--admin`.
    pub admin: AdminAddress,
    /// The part of the state to show.
    pub subject: DbgSubject,
}

/// The part of the state to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DbgSubject {
    /// `backends list`: names.
    BackendsList,
    /// `backends all`.
    BackendsAll,
    /// `backends get NAME`.
    Backend(String),
    /// `certs get HOST`.
    Certificate(String),
    /// `conf`.
    Configuration,
    /// `general`.
    General,
}

impl DbgArgs {
    /// Reads the arguments from clap's matches.
    pub fn read(matches: &ArgMatches) -> Self {
        let text = |matches: &ArgMatches, name: &str| required::<String>(matches, name).clone();
        let subject = match matches.subcommand() {
            Some(("backends", backends)) => match backends.subcommand() {
                Some(("get", get)) => DbgSubject::Backend(text(get, "name")),
                Some(("all", _)) => DbgSubject::BackendsAll,
                _ => DbgSubject::BackendsList,
            },
            Some(("certs", certs)) => match certs.subcommand() {
                Some((_, get)) => DbgSubject::Certificate(text(get, "host")),
                None => DbgSubject::General,
            },
            Some(("conf", _)) => DbgSubject::Configuration,
            _ => DbgSubject::General,
        };
        Self { admin: required::<AdminAddress>(matches, "admin").clone(), subject }
    }
}

/// The definition of the command for clap.
pub fn command() -> Command {
    let group = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).subcommand_required(true).arg_required_else_help(true)
    };
    Command::new("dbg")
        .about("Show what a running instance serves, as `dbg` of ingress-nginx does: backends, certificates, configuration")
        .after_help(
            "Examples:\n  \
             # The endpoints of a backend\n  \
             portolan dbg backends get shop-web-80\n\n  \
             # In a Pod of the controller\n  \
             kubectl exec deploy/portolan-controller -- /portolan dbg backends list\n\n\
             Private keys are never shown. The pages are for clients on the same host: see --live-page.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .arg(
            Arg::new("admin")
                .long("admin")
                .value_name("ADDR")
                .default_value("127.0.0.1:10254")
                .value_parser(clap::value_parser!(AdminAddress))
                .global(true)
                .help("The admin address of the instance"),
        )
        .subcommand(
            group("backends", "The backends with their endpoints")
                .subcommand(Command::new("list").about("Their names"))
                .subcommand(Command::new("all").about("All of them as JSON"))
                .subcommand(
                    Command::new("get").about("One of them as JSON").arg(Arg::new("name").value_name("NAME").required(true)),
                ),
        )
        .subcommand(group("certs", "The certificates").subcommand(
            Command::new("get").about("The certificate of a host in PEM, without its key").arg(Arg::new("host").value_name("HOST").required(true)),
        ))
        .subcommand(Command::new("conf").about("The keys of the ConfigMap, routes, TCP and UDP services"))
        .subcommand(Command::new("general").about("What the flags say, as JSON"))
}
