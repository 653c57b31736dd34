//! The command line of `portolan migrate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use migrate::{
    CheckLocation, Distribution, MigrateAction, MigrateOptions, MigratedService, OutputFormat, Strategy,
    ValuesOrigin,
};
use sources::kube::Access;

use super::required;
use crate::command_error::CommandError;

/// Image without `--image`.
const IMAGE: &str = concat!("docker.io/library/portolan:", env!("CARGO_PKG_VERSION"));

/// The parsed command line of `portolan migrate`.
#[derive(Clone, Debug)]
pub enum MigrateArgs {
    /// `dns` and `ingress`.
    Takeover(Box<MigrateOptions>),
    /// `probe`, which the command runs in a Pod.
    Probe(String),
    /// `values`.
    Values(ValuesArgs),
}

/// The parsed command line of `portolan migrate values`.
#[derive(Clone, Debug)]
pub struct ValuesArgs {
    /// The values file; `-` for standard input.
    pub file: PathBuf,
    /// `--out`: the new file; standard output if not given.
    pub out: Option<PathBuf>,
    /// `--from`: the chart that the file is for; detected if not given.
    pub origin: Option<ValuesOrigin>,
}

impl MigrateArgs {
    /// Reads the arguments from clap's matches.
    ///
    /// # Errors
    /// When flags exclude each other.
    pub fn read(matches: &ArgMatches) -> Result<Self, CommandError> {
        match matches.subcommand() {
            Some(("dns", matches)) => Ok(Self::Takeover(Box::new(options(MigratedService::Dns, matches)))),
            Some(("ingress", matches)) => {
                Ok(Self::Takeover(Box::new(options(MigratedService::Ingress, matches))))
            }
            Some(("values", matches)) => {
                let name = matches.get_one::<String>("from");
                let known =
                    ValuesOrigin::NAMES.iter().find(|(known, _)| name.is_some_and(|name| name == known));
                Ok(Self::Values(ValuesArgs {
                    file: required::<PathBuf>(matches, "file").clone(),
                    out: matches.get_one("out").cloned(),
                    origin: known.map(|(_, origin)| *origin),
                }))
            }
            Some(("probe", matches)) => Ok(Self::Probe(required::<String>(matches, "task").clone())),
            _ => Err(CommandError::usage(
                "no service given: use `portolan migrate dns`, `portolan migrate ingress` or `portolan migrate values`",
            )),
        }
    }
}

fn options(service: MigratedService, matches: &ArgMatches) -> MigrateOptions {
    let actions = [
        ("dry-run", MigrateAction::DryRun),
        ("rollback", MigrateAction::Rollback),
        ("finish", MigrateAction::Finish),
        ("manifest", MigrateAction::Manifest),
    ];
    let action = actions.into_iter().find(|(flag, _)| matches.get_flag(flag));
    let word = |name: &str| required::<String>(matches, name).as_str();
    let seconds = |name: &str| *required::<Duration>(matches, name);
    MigrateOptions {
        service,
        action: action.map_or(MigrateAction::Apply, |(_, action)| action),
        access: access(matches),
        image: word("image").to_owned(),
        namespace: word("namespace").to_owned(),
        service_name: matches.get_one("service").cloned(),
        strategy: matches.get_one::<String>("strategy").map(|word| match word.as_str() {
            "set-image" => Strategy::SetImage,
            _ => Strategy::Selector,
        }),
        distribution: matches.get_one("distribution").cloned(),
        unmanaged: matches.get_flag("unmanaged"),
        external: match service {
            MigratedService::Dns => matches.get_many("external").into_iter().flatten().cloned().collect(),
            MigratedService::Ingress => Vec::new(),
        },
        watch: seconds("watch"),
        timeout: seconds("timeout"),
        check_location: match word("check-from") {
            "here" => CheckLocation::Here,
            "pod" => CheckLocation::Pod,
            _ => CheckLocation::Auto,
        },
        output: if word("output") == "json" { OutputFormat::Json } else { OutputFormat::Text },
    }
}

/// A kubeconfig if one is given or usual files exist, else the service account of the Pod.
fn access(matches: &ArgMatches) -> Access {
    let file: Option<PathBuf> = matches.get_one("kubeconfig").cloned();
    let context: Option<String> = matches.get_one("context").cloned();
    let in_pod =
        std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && std::env::var_os("KUBECONFIG").is_none();
    if file.is_none() && context.is_none() && in_pod {
        return Access::InCluster;
    }
    Access::Kubeconfig { file, context }
}

/// The definition of the command for clap.
pub fn command() -> Command {
    Command::new("migrate")
        .about("Take over cluster DNS from CoreDNS or ingress from ingress-nginx, with checks and a rollback")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("dns")
                .args_override_self(true)
                .about("Take over the cluster DNS: same address, same Corefile")
                .after_help(
                    "Examples:\n  \
                     # Show what was found and every step, and change nothing\n  \
                     portolan migrate dns --dry-run\n\n  \
                     # Take over, with a rollback if a lookup fails\n  \
                     portolan migrate dns --image registry.example.com/portolan:1.0\n\n  \
                     # Restore the state before\n  \
                     portolan migrate dns --rollback\n\n\
                     Exit codes: 0 done; 1 failed or rolled back, nothing is changed; 2 refused, nothing was changed; 3 a change remains.",
                )
                .args(args(MigratedService::Dns))
                .arg(
                    Arg::new("external")
                        .long("external")
                        .value_name("NAME")
                        .action(ArgAction::Append)
                        .default_value("example.com")
                        .help_heading("Checks")
                        .help("External name to look up, if it resolves before the migration; may be repeated"),
                ),
        )
        .subcommand(
            Command::new("ingress")
                .args_override_self(true)
                .about("Take over ingress: same Service, same class, same ConfigMap and arguments")
                .after_help(
                    "Examples:\n  \
                     # Show what was found and every step, and change nothing\n  \
                     portolan migrate ingress --dry-run\n\n  \
                     # Take over, with a rollback if a request fails\n  \
                     portolan migrate ingress --image registry.example.com/portolan:1.0\n\n  \
                     # Restore the state before\n  \
                     portolan migrate ingress --rollback\n\n\
                     Exit codes: 0 done; 1 failed or rolled back, nothing is changed; 2 refused, nothing was changed; 3 a change remains.",
                )
                .args(args(MigratedService::Ingress)),
        )
        .subcommand(values())
        .subcommand(
            Command::new("probe")
                .hide(true)
                .about("Send lookups or requests and print the answers; `migrate` runs it in a Pod")
                .arg(Arg::new("task").required(true).value_name("JSON").help("The targets, and the lookups or requests")),
        )
}

fn values() -> Command {
    Command::new("values")
        .about("Make a values file of Portolan's chart from one of the ingress-nginx or the coredns chart")
        .after_help(
            "Examples:\n  \
             # Print the new file, and on standard error what becomes of each key\n  \
             portolan migrate values ingress-nginx-values.yaml\n\n  \
             # Write it to a file\n  \
             portolan migrate values coredns-values.yaml -o portolan-values.yaml\n\n\
             Keys that the chart refuses or does not know become comments with the reason. Exit codes: 0 done; 1 done, and a key was refused or is \
             closed; 2 not a values file.",
        )
        .args([
            Arg::new("file")
                .required(true)
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("The values file; - for standard input"),
            Arg::new("out")
                .short('o')
                .long("out")
                .value_name("FILE")
                .value_parser(clap::value_parser!(PathBuf))
                .help("File to write [default: standard output]"),
            Arg::new("from")
                .long("from")
                .value_name("CHART")
                .value_parser(clap::builder::PossibleValuesParser::new(ValuesOrigin::NAMES.map(|(name, _)| name)))
                .hide_possible_values(true)
                .help("The chart that FILE is for: ingress-nginx, coredns or portolan [default: detected]"),
        ])
}

fn args(service: MigratedService) -> Vec<Arg> {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let value = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let actions = ["dry-run", "rollback", "finish", "manifest"];
    let action = |name: &'static str, help: &'static str| {
        switch(name, help).conflicts_with_all(actions.into_iter().filter(|other| *other != name))
    };
    let duration = |name: &'static str, default: &'static str, help: &'static str| {
        value(name, "TIME", help)
            .default_value(default)
            .value_parser(|text: &str| config::value::duration_or_zero(text))
            .help_heading("Checks")
    };
    let namespace = match service {
        MigratedService::Dns => "kube-system",
        MigratedService::Ingress => "ingress-nginx",
    };
    vec![
        action("dry-run", "Print what was found and the plan; change nothing"),
        action("rollback", "Restore the state before the migration"),
        action("finish", "Scale the replaced workload to zero; --rollback still works"),
        action("manifest", "Print the manifest that keeps the migration on k3s and RKE2"),
        value("image", "REF", "Portolan's image").default_value(IMAGE),
        value("strategy", "NAME", "selector: change the Service's selector to a copy of the workload; set-image: change the workload's image [default: selector where possible]")
            .value_parser(["selector", "set-image"])
            .hide_possible_values(true),
        value("output", "FORMAT", "Format of the plan: text or json")
            .value_parser(["text", "json"])
            .hide_possible_values(true)
            .default_value("text"),
        value("namespace", "NAME", "Namespace of the Service and the workload")
            .default_value(namespace)
            .help_heading("Cluster"),
        value("service", "NAME", "The Service that clients use [default: the usual names]").help_heading("Cluster"),
        value("distribution", "NAME", "kubeadm, k3s, rke2, eks, aks, gke, ack, openshift or other [default: detected]")
            .value_parser(clap::builder::PossibleValuesParser::new(Distribution::words()))
            .hide_possible_values(true)
            .help_heading("Cluster"),
        switch("unmanaged", "States that no add-on operator maintains the workload any more").help_heading("Cluster"),
        value("kubeconfig", "FILE", "The kubeconfig [default: KUBECONFIG, ~/.kube/config, or the service account of the Pod]")
            .value_parser(clap::value_parser!(PathBuf))
            .help_heading("Cluster"),
        value("context", "NAME", "Context of the kubeconfig").help_heading("Cluster"),
        duration("watch", "30s", "How long answers are checked after the change"),
        duration("timeout", "2m", "How long each wait for Pods may take"),
        value("check-from", "PLACE", "Where checks run: here, pod (a short-lived Pod with Portolan's image), or auto: here if the Service can be reached, else pod")
            .value_parser(["auto", "here", "pod"])
            .hide_possible_values(true)
            .default_value("auto")
            .help_heading("Checks"),
    ]
}
