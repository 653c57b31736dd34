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
    let input = if args.paths.is_empty() {
        executor.block_on(live::read(&args.access, &runtime))?
    } else {
        read_files(args)?
    };
    let is_whole = input.is_whole;
    let defaults = controller_flags(&args.flags, is_whole).map_err(CommandError::usage)?;
    let reader = |flags: &[String]| controller_flags(flags, is_whole);
    // Setting up a Corefile needs a runtime for its tasks.
    let _entered = executor.enter();
    let report = check::check(input, defaults.options, &reader, executor.handle());
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

fn read_files(args: &CheckArgs) -> Result<CheckInput, CommandError> {
    let is_shown = std::io::stderr().is_terminal();
    let shown = Mutex::new(Instant::now());
    let progress = |done: usize, all: usize| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        if is_shown && shown.elapsed() >= PROGRESS {
            *shown = Instant::now();
            eprint_progress(done, all);
        }
    };
    let input =
        check::read_files(&args.paths, &progress).map_err(|error| CommandError::usage(error.to_string()));
    if is_shown {
        output::print_error_part("\r\u{1b}[K");
    }
    input
}

/// A bar of thirty characters with the number of files, on the same line as the one before.
fn eprint_progress(done: usize, all: usize) {
    let filled = 30 * done / all.max(1);
    output::print_error_part(format!("\r[{:<30}] {done} of {all} files", "#".repeat(filled)));
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
