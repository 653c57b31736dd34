//! What ingress-nginx answers, as data, against `portolan ingress` and a real API server.
//!
//! `tests/conformance/ingress/expected-failures.txt` lists the cases that do not pass yet, each with the reason; a case in it
//! that passes is an error, so that the list stays true.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tests::conformance::{self, ConformanceCase};
use tests::runner::Selection;
use tests::stage::Stage;
use tests::{namespace, programs};

/// How long a change may take to be visible.
const SETTLE: Duration = Duration::from_secs(5);
const EXPECTED_FAILURE_SETTLE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let selection = match Selection::from_arguments() {
        Ok(selection) => selection,
        Err(code) => return code,
    };
    match run(&selection) {
        Ok(code) => code,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(selection: &Selection) -> Result<ExitCode, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/ingress");
    let cases = conformance::load(&folder)?;
    let expected_failures = expected_failures(&folder.join("expected-failures.txt"), &cases)?;
    let selected: Vec<&ConformanceCase> = cases.iter().filter(|case| selection.selects(&case.id)).collect();
    if selection.lists() {
        selected.iter().for_each(|case| println!("{}: test", case.id));
        return Ok(ExitCode::SUCCESS);
    }
    if std::env::var_os("PORTOLAN_TESTS").is_some_and(|value| value == "local") {
        println!("SKIPPED: {} tests: PORTOLAN_TESTS=local: no real control plane", selected.len());
        return Ok(ExitCode::SUCCESS);
    }

    let (cluster, portolan) = (programs::cluster()?, programs::portolan()?);
    namespace::enter()?;
    let stage = Stage::start(&cluster, &portolan);
    println!("\nrunning {} tests", selected.len());
    let (mut passed, mut failed, mut expected) = (0, Vec::new(), 0);
    for case in selected {
        let start = Instant::now();
        let reason = expected_failures.get(&case.id);
        // A case that is expected to fail would use all of the time.
        let settle = if reason.is_some() { EXPECTED_FAILURE_SETTLE } else { SETTLE };
        let outcome = conformance::run(&stage, case, settle).map_err(|problem| problem.replace('\n', " "));
        let took = start.elapsed();
        match (outcome, reason) {
            (Ok(()), None) => {
                passed += 1;
                println!("test {} ... ok ({took:.2?})", case.id);
            }
            (Ok(()), Some(_)) => {
                failed.push(case.id.as_str());
                println!(
                    "test {} ... FAILED: passes; remove it from expected-failures.txt ({took:.2?})",
                    case.id
                );
            }
            (Err(problem), Some(reason)) => {
                expected += 1;
                println!("test {} ... ignored, {reason}: {problem} ({took:.2?})", case.id);
            }
            (Err(problem), None) => {
                failed.push(case.id.as_str());
                println!("test {} ... FAILED: {problem} ({took:.2?})", case.id);
            }
        }
    }
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; {expected} ignored (not built yet)",
        failed.len()
    );
    failed.iter().for_each(|id| println!("    {id}"));
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Case and reason of each line `ID REASON`.
fn expected_failures(path: &Path, cases: &[ConformanceCase]) -> Result<BTreeMap<String, String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (id, reason) = line.split_once(' ').ok_or_else(|| format!("{line:?} has no reason"))?;
            match cases.iter().any(|case| case.id == id) {
                true => Ok((id.to_owned(), reason.trim().to_owned())),
                false => Err(format!("{}: no case {id}", path.display())),
            }
        })
        .collect()
}
