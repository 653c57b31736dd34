//! The command line of `portolan top`.

use clap::{Arg, ArgAction, ArgMatches, Command};
use telemetry::AdminAddress;

/// Arguments of `portolan top`.
#[derive(Clone, Debug)]
pub struct TopArgs {
    /// `--admin`.
    pub admin: AdminAddress,
    /// `--once`.
    pub once: bool,
}

impl TopArgs {
    /// Reads the arguments from clap's matches.
    pub fn read(matches: &ArgMatches) -> Self {
        Self {
            admin: super::required::<AdminAddress>(matches, "admin").clone(),
            once: matches.get_flag("once"),
        }
    }
}

/// The definition of the command for clap.
pub fn command() -> Command {
    Command::new("top")
        .about("Watch a running Portolan in the terminal: rates, latency, hosts, canaries, DNS answers, problems")
        .after_help(
            "Examples:\n  \
             # The process of `portolan up`\n  \
             portolan top\n\n  \
             # A Pod\n  \
             kubectl --namespace ingress-nginx port-forward deployment/portolan-controller 10254 &\n  \
             portolan top\n\n\
             It reads the live page of the admin address (--live-page of the process). Nothing is changed.",
        )
        .args([
            Arg::new("admin")
                .long("admin")
                .value_name("ADDR")
                .default_value("127.0.0.1:10254")
                .value_parser(clap::value_parser!(AdminAddress))
                .help("The admin address of the process"),
            Arg::new("once")
                .long("once")
                .action(ArgAction::SetTrue)
                .help("Print one screen after two seconds and exit; the default if the output is not a terminal"),
        ])
}
