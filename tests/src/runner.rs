//! A sequential test runner with a shared test environment (stage). Its output has libtest's format.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// A test case that runs on the stage `S`. Its name is the statement that it proves.
pub struct Case<S> {
    /// `file::statement`
    pub name: &'static str,
    /// Panics if the case fails.
    pub run: fn(&mut S),
}

/// A list of [`Case`]s from function paths. The path is the name.
#[macro_export]
macro_rules! cases {
    ($($path:path),* $(,)?) => {
        &[$($crate::runner::Case { name: stringify!($path), run: $path }),*]
    };
}

/// The supported part of libtest's command line: which cases to run or list.
#[derive(Debug, Default, PartialEq)]
pub struct Selection {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
}

impl Selection {
    /// The selection by the arguments of this process. An error is printed, and is the exit code.
    pub fn from_arguments() -> Result<Selection, ExitCode> {
        Selection::parse(std::env::args().skip(1)).map_err(|problem| {
            eprintln!("error: {problem}");
            ExitCode::from(2)
        })
    }

    /// Parses libtest's arguments. Those for threads, colours and output are accepted without effect.
    fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Selection, String> {
        let mut selection = Selection::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let (flag, value) = match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value.to_owned())),
                _ => (argument, None),
            };
            let mut value =
                || value.clone().or_else(|| arguments.next()).ok_or(format!("{flag} requires a value"));
            match flag.as_str() {
                "--list" => selection.list = true,
                "--exact" => selection.exact = true,
                "--skip" => selection.skip.push(value()?),
                "--test-threads" | "--color" | "--format" | "-Z" => _ = value()?,
                "--nocapture" | "--no-capture" | "--quiet" | "-q" | "--show-output" | "--include-ignored" => {
                }
                flag if flag.starts_with('-') => return Err(format!("unknown argument {flag}")),
                _ => selection.filters.push(flag),
            }
        }
        Ok(selection)
    }

    /// Whether the cases are only listed.
    pub fn lists(&self) -> bool {
        self.list
    }

    /// Whether a case of this name is to be run.
    pub fn selects(&self, name: &str) -> bool {
        let matches =
            |pattern: &String| if self.exact { name == pattern } else { name.contains(pattern.as_str()) };
        (self.filters.is_empty() || self.filters.iter().any(matches)) && !self.skip.iter().any(matches)
    }
}

/// Runs the selected cases. `start_stage` creates the stage; if it fails, all cases fail. `before_each` prepares the stage
/// for the next case.
pub fn run<S>(
    cases: &[Case<S>],
    selection: &Selection,
    start_stage: impl FnOnce() -> Result<S, String>,
    mut before_each: impl FnMut(&mut S),
) -> ExitCode {
    let selected: Vec<&Case<S>> = cases.iter().filter(|case| selection.selects(case.name)).collect();
    let filtered_out = cases.len() - selected.len();
    if selection.list {
        selected.iter().for_each(|case| println!("{}: test", case.name));
        println!("\n{} tests, 0 benchmarks", selected.len());
        return ExitCode::SUCCESS;
    }
    println!("\nrunning {} tests", selected.len());
    if selected.is_empty() {
        println!("\n{}", result_line(0, &[], 0, filtered_out, Instant::now()));
        return ExitCode::SUCCESS;
    }

    let start = Instant::now();
    let mut failed: Vec<&str> = Vec::new();
    let started = catch_panic(start_stage).and_then(|started| started);
    let missing =
        started.as_ref().err().map(|missing| format!("the test environment cannot be started: {missing}"));
    let mut stage = started.ok();
    missing.iter().for_each(|missing| eprintln!("{missing}"));
    for case in &selected {
        let case_start = Instant::now();
        let outcome = match &mut stage {
            None => Err("no test environment".to_owned()),
            Some(stage) => catch_panic(|| {
                before_each(stage);
                (case.run)(stage);
            }),
        };
        let outcome_word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("test {} ... {outcome_word} ({:.2?})", case.name, case_start.elapsed());
        if outcome.is_err() {
            failed.push(case.name);
        }
    }
    drop(stage);

    if !failed.is_empty() {
        println!("\nfailures:\n    {}", failed.join("\n    "));
        missing.iter().for_each(|missing| println!("\n{missing}"));
    }
    println!("\n{}", result_line(selected.len() - failed.len(), &failed, 0, filtered_out, start));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs no cases: reports the selected ones as ignored, with the reason.
pub fn skip_all<S>(cases: &[Case<S>], selection: &Selection, reason: &str) -> ExitCode {
    let selected: Vec<&Case<S>> = cases.iter().filter(|case| selection.selects(case.name)).collect();
    println!("\nrunning {} tests", selected.len());
    selected.iter().for_each(|case| println!("test {} ... ignored, {reason}", case.name));
    let filtered_out = cases.len() - selected.len();
    println!("\n{}", result_line(0, &[], selected.len(), filtered_out, Instant::now()));
    println!("SKIPPED: {} tests: {reason}", selected.len());
    ExitCode::SUCCESS
}

/// Converts a panic into an error. The panic hook has already printed its message.
pub fn catch_panic<T>(action: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(action)).map_err(|payload: Box<dyn Any + Send>| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })
}

fn result_line(
    passed: usize,
    failed: &[&str],
    ignored: usize,
    filtered_out: usize,
    start: Instant,
) -> String {
    let outcome_word = if failed.is_empty() { "ok" } else { "FAILED" };
    format!(
        "test result: {outcome_word}. {passed} passed; {} failed; {ignored} ignored; 0 measured; {filtered_out} filtered out; \
         finished in {:.2}s\n",
        failed.len(),
        start.elapsed().as_secs_f64()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Selection, String> {
        Selection::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_command_line_is_that_of_libtest() {
        for (line, name, taken) in [
            ("", "dns::a", true),
            ("dns", "dns::a", true),
            ("http", "dns::a", false),
            ("http dns", "dns::a", true),
            ("--exact dns", "dns::a", false),
            ("--exact dns::a", "dns::a", true),
            ("--skip dns::a", "dns::a", false),
            ("--skip=dns::b --test-threads 1 --nocapture", "dns::a", true),
        ] {
            assert_eq!(parse(line).unwrap().selects(name), taken, "{line:?} on {name}");
        }
        assert!(parse("--list").unwrap().list);
        assert_eq!(parse("--frobnicate"), Err("unknown argument --frobnicate".to_owned()));
        assert_eq!(parse("--skip"), Err("--skip requires a value".to_owned()));
    }
}
