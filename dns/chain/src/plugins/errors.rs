//! `errors`: logs why queries could not be answered.
//!
//! A failure that repeats gets ten lines in ten seconds; the others are counted and reported together. `consolidate`
//! patterns come first.

mod repeats;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use config::{ConfigError, Directive};
use regex::Regex;
use telemetry::metrics::{Counter, Registry};
use tokio::runtime::Handle;

use crate::codes::Type;
use crate::plugin::{After, Answer, Hooks, Plugin};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, PluginOption, Setup, SetupErrors, each_line};
use repeats::Repeats;

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "errors",
    about: "logs why queries could not be answered",
    syntax: &[
        "errors",
        "errors {\n    stacktrace\n    consolidate 5m \".* i/o timeout$\" warning\n    consolidate 30s \"^Failed to .+\" error show_first\n}",
    ],
    options: &[
        PluginOption {
            syntax: "stacktrace",
            default: "",
            about: "Accepted without effect: a panic always logs its location.",
        },
        PluginOption {
            syntax: "consolidate DURATION REGEXP [LEVEL] [show_first]",
            default: "LEVEL error",
            about: "Failures that match the pattern are counted, and the count is logged once in DURATION with LEVEL (`warning`, `error`, `info`, `debug`). With `show_first` the first one is logged at once. The first pattern that matches counts.",
        },
    ],
    early: false,
    metrics: |metrics| {
        suppressed(metrics);
    },
    setup,
};

/// The maximum length of a pattern, as in CoreDNS.
const MAX_PATTERN_LENGTH: usize = 10_000;

struct Errors {
    patterns: Vec<Arc<Pattern>>,
    repeats: Repeats,
    runtime: Handle,
}

/// `consolidate`: failures that are counted and reported together.
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
    fn hooks(&self) -> Hooks {
        Hooks::REPLY
    }

    fn reply(&self, request: &mut Request, answer: &mut Answer) -> After {
        let Some(failure) = answer.failure.as_ref().filter(|failure| !failure.why.is_empty()) else {
            return After::Pass;
        };
        let line = || {
            let (name, qtype) = (request.query.to_name().lower(), Type(request.query.qtype));
            format!("{} {name} {qtype}: {}", failure.rcode, failure.why)
        };
        match self.patterns.iter().find(|pattern| pattern.regex.is_match(&failure.why)) {
            None => {
                if self.repeats.admit(&failure.why) {
                    Level::Error.log(&line());
                }
            }
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
        After::Pass
    }
}

impl Pattern {
    /// Reports the failures of a period at its end. The first failure starts it.
    fn report_later(self: Arc<Self>, runtime: &Handle) {
        runtime.spawn(async move {
            tokio::time::sleep(self.period).await;
            let count = self.count.swap(0, Relaxed);
            if count > 1 || !self.show_first {
                let (regex, period) = (self.regex.as_str(), config::value::shown(self.period));
                self.level.log(&format!("{count} errors like '{regex}' occurred in last {period}"));
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

fn suppressed(metrics: &Registry) -> Counter {
    metrics.counter(
        "portolan_error_log_suppressed_total",
        "Lines that the errors plugin did not log because the same failure was logged often enough.",
    )
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    if let Some(file) = directive.optional_arg("[stdout]").map_err(|error| vec![error])?
        && **file != *"stdout"
    {
        return Err(vec![file.error(format!("invalid log file: {file}"), "stdout, or nothing")]);
    }
    let runtime = setup.context.runtime.clone();
    let suppressed = suppressed(&setup.context.metrics);
    let repeats = Repeats::new(suppressed, runtime.clone(), |line| Level::Error.log(line));
    Ok(vec![Arc::new(Errors { patterns: patterns(directive)?, repeats, runtime })])
}

fn patterns(directive: &Directive) -> Result<Vec<Arc<Pattern>>, SetupErrors> {
    let mut patterns = Vec::new();
    each_line(directive, |line| match line.name.text.as_str() {
        // A panic always logs its location, so the option has no effect.
        "stacktrace" => line.no_args(),
        "consolidate" => {
            patterns.push(Arc::new(pattern(line)?));
            Ok(())
        }
        _ => Err(line.unknown(&["stacktrace", "consolidate"])),
    })?;
    Ok(patterns)
}

fn pattern(line: &Directive) -> Result<Pattern, ConfigError> {
    let args = line.args_between(2, 4, "DURATION REGEXP [LEVEL] [show_first]")?;
    let period = args[0].duration_or_zero()?;
    if args[1].len() > MAX_PATTERN_LENGTH {
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Mutex, PoisonError};

    use dns_wire::codes::{rcode, rtype};
    use dns_wire::{Name, Query};
    use telemetry::metrics::Counter;
    use tracing_subscriber::fmt;

    use super::*;
    use crate::plugin::QueryFailure;
    use crate::request::Transport;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        /// The lines since the last call.
        fn take_lines(&self) -> Vec<String> {
            let bytes = std::mem::take(&mut *self.0.lock().unwrap());
            String::from_utf8(bytes).unwrap().lines().map(|line| line.trim().to_owned()).collect()
        }
    }

    fn errors(lines: &str) -> Errors {
        let text = format!(". {{\nerrors {{\n{lines}\n}}\n}}");
        let corefile =
            config::Corefile::parse("Corefile", &text, &config::Disk, &config::ParseOptions::default())
                .unwrap();
        let patterns = patterns(&corefile.blocks[0].directives[0]).unwrap();
        let repeats = Repeats::new(Counter::default(), Handle::current(), |line| Level::Error.log(line));
        Errors { patterns, repeats, runtime: Handle::current() }
    }

    #[tokio::test(start_paused = true)]
    async fn repeated_failures_are_reported_together() {
        let first = "plugin/errors: 2 www.example.org. A: read: i/o timeout";
        let other = "plugin/errors: 2 www.example.org. A: refused";
        let log = Log::default();
        let writer = log.clone();
        let layer = fmt().with_ansi(false).without_time().with_max_level(tracing::Level::TRACE);
        let _logging = tracing::subscriber::set_default(layer.with_writer(move || writer.clone()).finish());
        for (lines, count, now, later) in [
            ("", 2, vec![format!("ERROR {first}"), format!("ERROR {first}")], None),
            (
                "",
                25,
                vec![format!("ERROR {first}"); 10],
                Some("ERROR plugin/errors: 15 more errors like 'read: i/o timeout' in the last 10s"),
            ),
            ("consolidate 5m timeout$", 3, vec![], Some("ERROR plugin/errors: 3 errors like 'timeout$' ")),
            ("consolidate 5m timeout$", 1, vec![], Some("ERROR plugin/errors: 1 errors like 'timeout$' ")),
            (
                "consolidate 5m timeout warning show_first\nconsolidate 5m .* info",
                3,
                vec![format!("WARN {first}")],
                Some("WARN plugin/errors: 3 errors like 'timeout' "),
            ),
            ("consolidate 5m timeout debug show_first", 1, vec![format!("DEBUG {first}")], None),
            ("consolidate 5m .* info", 2, vec![], Some("INFO plugin/errors: 2 errors like '.*' ")),
        ] {
            let plugin = errors(lines);
            let fail = |why: &'static str| {
                let mut request = Request::new(Transport::Udp, ([127, 0, 0, 1], 53).into());
                request.query = Query::new(1, &"WWW.example.org.".parse::<Name>().unwrap(), rtype::A);
                let mut answer =
                    Answer { failure: Some(QueryFailure::new(rcode::SERVFAIL, why)), ..Answer::default() };
                plugin.reply(&mut request, &mut answer);
            };
            (0..count).for_each(|_| fail("read: i/o timeout"));
            assert_eq!(log.take_lines(), now, "{lines:?}: at once");
            if !lines.is_empty() {
                tokio::time::sleep(Duration::from_secs(299)).await;
                assert_eq!(log.take_lines(), Vec::<String>::new(), "{lines:?}: not yet");
            } else {
                tokio::time::sleep(Duration::from_secs(9)).await;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
            let reported = log.take_lines();
            assert_eq!(reported.len(), usize::from(later.is_some()), "{lines:?}: {reported:?}");
            assert!(
                reported.iter().all(|line| line.starts_with(later.unwrap_or_default())),
                "{lines:?}: {reported:?}"
            );
            if !lines.contains(".*") {
                fail("refused");
                assert_eq!(log.take_lines(), [format!("ERROR {other}")], "{lines:?}: another kind");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_consolidation_period_counts_from_zero_even_with_zero_length() {
        let log = Log::default();
        let writer = log.clone();
        let layer = fmt().with_ansi(false).without_time().with_target(false);
        let _logging = tracing::subscriber::set_default(layer.with_writer(move || writer.clone()).finish());
        for (lines, wanted) in [
            ("consolidate 1m x", "ERROR 2 errors like 'x' occurred in last 1m0s"),
            ("consolidate 0 x", "ERROR 2 errors like 'x' occurred in last 0s"),
            ("consolidate -5s x", "ERROR 2 errors like 'x' occurred in last 0s"),
        ] {
            let plugin = errors(lines);
            for _ in 0..2 {
                for _ in 0..2 {
                    let failure = Some(QueryFailure::new(rcode::SERVFAIL, "x"));
                    let mut answer = Answer { failure, ..Answer::default() };
                    plugin.reply(&mut Request::new(Transport::Udp, ([127, 0, 0, 1], 53).into()), &mut answer);
                }
                tokio::time::sleep(Duration::from_secs(61)).await;
                assert_eq!(log.take_lines(), [wanted], "{lines}");
            }
        }
    }
}
