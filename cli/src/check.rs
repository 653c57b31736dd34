//! `portolan check`: what changes if Portolan replaces CoreDNS and ingress-nginx.

mod live;

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use check::{CheckInput, ControllerFlags, FlagFinding, Outcome};

use crate::args::{self, CheckArgs, ReportFormat, UnsupportedFlag};
use crate::command_error::CommandError;
use crate::ingress::table_options;
use crate::output;
use crate::runtime::Runtime;

/// How often the progress is shown.
const PROGRESS: Duration = Duration::from_millis(100);

/// Runs the command. The exit code is that of the report: 1 if something differs, 2 if something is closed or refused.
///
/// # Errors
/// When a path does not exist (exit code 2), or the API server cannot be reached (exit code 1).
pub fn run(args: &CheckArgs) -> Result<(), CommandError> {
    let (runtime, executor, _fatal) = Runtime::start()?;
    let bar = ProgressBar::new();
    let input = if args.paths.is_empty() {
        executor.block_on(live::read(&args.access, &runtime))?
    } else {
        read_files(args, &bar).inspect_err(|_| bar.end())?
    };
    let is_whole = input.is_whole;
    let defaults = controller_flags(&args.flags, is_whole).map_err(CommandError::usage)?;
    let reader = |flags: &[String]| controller_flags(flags, is_whole);
    // Setting up a Corefile needs a runtime for its tasks.
    let _entered = executor.enter();
    let progress = |done: usize, all: usize| bar.show(done, all, "Ingresses checked");
    let report = check::check(input, defaults.options, &reader, executor.handle(), &progress);
    bar.end();
    let text = match args.format {
        ReportFormat::Text => check::output::text(&report, args.all),
        ReportFormat::Json => check::output::json(&report),
        ReportFormat::Html => check::output::html(&report),
        ReportFormat::Sarif => check::output::sarif(&report),
    };
    output::print(text);
    let code = report.exit_code();
    drop(_entered);
    executor.shutdown_background();
    if code == 0 { Ok(()) } else { Err(CommandError { message: String::new(), code }) }
}

fn read_files(args: &CheckArgs, bar: &ProgressBar) -> Result<CheckInput, CommandError> {
    let progress = |done: usize, all: usize| bar.show(done, all, "files read");
    check::read_files(&args.paths, &progress).map_err(|error| CommandError::usage(error.to_string()))
}

/// A bar of thirty characters on standard error, if that is a terminal.
struct ProgressBar {
    is_shown: bool,
    last: Mutex<Instant>,
}

impl ProgressBar {
    fn new() -> Self {
        Self { is_shown: std::io::stderr().is_terminal(), last: Mutex::new(Instant::now()) }
    }

    /// Shows how many of all are done, on the same line as before, and not too often.
    fn show(&self, done: usize, all: usize, what: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_shown && last.elapsed() >= PROGRESS {
            *last = Instant::now();
            let filled = 30 * done / all.max(1);
            let bar = "#".repeat(filled);
            output::print_error_part(format!("\r\u{1b}[K[{bar:<30}] {done} of {all} {what}"));
        }
    }

    /// Removes the bar.
    fn end(&self) {
        if self.is_shown {
            output::print_error_part("\r\u{1b}[K");
        }
    }
}

/// The flags of a controller, read as `portolan ingress` reads them.
fn controller_flags(flags: &[String], is_whole: bool) -> Result<ControllerFlags, String> {
    let args = args::read_controller_flags(flags).map_err(|error| error.message)?;
    let finding = |flag: &UnsupportedFlag| FlagFinding {
        name: flag.name.to_owned(),
        outcome: Outcome::of_level(flag.level),
        reason: flag.consequence.to_owned(),
    };
    let findings = args.unsupported.iter().map(finding).collect();
    let mut options = table_options(&args);
    // Manifests have not passed the API server, which writes the default class into Ingresses.
    options.admit_default_class = !is_whole;
    Ok(ControllerFlags { options, findings })
}
