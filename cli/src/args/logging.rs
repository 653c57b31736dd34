//! Flags of the log, the same for all services.

use clap::{Arg, ArgMatches};

/// How the log reads, and how much of it there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogArgs {
    /// `--log-format json`: every line is a JSON object.
    pub json: bool,
    /// `-v`, as klog counts: `None` is the service's default.
    pub verbosity: Option<i64>,
}

/// Events of libraries that explain nothing to an operator: kube-client warns at each connection that it does not verify
/// the API server's certificate when the kubeconfig says so.
const NOISE: &str = "kube_client::client::tls=error";

impl LogArgs {
    /// Takes the arguments out of what clap read.
    pub fn read(matches: &ArgMatches) -> Self {
        Self {
            json: matches.get_one::<String>("log-format").is_some_and(|format| format == "json"),
            verbosity: matches.get_one("v").copied(),
        }
    }

    /// The filter of the log; `default` is that of the service without `-v`.
    pub fn filter(&self, default: &str) -> String {
        match self.verbosity {
            None => format!("{default},{NOISE}"),
            Some(..5) => format!("info,{NOISE}"),
            Some(5..8) => format!("debug,hyper=info,h2=info,rustls=info,tower=info,{NOISE}"),
            Some(8..) => "debug".to_owned(),
        }
    }
}

/// The flags, as clap knows them.
pub fn args() -> [Arg; 2] {
    [
        Arg::new("log-format")
            .long("log-format")
            .value_name("FORMAT")
            .value_parser(["text", "json"])
            .hide_possible_values(true)
            .help_heading("Logging")
            .help("Form of all log lines: text or json [default: text]"),
        Arg::new("v")
            .short('v')
            .long("v")
            .visible_alias("verbose")
            .value_name("LEVEL")
            .num_args(0..=1)
            .default_missing_value("5")
            .allow_negative_numbers(true)
            .value_parser(clap::value_parser!(i64))
            .help_heading("Logging")
            .help("Verbosity as in klog: up to 4 information, 5 to 7 debug lines, from 8 on those of libraries too [without LEVEL: 5]"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_klog() {
        let filter = |verbosity| LogArgs { json: false, verbosity }.filter("warn,report=info");
        for (verbosity, first) in [
            (None, "warn,report=info,"),
            (Some(-1), "info,"),
            (Some(3), "info,"),
            (Some(5), "debug,hyper=info,"),
            (Some(10), "debug"),
        ] {
            assert!(filter(verbosity).starts_with(first), "{verbosity:?}: {}", filter(verbosity));
        }
    }
}
