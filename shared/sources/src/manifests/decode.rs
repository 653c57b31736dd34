//! The text of a manifest file to objects.

use std::collections::BTreeSet;

use cluster::{Kind, Object};
use telemetry::Problem;

use super::documents::documents;
use super::node::{Node, Value};
use crate::decode;

/// What a file holds.
#[derive(Debug, Default)]
pub struct DecodedFile {
    /// The good objects, in the order of the file.
    pub objects: Vec<Object>,
    /// The bad documents and items, each with file and line and what was wanted.
    pub problems: Vec<Problem>,
    /// Kinds that Portolan does not read, as `apiVersion kind`.
    pub ignored: BTreeSet<String>,
}

/// Reads YAML (several documents) or JSON (several values), `List`s unfolded. A bad document hides no other. Never
/// panics, whatever the text.
pub fn decode(name: &str, text: &str) -> DecodedFile {
    let mut decoded = DecodedFile::default();
    for document in documents(name, text) {
        match document {
            Ok(node) => decoded.take(name, &node, ""),
            Err(error) => {
                decoded.problems.push(problem(name, error.line, "", &error.message, "YAML or JSON"));
            }
        }
    }
    decoded
}

impl DecodedFile {
    /// Takes an object, or the items of a list; `list` is the kind of the list that it stands in.
    fn take(&mut self, file: &str, node: &Node, list: &str) {
        if !matches!(node.value, Value::Map(_)) {
            let wanted = "an object with apiVersion, kind and metadata";
            self.problems.push(problem(file, node.line, "", "not an object", wanted));
            return;
        }
        let implied = list.strip_suffix("List").filter(|kind| !kind.is_empty());
        let Some(kind) = node.text("kind").or(implied) else {
            self.problems.push(problem(file, node.line, "kind", "missing", "the kind of object, as Service"));
            return;
        };
        if let Some(Node { value: Value::List(items), .. }) = node.get("items")
            && kind.ends_with("List")
        {
            items.iter().for_each(|item| self.take(file, item, kind));
            return;
        }
        let version = node.text("apiVersion").unwrap_or_default();
        match known(kind, version) {
            KnownKind::Read(kind) => self.read(file, node, kind),
            // Items of a typed list need not repeat it.
            KnownKind::Other(Some(kind)) if version.is_empty() && implied.is_some() => {
                self.read(file, node, kind)
            }
            KnownKind::Other(Some(kind)) => {
                let what = if version.is_empty() { "missing".into() } else { format!("{version:?}") };
                let line = node.line_of("apiVersion");
                self.problems.push(problem(file, line, "apiVersion", &what, kind.api_version()));
            }
            KnownKind::Other(None) => {
                self.ignored.insert(format!("{version} {kind}").trim_start().to_owned());
            }
        }
    }

    fn read(&mut self, file: &str, node: &Node, kind: Kind) {
        match decode::decode(kind, node) {
            Ok(Ok(found)) => self.objects.extend(found.object),
            Ok(Err(wrong)) => {
                let what =
                    if wrong.value.is_empty() { "missing".into() } else { format!("{:?}", wrong.value) };
                let line = node.line_of(&wrong.path);
                self.problems.push(problem(file, line, &wrong.path, &what, wrong.wanted));
            }
            Err(error) => {
                let (what, wanted) = error.message.split_once(", expected ").unwrap_or((&error.message, ""));
                let line = error.line.unwrap_or(node.line);
                self.problems.push(problem(file, line, &error.path(), what, wanted));
            }
        }
    }
}

enum KnownKind {
    /// A kind that is read, in its version.
    Read(Kind),
    /// Anything else; with the kind if it is a version of one that is not read.
    Other(Option<Kind>),
}

/// Which kind is meant. Other groups have kinds of the same name (Knative's `Service`), so the group counts; the group
/// `extensions` is where Ingress once was.
fn known(kind: &str, version: &str) -> KnownKind {
    let Some(kind) = Kind::ALL.into_iter().find(|known| known.name() == kind) else {
        return KnownKind::Other(None);
    };
    if version == kind.api_version() {
        return KnownKind::Read(kind);
    }
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let was = kind == Kind::Ingress && group == "extensions";
    KnownKind::Other((group == kind.group() || was || version.is_empty()).then_some(kind))
}

fn problem(file: &str, line: u32, field: &str, what: &str, wanted: &str) -> Problem {
    Problem {
        kind: "manifest".into(),
        key: format!("{file}:{}", line.max(1)),
        field: field.into(),
        what: what.into(),
        wanted: wanted.into(),
        severity: None,
    }
}

#[cfg(test)]
mod tests;
