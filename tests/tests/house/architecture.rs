//! Reads ARCHITECTURE.md: the floors table and the sentence that names the quiet crates.

use crate::workspace::root;

/// One row of the floors table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) floor: u32,
    pub(crate) name: String,
    pub(crate) folder: String,
    pub(crate) holds: String,
}

/// The rows of `| floor | crate (folder) | holds |`.
pub(crate) fn floors() -> Vec<Row> {
    rows(&["floor", "crate (folder)", "holds"]).iter().map(|line| row(line)).collect()
}

/// The rows of the table with these column heads, as they are written.
pub(crate) fn rows(head: &[&str]) -> Vec<String> {
    let text = text();
    let mut lines = text.lines().skip_while(|line| cells(line) != head);
    assert!(lines.next().is_some(), "ARCHITECTURE.md has a table headed `| {} |`", head.join(" | "));
    lines.skip(1).take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

/// The crates in the sentence "`a`, `b` and `c` are **quiet**".
pub(crate) fn quiet() -> Vec<String> {
    let text = text();
    let (before, _) = text.split_once("are **quiet**").expect("a sentence says which crates are **quiet**");
    let sentence = before.rsplit("\n\n").next().expect("a split has a last part");
    sentence.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn text() -> String {
    std::fs::read_to_string(root().join("ARCHITECTURE.md"))
        .expect("ARCHITECTURE.md is at the top of the checkout")
}

fn row(line: &str) -> Row {
    let cells = cells(line);
    let read = || {
        let [floor, place, holds] = cells.as_slice() else { return None };
        let (name, folder) = place.strip_prefix('`')?.split_once("` (")?;
        Some(Row {
            floor: floor.parse().ok()?,
            name: name.to_owned(),
            folder: folder.strip_suffix(')')?.trim_end_matches('/').to_owned(),
            holds: (*holds).to_owned(),
        })
    };
    read().unwrap_or_else(|| panic!("a floors row reads | 0 | `name` (folder/) | words |, not {line}"))
}

fn cells(line: &str) -> Vec<&str> {
    line.trim().trim_matches('|').split('|').map(str::trim).collect()
}
