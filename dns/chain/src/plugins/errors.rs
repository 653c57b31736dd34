//! `errors`: logs why queries could not be answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use config::{Directive, Error};
use regex::Regex;
use tokio::runtime::Handle;

use crate::asked::Asked;
use crate::codes::Type;
use crate::plugin::{Answer, Plugin};
use crate::setup::{Entry, Links, Mistakes, Setup, each_line};

/// See the module.
pub(super) const ENTRY: Entry = Entry {
    name: "errors",
    about: "logs why queries could not be answered",
    syntax: &[
        "errors",
        "errors {\n    stacktrace\n    consolidate 5m \".* i/o timeout$\" warning\n    consolidate 30s \"^Failed to .+\" error show_first\n}",
    ],
    setup,
};

/// The longest pattern, as in CoreDNS.
const LONGEST_PATTERN: usize = 10_000;

struct Errors {
    patterns: Vec<Arc<Pattern>>,
    runtime: Handle,
}

/// Failures that are counted instead of logged one by one.
struct Pattern {
    regex: Regex,
    period: Duration,
    level: Level,
    show_first: bool,
    count: AtomicU32,
}

#[derive(Clone, Copy)]
enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

impl Plugin for Errors {
    fn reply(&self, asked: &Asked, answer: &mut Answer) {
        let Some(failure) = answer.failure.as_ref().filter(|failure| !failure.why.is_empty()) else { return };
        let line = || {
            let (name, qtype) = (asked.query.to_name().lower(), Type(asked.query.qtype));
            format!("{} {name} {qtype}: {}", failure.rcode, failure.why)
        };
        match self.patterns.iter().find(|pattern| pattern.regex.is_match(&failure.why)) {
            None => Level::Error.log(&line()),
            Some(pattern) => {
                let first = pattern.count.fetch_add(1, Relaxed) == 0;
                if first && pattern.show_first {
                    pattern.level.log(&line());
                }
                if first {
                    pattern.clone().report_later(&self.runtime);
                }
            }
        }
    }
}

impl Pattern {
    /// The first failure of a kind starts the period at whose end all of them are reported together.
    fn report_later(self: Arc<Self>, runtime: &Handle) {
        runtime.spawn(async move {
            tokio::time::sleep(self.period).await;
            let count = self.count.swap(0, Relaxed);
            if count > 1 || !self.show_first {
                let (regex, period) = (self.regex.as_str(), self.period);
                self.level.log(&format!("{count} errors like '{regex}' occurred in last {period:?}"));
            }
        });
    }
}

impl Level {
    fn log(self, line: &str) {
        match self {
            Self::Error => tracing::error!(target: "plugin/errors", "{line}"),
            Self::Warning => tracing::warn!(target: "plugin/errors", "{line}"),
            Self::Info => tracing::info!(target: "plugin/errors", "{line}"),
            Self::Debug => tracing::debug!(target: "plugin/errors", "{line}"),
        }
    }
}

fn setup(setup: &mut Setup<'_>) -> Result<Links, Mistakes> {
    let directive = setup.once()?;
    if let Some(file) = directive.optional_arg("[stdout]").map_err(|error| vec![error])?
        && **file != *"stdout"
    {
        return Err(vec![file.error(format!("invalid log file: {file}"), "stdout, or nothing")]);
    }
    let mut patterns = Vec::new();
    each_line(directive, |line| match line.name.text.as_str() {
        // Go's stack traces have no like here: a panic says where it happened in any case.
        "stacktrace" => line.no_args(),
        "consolidate" => {
            patterns.push(Arc::new(pattern(line)?));
            Ok(())
        }
        _ => Err(line.unknown(&["stacktrace", "consolidate"])),
    })?;
    Ok(vec![Arc::new(Errors { patterns, runtime: setup.context.runtime.clone() })])
}

fn pattern(line: &Directive) -> Result<Pattern, Error> {
    let args = line.args_between(2, 4, "DURATION REGEXP [LEVEL] [show_first]")?;
    let period = args[0].duration_in(Duration::from_nanos(1).., "more than 0")?;
    if args[1].len() > LONGEST_PATTERN {
        return Err(args[1].error("regular expression is too long", "at most 10000 characters"));
    }
    let regex = args[1].parse("a regular expression")?;
    let (mut level, mut show_first) = (Level::Error, false);
    for word in &args[2..] {
        if **word == *"show_first" {
            show_first = true;
        } else {
            level = word.choice(&[
                ("warning", Level::Warning),
                ("error", Level::Error),
                ("info", Level::Info),
                ("debug", Level::Debug),
            ])?;
        }
    }
    Ok(Pattern { regex, period, level, show_first, count: AtomicU32::new(0) })
}
