//! Decodes the text of a manifest file into objects.

use std::collections::{BTreeSet, HashMap};

use cluster::{Key, Kind, Object};
use telemetry::Problem;

use super::documents::{DocumentError, for_each_document, with_large_stack};
use super::node::{Node, Value};
use crate::decode::{self, InvalidField, shorten};

/// Problems that are reported of one file. A file that is not a manifest at all may have thousands.
const MAX_PROBLEMS: usize = 100;

/// Kinds of one file that are reported as not read.
const MAX_IGNORED: usize = 100;

/// The objects of a file, and its problems.
#[derive(Debug, Default)]
pub struct DecodedFile {
    /// The valid objects, in the order of the file.
    pub objects: Vec<Object>,
    /// Invalid documents, items and fields, each with file, line and what was expected. At most 100, and then one that says
    /// that there are more.
    pub problems: Vec<Problem>,
    /// Whether an object could not be decoded. It may be any of the objects that the file contained before.
    pub incomplete: bool,
    /// Kinds that Portolan does not read, as `apiVersion kind`; at most 100.
    pub ignored: BTreeSet<String>,
}

/// Decodes YAML (several documents) or JSON (several values), including `List`s. An invalid document does
/// not affect others. Never panics.
pub fn decode(name: &str, text: &str) -> DecodedFile {
    with_large_stack(|| {
        let mut reader = Reader { file: name, decoded: DecodedFile::default(), lines: HashMap::new() };
        for_each_document(name, text, |document| match document {
            Ok(node) => reader.decode(&node, ""),
            Err(DocumentError { line, message }) => reader.reject(line, "", &message, "YAML or JSON"),
        });
        reader.decoded
    })
    .unwrap_or_else(|message| {
        let problems = vec![problem(name, 1, "", &message, "")];
        DecodedFile { problems, incomplete: true, ..DecodedFile::default() }
    })
}

/// Decodes the documents of one file.
struct Reader<'a> {
    file: &'a str,
    decoded: DecodedFile,
    /// The line of each object.
    lines: HashMap<(Kind, Key), u32>,
}

impl Reader<'_> {
    /// Decodes an object, or the items of a list. `list` is the kind of the list that the object is an item of.
    fn decode(&mut self, node: &Node, list: &str) {
        if !matches!(node.value, Value::Map(_)) {
            return self.reject(
                node.line,
                "",
                "not an object",
                "an object with apiVersion, kind and metadata",
            );
        }
        let implied = list.strip_suffix("List").filter(|kind| !kind.is_empty());
        let Some(kind) = node.text("kind").or(implied) else {
            return self.reject(node.line, "kind", "missing", "the kind of object, such as Service");
        };
        if let Some(items) = node.get("items")
            && let Some(of) = kind.strip_suffix("List")
        {
            match &items.value {
                Value::List(items) => return items.iter().for_each(|item| self.decode(item, kind)),
                Value::Null => return,
                _ if of.is_empty() || known_name(of).is_some() => {
                    return self.reject(items.line, "items", "not a list", "a list of objects");
                }
                _ => {}
            }
        }
        let version = node.text("apiVersion").unwrap_or_default();
        match known(kind, version) {
            KnownKind::Read(kind) => self.read(node, kind),
            // Items of a typed list may omit it.
            KnownKind::Other(Some(kind)) if version.is_empty() && implied.is_some() => self.read(node, kind),
            KnownKind::Other(Some(kind)) => {
                let what =
                    if version.is_empty() { "missing".into() } else { format!("{:?}", shorten(version)) };
                self.reject(node.line_of("apiVersion"), "apiVersion", &what, kind.api_version());
            }
            KnownKind::Other(None) if self.decoded.ignored.len() < MAX_IGNORED => {
                let name = format!("{version} {kind}");
                self.decoded.ignored.insert(shorten(name.trim_start()).into_owned());
            }
            KnownKind::Other(None) => {}
        }
    }

    fn read(&mut self, node: &Node, kind: Kind) {
        let (invalid, line) = match decode::decode(kind, node) {
            Ok(Ok(found)) => {
                for InvalidField { path, what, wanted } in found.defects {
                    self.report(node.line_of(&path), &path, &what, &wanted);
                }
                let line = node.line.max(1);
                if let Some(first) = self.lines.insert((kind, found.key.clone()), line)
                    && found.object.is_some()
                {
                    let what =
                        format!("{kind} {} is in this file twice; line {first} has no effect", found.key);
                    self.report(line, "", &what, "each object once");
                }
                return self.decoded.objects.extend(found.object);
            }
            Ok(Err(invalid)) => {
                let line = node.line_of(&invalid.path);
                (invalid, line)
            }
            Err(error) => {
                let path = shorten(&error.path()).into_owned();
                let line = error.line.unwrap_or(node.line);
                (InvalidField { path, ..InvalidField::of_error(&error.message) }, line)
            }
        };
        self.reject(line, &invalid.path, &invalid.what, &invalid.wanted);
    }

    /// Reports an object that cannot be used.
    fn reject(&mut self, line: u32, field: &str, what: &str, wanted: &str) {
        self.decoded.incomplete = true;
        self.report(line, field, what, wanted);
    }

    fn report(&mut self, line: u32, field: &str, what: &str, wanted: &str) {
        let problem = match self.decoded.problems.len() {
            0..MAX_PROBLEMS => problem(self.file, line, field, &shorten(what), wanted),
            MAX_PROBLEMS => problem(self.file, line, "", "more problems from here on are not listed", ""),
            _ => return,
        };
        self.decoded.problems.push(problem);
    }
}

enum KnownKind {
    /// A kind that is read, in the version that is read.
    Read(Kind),
    /// Anything else; with the kind if it is another version of one that is read.
    Other(Option<Kind>),
}

/// Finds the kind of an object. Other groups have kinds of the same name (Knative's `Service`), so the group matters.
/// Ingress was once in the group `extensions`.
fn known(kind: &str, version: &str) -> KnownKind {
    let Some(kind) = known_name(kind) else { return KnownKind::Other(None) };
    if version == kind.api_version() {
        return KnownKind::Read(kind);
    }
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let was = kind == Kind::Ingress && group == "extensions";
    KnownKind::Other((group == kind.group() || was || version.is_empty()).then_some(kind))
}

fn known_name(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.name() == name)
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
