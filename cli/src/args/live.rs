//! Who may see the live page.

use clap::{Arg, ArgMatches};

/// Who may see the live page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LiveAccess {
    /// Clients on this host, so also `kubectl port-forward`.
    #[default]
    Loopback,
    /// All who reach an admin address.
    All,
    /// No client.
    Off,
}

/// The values on the command line.
const VALUES: [(&str, LiveAccess); 3] =
    [("loopback", LiveAccess::Loopback), ("all", LiveAccess::All), ("off", LiveAccess::Off)];

impl LiveAccess {
    /// Reads the argument from clap's matches.
    pub fn read(matches: &ArgMatches) -> Self {
        let given = matches.get_one::<String>("live-page");
        let known = VALUES.iter().find(|(name, _)| given.is_some_and(|given| given == name));
        known.map(|(_, access)| *access).unwrap_or_default()
    }
}

/// The definition of the flag for clap.
pub fn arg() -> Arg {
    Arg::new("live-page")
        .long("live-page")
        .value_name("WHO")
        .value_parser(VALUES.map(|(name, _)| name))
        .hide_possible_values(true)
        .help(
            "Who may see the live page at / of the admin addresses: loopback, all or off [default: loopback]",
        )
}
