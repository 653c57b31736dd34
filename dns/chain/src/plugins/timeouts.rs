//! `timeouts`: how long TCP clients may be idle, and how many queries a connection may send.

use std::time::Duration;

use config::{ConfigError, Directive};

use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "timeouts",
    about: "how long TCP clients may be idle, and how many queries a connection may send",
    syntax: &["timeouts {\n    read 5s\n    write 10s\n    idle 1h\n    maxtcpqueries 100\n}"],
    options: &[
        PluginOption {
            syntax: "read DURATION",
            default: "3s",
            about: "How long the first query of a connection may take: 1s to 24h, as for the next two.",
        },
        PluginOption {
            syntax: "write DURATION",
            default: "5s",
            about: "How long the client may take to read the replies.",
        },
        PluginOption {
            syntax: "idle DURATION",
            default: "10s",
            about: "How long a further query may take. A number without a unit is in seconds.",
        },
        PluginOption {
            syntax: "maxtcpqueries NUMBER",
            default: "no limit",
            about: "Queries after which a connection is closed; -1 for no limit.",
        },
    ],
    early: false,
    metrics: |_| {},
    setup,
};

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(24 * 3600);

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let mut settings = *setup.listener();
    let mut lines = 0;
    for directive in setup.directives.clone() {
        directive.no_args().map_err(|error| vec![error])?;
        each_line(directive, |line| {
            lines += 1;
            match line.name.text.as_str() {
                "read" => settings.read = Some(duration(line)?),
                "write" => settings.write = Some(duration(line)?),
                "idle" => settings.idle = Some(duration(line)?),
                "maxtcpqueries" => {
                    let word = line.arg("NUMBER")?;
                    let most = word.integer(-1..=i64::from(u32::MAX))?;
                    if most == 0 {
                        return Err(word.error("maxtcpqueries 0", "-1 for no limit, or a positive number"));
                    }
                    settings.tcp_queries = u32::try_from(most).ok().filter(|most| *most > 0);
                }
                _ => return Err(line.unknown(&["read", "write", "idle", "maxtcpqueries"])),
            }
            Ok(())
        })?;
    }
    if lines == 0 {
        let what = "timeouts block with no timeouts specified";
        return Err(vec![
            setup.directives[0].error(what, "at least one of read, write, idle, maxtcpqueries"),
        ]);
    }
    *setup.listener() = settings;
    Ok(Vec::new())
}

/// A time with a unit, or a number of seconds.
fn duration(line: &Directive) -> Result<Duration, ConfigError> {
    let word = line.arg("DURATION")?;
    let value = match word.text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => word.duration()?,
    };
    if (SHORTEST..=LONGEST).contains(&value) {
        return Ok(value);
    }
    Err(word.error(format!("timeout {word} is out of range"), "between 1s and 24h"))
}
