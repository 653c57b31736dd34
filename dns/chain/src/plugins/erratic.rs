//! `erratic`: a server for tests of clients: drops, delays and truncates replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use config::{ConfigError, Directive};
use dns_wire::codes::{rcode, rtype};
use dns_wire::{Owner, Section};
use futures_util::future::BoxFuture;

use crate::plugin::{Answer, Flow, Plugin, QueryFailure, Runner};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors, each_line};

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "erratic",
    about: "a server for tests of clients: drops, delays and truncates replies",
    syntax: &["erratic", "erratic {\n    drop 2\n    truncate 5\n    delay 3 50ms\n    large\n}"],
    options: &[
        PluginOption {
            syntax: "drop [NUMBER]",
            default: "2",
            about: "Every query of that number gets no reply; 0 for none. A and AAAA are answered with a fixed address, other types with SERVFAIL.",
        },
        PluginOption {
            syntax: "truncate [NUMBER]",
            default: "0, without NUMBER 2",
            about: "Sets TC in the replies to queries whose number, counted from 0, has none of the bits of NUMBER.",
        },
        PluginOption {
            syntax: "delay [NUMBER [DURATION]]",
            default: "0, without NUMBER 2 100ms",
            about: "Every reply of that number comes later.",
        },
        PluginOption { syntax: "large", default: "", about: "Replies with thirty addresses." },
    ],
    early: false,
    metrics: |_| {},
    setup,
};

/// TTL, addresses and number of records are those of CoreDNS.
const V4: [u8; 4] = [192, 0, 2, 53];
const V6: [u8; 16] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x53];
const LARGE: usize = 30;

struct Erratic {
    queries: AtomicU64,
    drop: u64,
    truncate: u64,
    delay: u64,
    duration: Duration,
    large: bool,
}

/// Whether the reply to a delayed query has TC set.
struct Truncated(bool);

impl Plugin for Erratic {
    fn query(&self, request: &mut Request, answer: &mut Answer) -> Flow {
        let number = self.queries.fetch_add(1, Relaxed);
        let is_due = |every: u64| every > 0 && number.is_multiple_of(every);
        if is_due(self.drop) {
            return Flow::Drop;
        }
        // CoreDNS compares bits here, and not the remainder.
        let truncated = self.truncate > 0 && number & self.truncate == 0;
        if is_due(self.delay) {
            request.extensions.insert(Arc::new(Truncated(truncated)));
            return Flow::Wait;
        }
        self.answer(request, answer, truncated)
    }

    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        _: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            tokio::time::sleep(self.duration).await;
            let truncated = request.extensions.get::<Truncated>().is_some_and(|truncated| truncated.0);
            self.answer(request, answer, truncated)
        })
    }

    fn in_memory(&self) -> bool {
        true
    }
}

impl Erratic {
    fn answer(&self, request: &Request, answer: &mut Answer, truncated: bool) -> Flow {
        let reply = &mut answer.reply;
        let count = if self.large { LARGE } else { 1 };
        match request.query.qtype {
            rtype::A => {
                (0..count).for_each(|_| reply.push(Section::Answer, Owner::Question, rtype::A, 0, &V4));
            }
            rtype::AAAA => reply.push(Section::Answer, Owner::Question, rtype::AAAA, 0, &V6),
            _ => return Flow::Fail(QueryFailure::silent(rcode::SERVFAIL)),
        }
        reply.authoritative = true;
        reply.truncated = truncated;
        Flow::Done
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let mut plugin = Erratic {
        queries: AtomicU64::new(0),
        drop: 2,
        truncate: 0,
        delay: 0,
        duration: Duration::from_millis(100),
        large: false,
    };
    let mut names_drop = false;
    for directive in &setup.directives {
        directive.no_args().map_err(|error| vec![error])?;
        each_line(directive, |line| plugin.line(line, &mut names_drop))?;
    }
    // With delays or truncation nothing is dropped by default, as in CoreDNS.
    if (plugin.delay > 0 || plugin.truncate > 0) && !names_drop {
        plugin.drop = 0;
    }
    Ok(vec![Arc::new(plugin)])
}

impl Erratic {
    fn line(&mut self, line: &Directive, names_drop: &mut bool) -> Result<(), ConfigError> {
        let number =
            |args: &[config::Word]| args.first().map_or(Ok(2), |word| word.integer(0..=i64::MAX as u64));
        match line.name.text.as_str() {
            "drop" => {
                let args = line.args_between(0, 1, "[NUMBER]")?;
                *names_drop |= !args.is_empty();
                self.drop = number(args)?;
            }
            "truncate" => self.truncate = number(line.args_between(0, 1, "[NUMBER]")?)?,
            "delay" => {
                let args = line.args_between(0, 2, "[NUMBER [DURATION]]")?;
                self.delay = number(args)?;
                if let Some(duration) = args.get(1) {
                    self.duration = duration.duration()?;
                }
            }
            "large" => {
                line.no_args()?;
                self.large = true;
            }
            _ => return Err(line.unknown(&["drop", "truncate", "delay", "large"])),
        }
        Ok(())
    }
}
