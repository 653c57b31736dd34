//! Writes the new values file: the given text with some keys made comments, and for coredns below `dns`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::DNS;
use super::lines::{Entry, Lines};
use super::outcome::Finding;
use super::path::ValuePath;

/// The first lines of a file that was one of coredns.
const DNS_HEAD: &str = "controller:\n  enabled: false\ndns:\n  enabled: true\n";

/// A new values file.
pub(super) struct Rewritten {
    pub(super) text: String,
    pub(super) notes: Vec<String>,
}

/// An edit of an entry.
enum Edit {
    /// It becomes a comment below the reasons.
    CommentOut(Vec<String>),
    /// Its value becomes this one, on one line.
    Replace(Value),
}

/// Writes the file. `values` are Portolan's, with the keys of coredns already below `dns`.
pub(super) fn rewrite(lines: &Lines<'_>, values: &Value, findings: &[Finding], is_dns: bool) -> Rewritten {
    let removed = removed(values, findings);
    let mut wanted = values.clone();
    // The last items first: the others keep their positions.
    removed.keys().rev().for_each(|path| path.remove_from(&mut wanted));
    if is_dns {
        wanted["controller"] = json!({ "enabled": false });
        if !wanted[DNS].is_object() {
            wanted[DNS] = json!({});
        }
        wanted[DNS]["enabled"] = json!(true);
    }
    let text = edits(lines, values, &removed, is_dns).map(|edits| apply(lines, &edits, is_dns));
    let is_faithful =
        |text: &String| serde_saphyr::from_str::<Value>(text).is_ok_and(|read| same(&read, &wanted));
    match text.filter(is_faithful) {
        Some(text) => Rewritten { text, notes: Vec::new() },
        None => Rewritten {
            text: format!("{wanted:#}\n"),
            notes: vec![
                "the file could not be edited in place: it is written anew, as JSON, without comments"
                    .to_owned(),
            ],
        },
    }
}

/// What is left out, with the reasons. A map or list of which nothing would be left is left out as a whole: empty, it would
/// replace the defaults of the chart.
fn removed(values: &Value, findings: &[Finding]) -> BTreeMap<ValuePath, Vec<String>> {
    let mut removed: BTreeMap<ValuePath, Vec<String>> = BTreeMap::new();
    for finding in findings {
        if let Some(path) = finding.removed.as_ref().filter(|path| path.get(values).is_some()) {
            let reason = format!("{}: {}: {}", finding.outcome.name(), finding.path, finding.reason);
            removed.entry(path.clone()).or_default().push(reason);
        }
    }
    loop {
        let parents: BTreeSet<ValuePath> = removed.keys().filter_map(ValuePath::parent).collect();
        let emptied = parents.into_iter().find(|parent| {
            let is_removed = |path: ValuePath| removed.contains_key(&path);
            !parent.0.is_empty()
                && match parent.get(values) {
                    Some(Value::Object(fields)) => fields.keys().all(|key| is_removed(parent.key(key))),
                    Some(Value::Array(items)) => (0..items.len()).all(|index| is_removed(parent.item(index))),
                    _ => false,
                }
        });
        let Some(parent) = emptied else { return removed };
        let below: Vec<ValuePath> =
            removed.keys().filter(|path| path.parent().as_ref() == Some(&parent)).cloned().collect();
        let reasons = below.iter().filter_map(|path| removed.remove(path)).flatten().collect();
        removed.insert(parent, reasons);
    }
}

/// The edits by their first line; `None` if a key cannot be edited where it is.
fn edits(
    lines: &Lines<'_>,
    values: &Value,
    removed: &BTreeMap<ValuePath, Vec<String>>,
    is_dns: bool,
) -> Option<Vec<(Entry, Edit)>> {
    let in_file = |path: &ValuePath| if is_dns { path.without_first() } else { path.clone() };
    let mut edits: BTreeMap<ValuePath, (Entry, Edit)> = BTreeMap::new();
    for (path, reasons) in removed {
        let entry = lines.locate(&in_file(path));
        if let Some(entry) = entry.filter(|entry| !entry.follows_dash) {
            edits.insert(path.clone(), (entry, Edit::CommentOut(reasons.clone())));
            continue;
        }
        // The smallest block around it that has lines of its own is written anew.
        let mut around = path.parent()?;
        let entry = loop {
            match lines.locate(&in_file(&around)) {
                Some(entry) if !entry.follows_dash && around.get(values).is_some() => break entry,
                _ => around = around.parent()?,
            }
        };
        let mut value = around.get(values)?.clone();
        for path in removed.keys().rev() {
            if let Some(below) = path.0.strip_prefix(&around.0[..]) {
                ValuePath(below.to_vec()).remove_from(&mut value);
            }
        }
        edits.insert(around, (entry, Edit::Replace(value)));
    }
    let is_inside = |one: &Entry, other: &Entry| {
        one != other && other.lines.start <= one.lines.start && one.lines.end <= other.lines.end
    };
    let all: Vec<Entry> = edits.values().map(|(entry, _)| entry.clone()).collect();
    let mut edits: Vec<_> =
        edits.into_values().filter(|(entry, _)| !all.iter().any(|other| is_inside(entry, other))).collect();
    edits.sort_by_key(|(entry, _)| entry.lines.start);
    Some(edits)
}

fn apply(lines: &Lines<'_>, edits: &[(Entry, Edit)], is_dns: bool) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut edits = edits.iter().peekable();
    let mut number = 0;
    while number < lines.lines.len() {
        let line = lines.lines[number];
        let Some((entry, edit)) = edits.next_if(|(entry, _)| entry.lines.start == number) else {
            out.push(line.to_owned());
            number += 1;
            continue;
        };
        let indent = &line[..entry.column];
        match edit {
            Edit::CommentOut(reasons) => {
                out.extend(reasons.iter().map(|reason| format!("{indent}# {reason}")));
                for line in &lines.lines[entry.lines.clone()] {
                    let text = line.get(entry.column..).unwrap_or_default();
                    out.push(format!("{indent}# {text}").trim_end().to_owned());
                }
            }
            Edit::Replace(value) => {
                let is_item = line[entry.column..].starts_with("- ");
                let (key, _) = line[entry.column..].split_once(':').unwrap_or_default();
                out.push(if is_item {
                    format!("{indent}- {value}")
                } else {
                    format!("{indent}{key}: {value}")
                });
            }
        }
        number = entry.lines.end;
    }
    let mut text = String::new();
    if is_dns {
        text += DNS_HEAD;
    }
    for line in out {
        if is_dns && !line.trim().is_empty() {
            text += "  ";
        }
        text += &line;
        text.push('\n');
    }
    text
}

/// Whether two values are the same to Helm: an emptied file is a map without keys.
fn same(read: &Value, wanted: &Value) -> bool {
    read == wanted || read.is_null() && wanted.as_object().is_some_and(serde_json::Map::is_empty)
}
