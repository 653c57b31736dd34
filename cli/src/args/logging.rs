//! Logging flags, common to all services.

use clap::{Arg, ArgMatches};

use super::flag::switch;

/// Format and verbosity of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogArgs {
    /// `--log-format json`: every line is a JSON object.
    pub json: bool,
    /// `-v`, with klog's levels; `None` is the default of the service.
    pub verbosity: Option<i64>,
}

/// Filter for events of libraries that Portolan reports itself: kube-client warns for each client that the API server's
/// certificate is not verified (`insecure-skip-tls-verify`).
const LIBRARY_FILTER: &str = "kube_client::client::tls=error";

impl LogArgs {
    /// Reads the arguments from clap's matches.
    pub fn read(matches: &ArgMatches) -> Self {
        Self {
            json: matches.get_one::<String>("log-format").is_some_and(|format| format == "json"),
            verbosity: matches.get_one("v").copied(),
        }
    }

    /// Whether `-v` asks for debug messages.
    pub fn is_verbose(&self) -> bool {
        self.verbosity.is_some_and(|level| level >= 5)
    }

    /// The log filter. `default` is the filter of the service without `-v`.
    pub fn filter(&self, default: &str) -> String {
        match self.verbosity {
            None => format!("{default},{LIBRARY_FILTER}"),
            Some(..5) => format!("info,{LIBRARY_FILTER}"),
            Some(5..8) => format!("debug,hyper=info,h2=info,rustls=info,tower=info,{LIBRARY_FILTER}"),
            Some(8..) => "debug".to_owned(),
        }
    }
}

/// The definition of the flags for clap.
pub fn args() -> [Arg; 2] {
    [
        Arg::new("log-format")
            .long("log-format")
            .value_name("FORMAT")
            .value_parser(["text", "json"])
            .hide_possible_values(true)
            .help_heading("Logging")
            .help("Format of log lines: text or json [default: text]"),
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
            .help("Verbosity with klog's levels: 0 to 4 information, 5 to 7 debug, 8 and more debug with libraries [without LEVEL: 5]"),
    ]
}

/// The other flags of klog, which manifests pass to both originals: accepted without effect and hidden in the help.
pub fn klog_args() -> impl Iterator<Item = Arg> {
    let switches = KLOG_SWITCHES.iter().map(|name| switch(Arg::new(name).long(name)));
    let texts = KLOG_TEXTS.iter().map(|name| Arg::new(name).long(name).value_name("TEXT"));
    switches.chain(texts).map(|arg| arg.hide(true))
}

const KLOG_SWITCHES: &[&str] =
    &["add_dir_header", "alsologtostderr", "logtostderr", "one_output", "skip_headers", "skip_log_headers"];

const KLOG_TEXTS: &[&str] =
    &["log_backtrace_at", "log_dir", "log_file", "log_file_max_size", "stderrthreshold", "vmodule"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn klog_levels_select_the_filter() {
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
