//! The numbers of cases in docs/security.md are those of the tables in docs/edge-safety.md, which tests of the proxy compare.

use crate::none;
use crate::workspace::root;

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The anchor of a heading and the number of cases below it.
fn sections(page: &str) -> Vec<(String, usize)> {
    let sections = page.split("\n## ").skip(1);
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|char| char.is_alphanumeric() || *char == '-').collect()
    };
    let is_case = |line: &&str| line.starts_with("| ") && !line.starts_with("| request |");
    sections
        .map(|section| {
            (anchor(section.lines().next().unwrap_or_default()), section.lines().filter(is_case).count())
        })
        .collect()
}

#[test]
fn the_security_page_has_the_numbers_of_cases() {
    let sections = sections(&read("docs/edge-safety.md"));
    let security = read("docs/security.md");
    let mut breaches = Vec::new();
    for (anchor, cases) in &sections {
        let link = format!("(edge-safety.md#{anchor})");
        let row = security.lines().find(|line| line.starts_with("| ") && line.contains(&link));
        let number = row.and_then(|row| row.split(" | ").nth(1)?.parse().ok());
        if number != Some(*cases) {
            breaches.push(format!("{anchor}: {cases} cases, and the row of docs/security.md has {number:?}"));
        }
    }
    none("docs/security.md has a row with the number of cases for each table", breaches);
    let all: usize = sections.iter().map(|(_, cases)| cases).sum();
    assert!(sections.len() == 5 && all >= 500, "{sections:?}");
}
