//! `header`: sets and clears flags of queries and replies.

use std::sync::Arc;

use config::{ConfigError, Directive};

use crate::plugin::{After, Answer, Flow, Hooks, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "header",
    about: "sets and clears flags of queries and replies",
    syntax: &[
        "header {\n    response set ra\n    response clear aa\n    query clear rd\n}",
        "header {\n    set aa\n    clear ra rd\n}",
    ],
    options: &[
        PluginOption {
            syntax: "query set|clear FLAG…",
            default: "",
            about: "Flags of the query for the plugins below: `rd`. `aa` and `ra` have no effect in a query.",
        },
        PluginOption {
            syntax: "response set|clear FLAG…",
            default: "",
            about: "Flags of the reply: `aa`, `ra`, `rd`.",
        },
        PluginOption { syntax: "set FLAG…", default: "", about: "The same as `response set`." },
        PluginOption { syntax: "clear FLAG…", default: "", about: "The same as `response clear`." },
    ],
    early: false,
    metrics: |_| {},
    setup,
};

#[derive(Clone, Copy)]
enum Flag {
    Authoritative,
    RecursionAvailable,
    RecursionDesired,
}

/// A flag, and whether it is set or cleared.
type FlagRule = (Flag, bool);

struct Header {
    queries: Vec<FlagRule>,
    replies: Vec<FlagRule>,
}

impl Plugin for Header {
    fn hooks(&self) -> Hooks {
        Hooks::QUERY.and(Hooks::REPLY)
    }

    // Hot: 0 allocations.
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        for (flag, set) in &self.queries {
            if let Flag::RecursionDesired = flag {
                request.query.set_recursion_desired(*set);
            }
        }
        Flow::Next
    }

    // Hot: 0 allocations.
    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        for (flag, set) in &self.replies {
            match flag {
                Flag::Authoritative => answer.reply.authoritative = *set,
                Flag::RecursionAvailable => answer.reply.recursion_available = *set,
                // A reply repeats the flag of the query.
                Flag::RecursionDesired => request.query.set_recursion_desired(*set),
            }
        }
        After::Pass
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let mut header = Header { queries: Vec::new(), replies: Vec::new() };
    // The first directive that has rules takes effect, as in CoreDNS.
    for directive in &setup.directives {
        directive.no_args().map_err(|error| vec![error])?;
        each_line(directive, |line| header.line(line))?;
        if !header.queries.is_empty() || !header.replies.is_empty() {
            return Ok(vec![Arc::new(header)]);
        }
    }
    let what = "header has no rules";
    Err(vec![setup.directives[0].error(what, "lines such as response set aa")])
}

impl Header {
    fn line(&mut self, line: &Directive) -> Result<(), ConfigError> {
        let wanted = "set|clear FLAG…";
        let (is_query, action, flags) = match line.name.text.to_ascii_lowercase().as_str() {
            selector @ ("query" | "response") => {
                let (action, flags) = line.args_from(2, wanted)?.split_at(1);
                (selector == "query", &action[0], flags)
            }
            "set" | "clear" => (false, &line.name, line.args_from(1, "FLAG…")?),
            _ => return Err(line.unknown(&["query", "response", "set", "clear"])),
        };
        let set = match action.text.to_ascii_lowercase().as_str() {
            "set" => true,
            "clear" => false,
            _ => return Err(action.error(format!("unknown flag action {:?}", action.text), "set or clear")),
        };
        for word in flags {
            let flag = match word.text.to_ascii_lowercase().as_str() {
                "aa" => Flag::Authoritative,
                "ra" => Flag::RecursionAvailable,
                "rd" => Flag::RecursionDesired,
                _ => return Err(word.error(format!("unknown flag {:?}", word.text), "aa, ra or rd")),
            };
            if is_query { &mut self.queries } else { &mut self.replies }.push((flag, set));
        }
        Ok(())
    }
}
