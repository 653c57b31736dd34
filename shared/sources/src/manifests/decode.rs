//! Decodes the text of a manifest file into objects.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cluster::{Key, Kind, Object};
use telemetry::Problem;

use super::documents::{DocumentError, for_each_document, with_large_stack};
use super::node::{DocumentNode, Value};
use super::object::ManifestObject;
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
    /// Objects that could not be decoded. Each may be any of the objects that the file contained before.
    pub undecoded: UndecodedObjects,
    /// Kinds that Portolan does not read, as `apiVersion kind`; at most 100.
    pub ignored: BTreeSet<String>,
}

/// The kinds of a file of which an object could not be decoded, each with the place and name of the first such object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UndecodedObjects {
    kinds: BTreeMap<Kind, String>,
    /// The first object whose kind is not known: it may be of any kind.
    any_kind: Option<String>,
}

impl UndecodedObjects {
    fn add(&mut self, kind: Option<Kind>, object: String) {
        match kind {
            Some(kind) => {
                self.kinds.entry(kind).or_insert(object);
            }
            None => {
                self.any_kind.get_or_insert(object);
            }
        }
    }

    /// Whether all objects were decoded.
    pub fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.any_kind.is_none()
    }

    /// The first object that is, or may be, of this kind: `shop.yaml:3 (Ingress shop/web)`.
    pub fn of(&self, kind: Kind) -> Option<&str> {
        self.kinds.get(&kind).or(self.any_kind.as_ref()).map(String::as_str)
    }
}

/// Decodes YAML (several documents) or JSON (several values), including `List`s. An invalid document does
/// not affect others. Never panics.
pub fn decode(name: &str, text: &str) -> DecodedFile {
    decode_objects(name, text, |_| {})
}

/// As [`decode()`], and passes each object as it is written to `each`, also those of kinds that are not read.
pub fn decode_objects(
    name: &str,
    text: &str,
    mut each: impl FnMut(ManifestObject<'_>) + Send,
) -> DecodedFile {
    with_large_stack(|| {
        let (decoded, lines) = (DecodedFile::default(), HashMap::new());
        let mut reader = Reader { file: name, decoded, lines, each: &mut each };
        for_each_document(name, text, |document| match document {
            Ok(node) => reader.decode(&node, ""),
            Err(DocumentError { line, message }) => reader.reject(line, "", &message, "YAML or JSON"),
        });
        reader.decoded
    })
    .unwrap_or_else(|message| {
        let problems = vec![problem(name, 1, "", &message, "")];
        let mut undecoded = UndecodedObjects::default();
        undecoded.add(None, format!("{name}:1"));
        DecodedFile { problems, undecoded, ..DecodedFile::default() }
    })
}

/// Decodes the documents of one file.
struct Reader<'a> {
    file: &'a str,
    decoded: DecodedFile,
    /// The line of each object.
    lines: HashMap<(Kind, Key), u32>,
    /// Receives each object.
    each: &'a mut (dyn FnMut(ManifestObject<'_>) + Send),
}

impl Reader<'_> {
    /// Decodes an object, or the items of a list. `list` is the kind of the list that the object is an item of.
    fn decode(&mut self, node: &DocumentNode, list: &str) {
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
                    let (what, wanted) = ("not a list", "a list of objects");
                    return match known_name(of) {
                        Some(of) => self.reject_object(of, node, items.line, "items", what, wanted),
                        None => self.reject(items.line, "items", what, wanted),
                    };
                }
                _ => {}
            }
        }
        (self.each)(ManifestObject(node));
        let version = node.text("apiVersion").unwrap_or_default();
        match known(kind, version) {
            KnownKind::Read(kind) => self.read(node, kind),
            // Items of a typed list may omit it.
            KnownKind::Other(Some(kind)) if version.is_empty() && implied.is_some() => self.read(node, kind),
            KnownKind::Other(Some(kind)) => {
                let what =
                    if version.is_empty() { "missing".into() } else { format!("{:?}", shorten(version)) };
                let line = node.line_of("apiVersion");
                self.reject_object(kind, node, line, "apiVersion", &what, kind.api_version());
            }
            KnownKind::Other(None) if self.decoded.ignored.len() < MAX_IGNORED => {
                let name = format!("{version} {kind}");
                self.decoded.ignored.insert(shorten(name.trim_start()).into_owned());
            }
            KnownKind::Other(None) => {}
        }
    }

    fn read(&mut self, node: &DocumentNode, kind: Kind) {
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
        self.reject_object(kind, node, line, &invalid.path, &invalid.what, &invalid.wanted);
    }

    /// Reports an object that cannot be used.
    fn reject_object(
        &mut self,
        kind: Kind,
        node: &DocumentNode,
        line: u32,
        field: &str,
        what: &str,
        wanted: &str,
    ) {
        let object = name_of(kind, node);
        self.decoded.undecoded.add(Some(kind), format!("{}:{} ({object})", self.file, line.max(1)));
        let field = if field.is_empty() { object } else { format!("{object}: {field}") };
        self.report(line, &field, what, wanted);
    }

    /// Reports something that may be an object of any kind.
    fn reject(&mut self, line: u32, field: &str, what: &str, wanted: &str) {
        self.decoded.undecoded.add(None, format!("{}:{}", self.file, line.max(1)));
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

/// Kind and name of an object that could not be decoded, as far as it has them.
fn name_of(kind: Kind, node: &DocumentNode) -> String {
    let field = |name| node.get("metadata").and_then(|metadata| metadata.text(name)).unwrap_or_default();
    match (shorten(field("namespace")), shorten(field("name"))) {
        (_, name) if name.is_empty() => kind.to_string(),
        (_, name) if !kind.namespaced() => format!("{kind} {name}"),
        (namespace, name) if namespace.is_empty() => format!("{kind} default/{name}"),
        (namespace, name) => format!("{kind} {namespace}/{name}"),
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
