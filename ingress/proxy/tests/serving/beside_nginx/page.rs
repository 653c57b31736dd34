//! `docs/edge-safety.md`: tables between comments with their names.

use std::path::PathBuf;
use std::sync::Mutex;

const HEAD: &str = "| request | nginx 1.22.1 | Portolan | note |\n|---|---|---|---|\n";

/// Portolan's answer is that of nginx.
const SAME: &str = "same";

/// Held while the page is read or written: tests run side by side.
static PAGE: Mutex<()> = Mutex::new(());

/// A case with both answers.
pub(super) struct Row {
    pub(super) case: String,
    pub(super) nginx: String,
    pub(super) portolan: String,
    pub(super) note: &'static str,
}

impl Row {
    fn line(&self) -> String {
        let portolan = if self.portolan == self.nginx { SAME } else { &self.portolan };
        let cells = [&self.case, &self.nginx, portolan, self.note].map(|cell| cell.replace('|', "\\|"));
        format!("| {} |", cells.join(" | "))
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/edge-safety.md")
}

/// The page before, in and after a table.
fn split(name: &str) -> (String, String, String) {
    let text = std::fs::read_to_string(path()).expect("docs/edge-safety.md is there");
    let (begin, end) = (format!("<!-- table {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("the page has {begin}"));
    let (table, after) = rest.split_once(&end).unwrap_or_else(|| panic!("the page has {end}"));
    (before.to_owned() + &begin, table.to_owned(), end + after)
}

fn lines(name: &str) -> Vec<String> {
    let _guard = PAGE.lock().unwrap();
    let (_, table, _) = split(name);
    table.lines().skip(2).map(str::to_owned).collect()
}

/// The cases of a table and what nginx has answered.
pub(super) fn recorded(name: &str) -> Vec<(String, String)> {
    let cell = |text: &str| text.trim().replace("\\|", "|");
    let row = |line: &String| {
        let line = line.strip_prefix("| ")?.replace("\\|", "\u{0}");
        let mut cells = line.split(" | ").map(|text| cell(&text.replace('\u{0}', "\\|")));
        Some((cells.next()?, cells.next()?))
    };
    lines(name).iter().filter_map(row).collect()
}

/// Writes a table.
pub(super) fn rewrite(name: &str, rows: &[Row]) {
    let _guard = PAGE.lock().unwrap();
    let (before, _, after) = split(name);
    let rows: String = rows.iter().map(|row| row.line() + "\n").collect();
    std::fs::write(path(), format!("{before}{HEAD}{rows}{after}")).expect("the page is writable");
}

/// The lines of a table that are not those of the page.
pub(super) fn differences(name: &str, rows: &[Row]) -> Vec<String> {
    let (page, rows) = (lines(name), rows.iter().map(Row::line).collect::<Vec<_>>());
    let missing =
        rows.iter().filter(|line| !page.contains(line)).map(|line| format!("not on the page: {line}"));
    let others =
        page.iter().filter(|line| !rows.contains(line)).map(|line| format!("only on the page: {line}"));
    missing.chain(others).collect()
}
