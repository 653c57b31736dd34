//! A command-line flag as a row of a table: name, kind of value, default, help and support.

use clap::{Arg, ArgAction, ArgMatches};
use ingress_routes::{Level, NeutralValues};

/// A flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The long name without dashes.
    pub name: &'static str,
    /// The kind of its value.
    pub takes: ValueKind,
    /// The default as shown in the help; empty if there is none.
    pub default: &'static str,
    /// The help text.
    pub help: &'static str,
    /// Whether it is supported.
    pub support: FlagSupport,
}

/// The kind of a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// `--flag`, `--flag=true` or `--flag=false`.
    Bool,
    /// Any text.
    Text,
    /// A whole number.
    Number,
    /// A duration in Go's syntax, such as `30s`, or a number of seconds.
    Duration,
}

/// Whether a flag is supported.
#[derive(Clone, Copy, Debug)]
pub enum FlagSupport {
    /// It is supported.
    Honoured,
    /// It configures a part of ingress-nginx that Portolan does not have (nginx, Lua, reloads) and can be ignored.
    NotNeeded,
    /// It is accepted and reported.
    Unsupported {
        /// How much the missing support matters.
        level: Level,
        /// Values for which it does not matter.
        neutral: NeutralValues,
        /// The consequence of setting it, as a clause.
        consequence: &'static str,
    },
}

/// A flag of the command line that is not supported, with a value for which that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedFlag {
    /// The name without dashes.
    pub name: &'static str,
    /// The value as given.
    pub value: String,
    /// How much the missing support matters.
    pub level: Level,
    /// The consequence, as a clause.
    pub consequence: &'static str,
}

impl UnsupportedFlag {
    /// Returns the flag if it is not supported and the value matters.
    pub fn of(flag: &Flag, value: String) -> Option<Self> {
        let FlagSupport::Unsupported { level, neutral, consequence } = flag.support else { return None };
        (!neutral.contain(&value)).then_some(Self { name: flag.name, value, level, consequence })
    }
}

impl Flag {
    /// The flag as a clap argument.
    pub fn arg(&self) -> Arg {
        let mut arg = Arg::new(self.name).long(self.name).help(self.text()).action(ArgAction::Set);
        arg = match self.takes {
            ValueKind::Bool => switch(arg),
            ValueKind::Text => arg.value_name("TEXT"),
            ValueKind::Number => {
                arg.value_name("NUMBER").value_parser(whole_number).allow_negative_numbers(true)
            }
            ValueKind::Duration => arg.value_name("DURATION").value_parser(duration),
        };
        arg
    }

    fn text(&self) -> String {
        let default =
            if self.default.is_empty() { String::new() } else { format!(" [default: {}]", self.default) };
        format!("{}{default}", self.help)
    }
}

/// Reads a number, with an error that says what is wanted.
fn whole_number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| "wanted a whole number".to_owned())
}

/// Makes an argument a boolean flag in Go's syntax: `--flag`, `--flag=true` or `--flag=false`.
pub fn switch(arg: Arg) -> Arg {
    arg.num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .value_name("BOOL")
        .value_parser(["true", "false", "True", "False", "TRUE", "FALSE", "1", "0", "t", "f", "T", "F"])
        .hide_possible_values(true)
}

/// Access to parsed flags by name.
pub struct FlagValues<'a>(pub &'a ArgMatches);

impl FlagValues<'_> {
    /// The value of a text flag; `None` if absent or empty.
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get_one::<String>(name).filter(|text| !text.is_empty()).cloned()
    }

    /// The value of a boolean flag.
    pub fn on(&self, name: &str, default: bool) -> bool {
        self.0
            .get_one::<String>(name)
            .map_or(default, |value| matches!(value.as_str(), "true" | "True" | "TRUE" | "1" | "t" | "T"))
    }

    /// The value of a number flag that cannot be negative.
    pub fn count(&self, name: &str, default: u64) -> u64 {
        self.0.get_one::<i64>(name).map_or(default, |number| u64::try_from(*number).unwrap_or_default())
    }

    /// The value of a duration flag.
    pub fn duration(&self, name: &str, default: std::time::Duration) -> std::time::Duration {
        self.0.get_one(name).copied().unwrap_or(default)
    }

    /// The value of a port flag.
    ///
    /// # Errors
    /// When the number is not between 0 and 65535.
    pub fn port(&self, name: &str, default: u16) -> Result<u16, String> {
        match self.0.get_one::<i64>(name) {
            None => Ok(default),
            Some(&number) => {
                u16::try_from(number).map_err(|_| format!("--{name} {number}: wanted a port from 0 to 65535"))
            }
        }
    }

    /// The value of a flag as given, for reports.
    pub fn raw(&self, name: &str) -> String {
        let values = self.0.get_raw(name).into_iter().flatten();
        values.map(|value| value.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Whether the flag is given on the command line.
    pub fn has(&self, name: &str) -> bool {
        self.0.value_source(name) == Some(clap::parser::ValueSource::CommandLine)
    }
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(std::time::Duration::from_secs(seconds));
    }
    config::value::duration(text)
        .map_err(|_| "wanted a duration such as 30s, 1m30s or a number of seconds".to_owned())
}
