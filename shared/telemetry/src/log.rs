//! The program log: events of the process. Queries and requests are logged separately.
//!
//! The target of an event is its source: `plugin/reload` for a DNS plugin, the crate's name otherwise. Lines pass through a
//! [`LogWriter`]: an output that blocks does not delay the caller; lines beyond a bound are dropped and counted.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use jiff::{Timestamp, Zoned};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Registry as Spans;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

use crate::json;
use crate::log_writer::LogWriter;
use crate::metrics::{Counter, Registry};

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// CoreDNS: `[INFO] plugin/reload: Running configuration …`.
    CoreDns,
    /// klog, as in ingress-nginx: `I1121 07:33:45.123456       7 table.rs:42] …`.
    Klog,
    /// One JSON object per line, with the keys of CoreDNS's `-log-format json`.
    Json,
}

/// The output of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output, as in CoreDNS.
    Stdout,
    /// Standard error, as in ingress-nginx.
    Stderr,
}

/// The log cannot be set up.
#[derive(Debug)]
pub enum LogError {
    /// The filter is not `LEVEL` or `LEVEL,TARGET=LEVEL…`.
    Filter(String),
    /// The log has been set up before.
    Second,
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(text) => {
                write!(f, "log level {text:?} should be off, error, warn, info, debug or trace")
            }
            Self::Second => f.write_str("the log is set up already"),
        }
    }
}

impl std::error::Error for LogError {}

/// Sets up the log of the process. `filter` is a level, optionally followed by levels of targets: `info,hyper=warn`.
///
/// # Errors
/// When the filter is malformed or the log has been set up before.
pub fn init(format: LogFormat, output: LogOutput, filter: &str) -> Result<(), LogError> {
    let dropped = Counter::default();
    let lines = match output {
        LogOutput::Stdout => LogWriter::new(io::stdout(), dropped.clone()),
        LogOutput::Stderr => LogWriter::new(io::stderr(), dropped.clone()),
    };
    let queue = lines.clone();
    let (subscriber, filter) = subscriber(format, filter, move || QueueWriter(queue.clone()))?;
    subscriber.try_init().map_err(|_| LogError::Second)?;
    let filter = Mutex::new(filter);
    PROCESS_LOG.set(ProcessLog { lines, dropped, filter }).map_err(|_| LogError::Second)
}

/// Changes the least severe events of a target that are logged; `None` for those of the filter of [`init`]. Has no effect before it.
pub fn set_level(target: &'static str, level: Option<Level>) {
    let Some(log) = PROCESS_LOG.get() else { return };
    let filter = log.filter.lock().unwrap_or_else(PoisonError::into_inner);
    filter.set_level(target, level);
}

/// The filter of a subscriber, which can be changed.
struct LogFilter {
    initial: Targets,
    current: reload::Handle<Targets, Spans>,
}

impl LogFilter {
    fn set_level(&self, target: &'static str, level: Option<Level>) {
        let changed = match level {
            Some(level) => self.initial.clone().with_target(target, level),
            None => self.initial.clone(),
        };
        // It fails only once the subscriber is gone.
        let _ = self.current.reload(changed);
    }
}

/// Writes the queued lines and closes the program log; later events are dropped. Waits at most one second for an output
/// that blocks. Call it before the process exits.
pub fn close() {
    if let Some(log) = PROCESS_LOG.get() {
        log.lines.close();
    }
}

/// Registers `portolan_program_log_dropped_total`, the number of lines dropped because the output blocked or failed.
pub fn register(registry: &Registry) {
    let help = "Lines of the program log that were not written.";
    registry.callback_counters("portolan_program_log_dropped_total", help, [], |samples| {
        samples([], PROCESS_LOG.get().map_or(0.0, |log| log.dropped.value() as f64));
    });
}

static PROCESS_LOG: OnceLock<ProcessLog> = OnceLock::new();

struct ProcessLog {
    lines: LogWriter,
    dropped: Counter,
    filter: Mutex<LogFilter>,
}

/// Adds each event to the queue; tracing writes an event with one call.
struct QueueWriter(LogWriter);

impl io::Write for QueueWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_line(|out| out.extend_from_slice(event.strip_suffix(b"\n").unwrap_or(event)));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn subscriber<W>(
    format: LogFormat,
    filter: &str,
    writer: W,
) -> Result<(impl Subscriber + Send + Sync, LogFilter), LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // `Targets` parses a word that is not a level as a target with all levels enabled.
    let level = filter.split(',').next().is_some_and(|first| first.parse::<LevelFilter>().is_ok());
    let targets = filter.parse::<Targets>().ok().filter(|_| level);
    let targets = targets.ok_or_else(|| LogError::Filter(filter.to_owned()))?;
    let layer = tracing_subscriber::fmt::layer().event_format(format).with_writer(writer);
    let (filter, current) = reload::Layer::new(targets.clone());
    Ok((tracing_subscriber::registry().with(filter).with(layer), LogFilter { initial: targets, current }))
}

/// Wraps each line of text in a JSON object with the keys of the program log. Every write must consist of complete lines, as
/// those of [`LogWriter`] do.
pub struct JsonLines<W> {
    output: W,
    target: &'static str,
    objects: Vec<u8>,
}

impl<W: io::Write> JsonLines<W> {
    /// Creates a writer to `output`. `target` is the name of the log.
    pub fn new(output: W, target: &'static str) -> Self {
        Self { output, target, objects: Vec::new() }
    }
}

impl<W: io::Write> io::Write for JsonLines<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.objects.clear();
        let now = Timestamp::now();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
            write!(self.objects, "{{\"time\":\"{now}\",\"level\":\"INFO\",\"msg\":")?;
            json::push_string(&mut self.objects, &text);
            writeln!(self.objects, ",\"target\":\"{}\"}}", self.target)?;
        }
        self.output.write_all(&self.objects)?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

impl<S, N> FormatEvent<S, N> for LogFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let meta = event.metadata();
        match self {
            Self::CoreDns => {
                write!(out, "[{}] ", level_name(meta.level()))?;
                if meta.target().starts_with("plugin/") {
                    write!(out, "{}: ", meta.target())?;
                }
            }
            Self::Klog => {
                let letter = &level_name(meta.level())[..1];
                let now = Zoned::now().strftime("%m%d %H:%M:%S%.6f");
                let file = meta.file().and_then(|path| path.rsplit('/').next()).unwrap_or("-");
                let line = meta.line().unwrap_or_default();
                write!(out, "{letter}{now} {:>7} {file}:{line}] ", std::process::id())?;
            }
            Self::Json => {
                let mut line = Json::new(meta.level(), meta.target());
                event.record(&mut line);
                return writeln!(out, "{}", line.end());
            }
        }
        let mut line = Text::default();
        event.record(&mut line);
        writeln!(out, "{}{}", line.message, line.fields)
    }
}

/// CoreDNS's names of levels. CoreDNS has no TRACE; such events are logged as DEBUG.
fn level_name(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

/// The message, and ` key=value` for each other field.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

/// A flat object as Go's slog writes it: `time`, `level`, `msg`, `plugin` or `target`, and the fields of the event.
struct Json {
    head: Vec<u8>,
    message: String,
    fields: Vec<u8>,
}

impl Json {
    fn new(level: &Level, target: &str) -> Self {
        let level = if *level == Level::WARN { "WARN" } else { level_name(level) };
        let head = format!("{{\"time\":\"{}\",\"level\":\"{level}\",\"msg\":", Timestamp::now()).into_bytes();
        let mut fields = Vec::new();
        let (key, name) = match target.strip_prefix("plugin/") {
            Some(plugin) => ("plugin", plugin),
            None => ("target", target),
        };
        push_key(&mut fields, key);
        json::push_string(&mut fields, name);
        Self { head, message: String::new(), fields }
    }

    fn end(mut self) -> String {
        json::push_string(&mut self.head, &self.message);
        self.head.append(&mut self.fields);
        self.head.push(b'}');
        String::from_utf8_lossy(&self.head).into_owned()
    }

    fn raw(&mut self, field: &Field, value: impl fmt::Display) {
        push_key(&mut self.fields, field.name());
        self.fields.extend_from_slice(value.to_string().as_bytes());
    }
}

impl Visit for Json {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            push_key(&mut self.fields, field.name());
            json::push_string(&mut self.fields, value);
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.raw(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.raw(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.raw(field, value);
    }
}

fn push_key(out: &mut Vec<u8>, key: &str) {
    out.push(b',');
    json::push_string(out, key);
    out.push(b':');
}

#[cfg(test)]
mod tests;
