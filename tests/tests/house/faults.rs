//! Faults: every row of the tables in docs/faults.md names tests and metrics that exist.

use crate::limits::functions;
use crate::none;
use crate::workspace::root;

#[test]
fn every_fault_names_its_tests() {
    let functions = functions();
    let page = |path: &str| std::fs::read_to_string(root().join(path)).expect("the page is there");
    let (text, metrics) = (page("docs/faults.md"), page("docs/reference/metrics.md"));
    let (mut rows, mut breaches) = (0, Vec::new());
    for line in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault |")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [fault, _, shown, tests] = cells.as_slice() else {
            breaches.push(format!("not four columns: {line}"));
            continue;
        };
        rows += 1;
        for word in shown.split('`').skip(1).step_by(2) {
            let metric = word.split('{').next().unwrap_or(word);
            let is_metric = ["coredns_", "portolan_"].iter().any(|prefix| metric.starts_with(prefix));
            if is_metric && !metrics.contains(metric) {
                breaches.push(format!("no such metric: {metric} ({fault})"));
            }
        }
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            breaches.push(format!("no test: {fault}"));
        }
        for name in named {
            let function = name.rsplit("::").next().unwrap_or(name);
            if !functions.contains(function) {
                breaches.push(format!("no such test: {name} ({fault})"));
            }
        }
    }
    assert!(rows > 30, "{rows} rows are not the tables");
    none("every fault has a test that shows it", breaches);
}
