//! The lines of a values file, and where its keys are.
//!
//! In block style the indentation tells where a key begins and ends, also with block scalars and multi-line texts in between: their lines
//! are indented more than the key. Keys within `{…}` and `[…]` have no lines of their own and are not found.

use std::ops::Range;

use super::path::{PathStep, ValuePath};

/// A values file by lines.
pub(super) struct Lines<'t> {
    /// The lines without their ends, without document markers and directives.
    pub(super) lines: Vec<&'t str>,
}

/// A key or list item in block style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its lines, with those of its value; empty lines and comments after it are not part of it.
    pub(super) lines: Range<usize>,
    /// The column of the key or of the dash.
    pub(super) column: usize,
    /// Whether it is a key that follows a dash on its line.
    pub(super) follows_dash: bool,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        // A marker is replaced rather than removed, so that lines keep their numbers.
        let is_marker =
            |line: &str| line.trim_end() == "---" || line.trim_end() == "..." || line.starts_with('%');
        Self { lines: text.lines().map(|line| if is_marker(line) { "" } else { line }).collect() }
    }

    /// The entry at a path; `None` if it is not in block style, or at the root.
    pub(super) fn locate(&self, path: &ValuePath) -> Option<Entry> {
        // Dashes of the items on the way become spaces, so that the first key of an item looks like the others.
        let mut lines: Vec<String> = self.lines.iter().map(|line| (*line).to_owned()).collect();
        let mut within = 0..lines.len();
        let mut found = None;
        for step in &path.0 {
            let column = within.clone().find_map(|number| content_column(&lines[number]))?;
            let entry = find(&lines, within, column, step)?;
            let first = entry.lines.start;
            within = match step {
                PathStep::Key(_) => first + 1..entry.lines.end,
                PathStep::Item(_) => {
                    lines[first].replace_range(column..=column, " ");
                    entry.lines.clone()
                }
            };
            let follows_dash =
                self.lines[first].as_bytes().get(..column).is_some_and(|start| start.contains(&b'-'));
            found = Some(Entry { follows_dash, ..entry });
        }
        found
    }
}

/// Finds a key or an item at a column.
fn find(lines: &[String], within: Range<usize>, column: usize, step: &PathStep) -> Option<Entry> {
    let begins = |number: &usize| content_column(&lines[*number]) == Some(column);
    let is_item = |number: &usize| is_dash(&lines[*number][column..]);
    let start = match step {
        PathStep::Key(key) => {
            within.clone().filter(begins).find(|number| has_key(&lines[*number][column..], key))?
        }
        PathStep::Item(index) => within.clone().filter(begins).filter(is_item).nth(*index)?,
    };
    let ends = |number: &usize| {
        let Some(at) = content_column(&lines[*number]) else { return false };
        // Items may be as far left as the key whose list they are in.
        let is_own_item = matches!(step, PathStep::Key(_)) && at == column && is_dash(&lines[*number][at..]);
        at <= column && !is_own_item
    };
    let mut end = (start + 1..within.end).find(ends).unwrap_or(within.end);
    let is_after = |line: &str| {
        let text = line.trim_start();
        text.is_empty() || text.starts_with('#') && line.len() - text.len() <= column
    };
    while end > start + 1 && is_after(&lines[end - 1]) {
        end -= 1;
    }
    Some(Entry { lines: start..end, column, follows_dash: false })
}

/// The column of the first character of a line; `None` for empty lines and comments.
fn content_column(line: &str) -> Option<usize> {
    let text = line.trim_start_matches(' ');
    (!text.trim().is_empty() && !text.starts_with('#')).then(|| line.len() - text.len())
}

fn is_dash(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

fn has_key(text: &str, key: &str) -> bool {
    let quoted = [format!("\"{key}\""), format!("'{key}'")];
    let rest = text
        .strip_prefix(key)
        .or_else(|| quoted.iter().find_map(|quoted| text.strip_prefix(quoted.as_str())));
    let value = rest.and_then(|rest| rest.trim_start().strip_prefix(':'));
    value.is_some_and(|value| value.is_empty() || value.starts_with([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# About the file.
---
controller:
  # A comment above.
  image:
    tag: v1
    # Its last line.

  \"config\":
    a: |
      tag: not a key
    b: 'two
      lines'
# At the end.
servers:
- port: 53
  plugins:
    - name: errors
    - name: rewrite
      parameters: a b
    - name: log
flow: { a: 1 }
";

    #[test]
    fn keys_and_items_are_found_by_their_indentation() {
        let lines = Lines::new(TEXT);
        let key = |path: &str| ValuePath::of(path);
        let plugins = key("servers").item(0).key("plugins");
        for (path, wanted) in [
            (key("controller"), Some((2, 13, 0, false))),
            (key("controller.image"), Some((4, 7, 2, false))),
            (key("controller.image.tag"), Some((5, 6, 4, false))),
            (key("controller.config.a"), Some((9, 11, 4, false))),
            (key("controller.config.b"), Some((11, 13, 4, false))),
            (key("controller.config.tag"), None),
            (key("servers"), Some((14, 21, 0, false))),
            (key("servers").item(0), Some((15, 21, 0, false))),
            (key("servers").item(0).key("port"), Some((15, 16, 2, true))),
            (plugins.item(1), Some((18, 20, 4, false))),
            (plugins.item(1).key("name"), Some((18, 19, 6, true))),
            (plugins.item(1).key("parameters"), Some((19, 20, 6, false))),
            (plugins.item(3), None),
            (key("flow"), Some((21, 22, 0, false))),
            (key("flow.a"), None),
        ] {
            let found = lines
                .locate(&path)
                .map(|entry| (entry.lines.start, entry.lines.end, entry.column, entry.follows_dash));
            assert_eq!(found, wanted, "{path}");
        }
    }
}
