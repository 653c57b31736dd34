//! Limits: every row of the tables in ARCHITECTURE.md names tests that exist.

use std::collections::HashSet;

use crate::none;
use crate::workspace::{root, rust_files};

#[test]
fn every_limit_names_its_tests() {
    let functions = functions();
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let section = text.split("\n## Limits\n").nth(1).expect("a section on limits");
    let section = section.split("\n## ").next().expect("a split has a first part");
    let mut rows = 0;
    let mut breaches = Vec::new();
    for line in section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what |")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [what, _, _, _, tests] = cells.as_slice() else {
            breaches.push(format!("not five columns: {line}"));
            continue;
        };
        rows += 1;
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            breaches.push(format!("no test: {what}"));
        }
        for name in named {
            let function = name.rsplit("::").next().unwrap_or(name);
            if !functions.contains(function) {
                breaches.push(format!("no such test: {name} ({what})"));
            }
        }
    }
    assert!(rows > 50, "{rows} rows are not the tables");
    none("every limit has a test that reaches it", breaches);
}

/// The names of all test functions: those with a test attribute, and the cases of the control plane.
pub(crate) fn functions() -> HashSet<String> {
    let mut names = HashSet::new();
    for path in rust_files() {
        let text = std::fs::read_to_string(&path).expect("a source file is readable");
        let is_case = path.components().any(|part| part.as_os_str() == "control_plane");
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[") || line.starts_with("//") {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                continue;
            }
            if let Some((_, rest)) = line.split_once("fn ")
                && (is_test || is_case)
            {
                let end =
                    rest.find(|ch: char| !ch.is_ascii_alphanumeric() && ch != '_').unwrap_or(rest.len());
                names.insert(rest[..end].to_owned());
            }
            is_test = false;
        }
    }
    names
}
