//! `log`: logs each query, in CoreDNS's format.

mod format;

use std::sync::Arc;

use config::ConfigError;
use dns_wire::Section;
use dns_wire::codes::{rcode, rtype};
use telemetry::LogWriter;

use crate::names::Zones;
use crate::plugin::{Answer, Hooks, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors};
use format::{QueryLogFormat, SentReply};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "log",
    about: "logs each query",
    syntax: &[
        "log",
        "log example.org example.net",
        "log . \"{remote} {type} {name} {rcode} {duration}\"",
        "log {\n    class denial error\n}",
        "log . {combined}",
    ],
    options: &[
        PluginOption { syntax: "[NAME…]", default: ".", about: "Zones whose queries are logged." },
        PluginOption {
            syntax: "[FORMAT]",
            default: "{common}",
            about: "Text with `{type} {name} {class} {proto} {size} {remote} {port} {local} {>id} {>opcode} {>do} {>bufsize} {>rflags} {rcode} {rsize} {duration}`, `{/LABEL}` for metadata, or `{common}` or `{combined}`. `--log-format json` has precedence.",
        },
        PluginOption {
            syntax: "class CLASS…",
            default: "all",
            about: "Which replies are logged: `success`, `denial` (NXDOMAIN and NODATA), `error`, `all`.",
        },
    ],
    early: false,
    metrics: |_| {},
    setup,
};

struct Log {
    rules: Vec<Rule>,
    lines: LogWriter,
    json: bool,
}

/// One `log` line of the Corefile.
struct Rule {
    zones: Zones,
    format: QueryLogFormat,
    classes: u8,
}

/// The class of a reply (coredns, plugin/pkg/response/classify.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Success = 1,
    Denial = 2,
    Error = 4,
}

const ALL: u8 = Class::Success as u8 | Class::Denial as u8 | Class::Error as u8;

impl Plugin for Log {
    fn hooks(&self) -> Hooks {
        Hooks::SENT
    }

    // Hot: 0 allocations once the line buffers have grown.
    fn sent(&self, request: &Request, answer: &Answer, message: &[u8]) {
        let class = class(answer) as u8;
        let rule = self
            .rules
            .iter()
            .filter(|rule| rule.zones.contain(&request.query))
            .find(|rule| rule.classes & class != 0);
        let Some(rule) = rule else { return };
        let reply = (!answer.dropped).then_some(&answer.reply);
        let sent = SentReply { request, reply, size: message.len(), took: request.received.elapsed() };
        self.lines.write_line(|out| {
            if self.json { rule.format.json(&sent, out) } else { rule.format.text(&sent, out) }
        });
    }
}

/// A query without a reply is an error, as in CoreDNS.
fn class(Answer { reply, dropped, .. }: &Answer) -> Class {
    if *dropped {
        return Class::Error;
    }
    if reply.section(Section::Answer).next().is_some() && reply.rcode == rcode::NOERROR {
        return Class::Success;
    }
    let denies = reply.section(Section::Authority).any(|record| record.rtype == rtype::SOA);
    match reply.rcode {
        rcode::NXDOMAIN | rcode::NOERROR if denies => Class::Denial,
        rcode::NOERROR => Class::Success,
        _ => Class::Error,
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let mut rules = Vec::new();
    let mut mistakes = Vec::new();
    for directive in &setup.directives {
        match rule(directive) {
            Ok(rule) => rules.push(rule),
            Err(error) => mistakes.push(error),
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let (lines, json) = (setup.context.queries.clone(), setup.context.json);
    Ok(vec![Arc::new(Log { rules, lines, json })])
}

fn rule(directive: &config::Directive) -> Result<Rule, ConfigError> {
    let (names, format) = match directive.args.as_slice() {
        [names @ .., format] if format.contains('{') => (names, QueryLogFormat::read(format)),
        names => (names, QueryLogFormat::read(format::COMMON)),
    };
    let zones = if names.is_empty() { Zones::new(["."]) } else { Zones::read(names)? };
    let mut classes = 0;
    for line in &directive.block {
        if line.name.text != "class" {
            return Err(line.unknown(&["class"]));
        }
        for word in line.args_from(1, "success|denial|error|all…")? {
            classes |= word.choice(&[
                ("success", Class::Success as u8),
                ("denial", Class::Denial as u8),
                ("error", Class::Error as u8),
                ("all", ALL),
            ])?;
        }
    }
    Ok(Rule { zones, format, classes: if classes == 0 { ALL } else { classes } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_is_dropped_is_an_error() {
        let mut answer = Answer::default();
        assert_eq!(class(&answer), Class::Success);
        answer.dropped = true;
        assert_eq!(class(&answer), Class::Error);
    }
}
