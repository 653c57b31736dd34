//! The table of vulnerabilities in docs/security.md: each names a test that exists, and each such test is named.

use std::collections::BTreeSet;

use crate::none;
use crate::workspace::root;

/// The files with the tests, by their module.
const FILES: [(&str, &str); 2] = [
    ("cves::", "ingress/proxy/tests/serving/cves.rs"),
    ("webhook::cves::", "ingress/controller/src/webhook/cves.rs"),
];

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The tests of a file whose name begins with `cve_`.
fn tests_in(path: &str) -> Vec<String> {
    let text = read(path);
    let names = text.lines().filter_map(|line| line.split_once("fn ")?.1.split_once('('));
    names.map(|(name, _)| name.to_owned()).filter(|name| name.starts_with("cve_")).collect()
}

#[test]
fn every_vulnerability_in_the_table_has_its_test() {
    let page = read("docs/security.md");
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| CVE-")).collect();
    let mut breaches = Vec::new();
    let mut named = BTreeSet::new();
    for row in &rows {
        let cells: Vec<_> = row.split(" | ").collect();
        let cve = cells[0].trim_start_matches("| ").to_lowercase().replace('-', "_");
        let tests: Vec<_> = cells.last().unwrap_or(&"").split('`').skip(1).step_by(2).collect();
        if tests.is_empty() || cells.len() != 4 {
            breaches.push(format!("{cve}: no test, or not four cells"));
        }
        for test in tests {
            let name = test.rsplit("::").next().unwrap_or_default();
            let exists = FILES.iter().any(|(module, file)| {
                test.strip_prefix(module) == Some(name) && tests_in(file).iter().any(|known| known == name)
            });
            if !exists || !name.starts_with(&cve) {
                breaches.push(format!("{cve}: {test} does not exist or is named after another one"));
            }
            named.insert(name.to_owned());
        }
    }
    for name in FILES.iter().flat_map(|(_, file)| tests_in(file)) {
        if !named.contains(&name) {
            breaches.push(format!("{name}: not in the table"));
        }
    }
    none("the table of vulnerabilities in docs/security.md names tests that exist", breaches);
    assert!(rows.len() >= 22, "{} rows", rows.len());
}
