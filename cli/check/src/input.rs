//! What is checked: the objects of a cluster, with their lines if they come from files.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use cluster::{Cache, Event, Kind};
use sources::manifests::{ManifestObject, decode_objects, with_large_stack};

use crate::outcome::Outcome;
use crate::report::{CheckedObject, CheckedSetting, Place};

/// The longest file that is read, in bytes. The API server takes objects of 3 MiB at most, but `kubectl get -o yaml` writes many into
/// one file.
const MAX_FILE: u64 = 512 << 20;

/// The deepest nesting of folders that is read.
const MAX_DEPTH: usize = 32;

/// The name of standard input in places.
const STDIN: &str = "stdin";

/// The objects, files and flags to check.
#[derive(Default)]
pub struct CheckInput {
    /// The objects of the kinds that Portolan reads.
    pub cache: Cache,
    /// The lines of objects that come from files.
    pub lines: LineIndex,
    /// Deployments and DaemonSets with the arguments of their containers.
    pub workloads: Vec<CheckedWorkload>,
    /// Corefiles in files, by file name.
    pub corefiles: BTreeMap<String, String>,
    /// Files and objects that could not be read.
    pub unread: Vec<CheckedObject>,
    /// Whether every object of the cluster is here. In a folder, Secrets and other objects may be missing.
    pub is_whole: bool,
    /// Lines that say what was read, and with which rights.
    pub notes: Vec<String>,
}

/// A Deployment or DaemonSet.
#[derive(Clone, Debug, Default)]
pub struct CheckedWorkload {
    /// `Deployment` or `DaemonSet`.
    pub kind: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// Where it begins, if it is in a file.
    pub place: Option<Place>,
    /// Its containers.
    pub containers: Vec<Container>,
}

/// A container of a [`CheckedWorkload`].
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// `image`.
    pub image: String,
    /// `command` and `args`, each with its line if it is in a file.
    pub args: Vec<(String, Option<Place>)>,
}

/// The lines of the objects of files, and of their annotations and data.
#[derive(Debug, Default)]
pub struct LineIndex(HashMap<(Kind, cluster::Key), ObjectLines>);

#[derive(Debug)]
struct ObjectLines {
    file: std::sync::Arc<str>,
    line: u32,
    fields: Vec<(Box<str>, u32)>,
    /// Entries of the data that are block scalars, with their first line.
    blocks: Vec<(Box<str>, u32)>,
}

impl LineIndex {
    /// Where an object begins.
    pub fn object(&self, kind: Kind, key: &cluster::Key) -> Option<Place> {
        let lines = self.0.get(&(kind, key.clone()))?;
        Some(Place { file: lines.file.to_string(), line: lines.line })
    }

    /// Where an annotation, a key of the data, or a field such as `spec.rules[0].host` of an object is; else where the object begins.
    pub fn field(&self, kind: Kind, key: &cluster::Key, name: &str) -> Option<Place> {
        let lines = self.0.get(&(kind, key.clone()))?;
        let line = lines.fields.iter().find(|(known, _)| **known == *name).map(|(_, line)| *line);
        Some(Place { file: lines.file.to_string(), line: line.unwrap_or(lines.line) })
    }

    /// The place of a line of a block scalar (`Corefile: |`) in the data of a ConfigMap; `None` for texts that are written otherwise.
    pub(crate) fn data_line(&self, key: &cluster::Key, name: &str, line: u32) -> Option<Place> {
        let lines = self.0.get(&(Kind::ConfigMap, key.clone()))?;
        let (_, first) = lines.blocks.iter().find(|(known, _)| **known == *name)?;
        Some(Place { file: lines.file.to_string(), line: first + line - 1 })
    }

    fn add(&mut self, file: &std::sync::Arc<str>, text: &[&str], object: &ManifestObject<'_>) {
        let Some(kind) =
            [Kind::Ingress, Kind::ConfigMap].into_iter().find(|kind| kind.name() == object.kind())
        else {
            return;
        };
        let mut fields = Vec::new();
        for path in ["metadata.annotations", "data"] {
            fields.extend(object.fields(path).into_iter().map(|(name, line)| (name.into(), line)));
        }
        // The value of a block scalar begins on the line after its header: `|`, `|-` or `|+`.
        let header = |line: u32| text.get((line as usize).wrapping_sub(2)).map_or("", |line| line.trim_end());
        let is_block = |line: u32| ["|", "|-", "|+"].iter().any(|end| header(line).ends_with(end));
        let data = object.fields("data").into_iter();
        let blocks =
            data.filter(|(_, line)| is_block(*line)).map(|(name, line)| (name.into(), line)).collect();
        for path in ["spec.ingressClassName", "spec.defaultBackend", "spec.tls", "spec.rules"] {
            fields.push((path.into(), object.line_of(path)));
        }
        for rule in 0..object.count("spec.rules") {
            let rule = format!("spec.rules[{rule}]");
            for path in 0..object.count(&format!("{rule}.http.paths")) {
                let path = format!("{rule}.http.paths[{path}]");
                fields.push((path.as_str().into(), object.line_of(&path)));
            }
            fields.push((rule.as_str().into(), object.line_of(&rule)));
        }
        let key = cluster::Key::new(object.namespace(), object.name());
        self.0.insert((kind, key), ObjectLines { file: file.clone(), line: object.line(), fields, blocks });
    }
}

/// Why the input cannot be read at all.
#[derive(Debug)]
pub struct InputError {
    path: PathBuf,
    error: std::io::Error,
}

impl std::fmt::Display for InputError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let wanted = "wanted a manifest, a folder of them, a Corefile, or - for standard input";
        write!(f, "{}: {}; {wanted}", self.path.display(), self.error)
    }
}

impl std::error::Error for InputError {}

/// How many of the files have been read.
pub type FileProgress<'p> = &'p (dyn Fn(usize, usize) + Sync);

/// Reads files and folders; `-` is standard input. A file that cannot be read or decoded is a finding.
///
/// # Errors
/// When a path does not exist, or standard input cannot be read.
pub fn read_files(paths: &[PathBuf], progress: FileProgress<'_>) -> Result<CheckInput, InputError> {
    let mut files = Files::default();
    for path in paths {
        let failed = |error| InputError { path: path.clone(), error };
        if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
            files.input.put(STDIN, &text, &mut files.events);
        } else if std::fs::metadata(path).map_err(failed)?.is_dir() {
            files.list(path, 0);
        } else {
            files.found.push(path.clone());
        }
    }
    let found = std::mem::take(&mut files.found);
    let read = with_large_stack(|| {
        for (at, path) in found.iter().enumerate() {
            progress(at, found.len());
            files.read(path);
        }
    });
    if let (Err(error), Some(path)) = (read, paths.first()) {
        return Err(InputError { path: path.clone(), error: std::io::Error::other(error) });
    }
    progress(found.len(), found.len());
    let Files { mut input, mut events, .. } = files;
    events.extend(Kind::ALL.map(Event::Synced));
    input.cache.apply(events, 0);
    Ok(input)
}

#[derive(Default)]
struct Files {
    input: CheckInput,
    found: Vec<PathBuf>,
    events: Vec<Event>,
}

impl Files {
    /// Adds the manifests and Corefiles of a folder and of the folders below, in the order of their names.
    fn list(&mut self, folder: &Path, depth: usize) {
        let entries = std::fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let mut entries = match entries {
            Ok(entries) if depth < MAX_DEPTH => entries,
            Ok(_) => return self.input.unreadable(folder, "is nested too deeply"),
            Err(error) => return self.input.unreadable(folder, &error.to_string()),
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            // A link to a folder could lead back to this one.
            match entry.file_type() {
                _ if hidden => {}
                Ok(kind) if kind.is_dir() => self.list(&path, depth + 1),
                Ok(_) if is_manifest(&path) || is_corefile(&path) => self.found.push(path),
                _ => {}
            }
        }
    }

    fn read(&mut self, path: &Path) {
        let name = path.display().to_string();
        match std::fs::metadata(path) {
            Ok(file) if file.len() > MAX_FILE => {
                return self.input.unreadable(path, &format!("is longer than {} MiB", MAX_FILE >> 20));
            }
            Ok(file) if !file.is_file() => return self.input.unreadable(path, "is not a file"),
            _ => {}
        }
        match std::fs::read(path) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                if is_manifest(path) || !is_corefile(path) && looks_like_a_manifest(&text) {
                    self.input.put(&name, &text, &mut self.events);
                } else {
                    self.input.corefiles.insert(name, text.into_owned());
                }
            }
            Err(error) => self.input.unreadable(path, &error.to_string()),
        }
    }
}

impl CheckInput {
    fn unreadable(&mut self, path: &Path, reason: &str) {
        let name = path.display().to_string();
        let finding = CheckedSetting {
            setting: String::new(),
            place: None,
            outcome: Outcome::Unknown,
            reason: format!("cannot be read: {reason}"),
        };
        self.unread.push(CheckedObject::new("File", name, None, vec![finding]));
    }

    /// Adds the objects of a manifest.
    fn put(&mut self, name: &str, text: &str, events: &mut Vec<Event>) {
        let file: std::sync::Arc<str> = name.into();
        let (lines, workloads) = (&mut self.lines, &mut self.workloads);
        let text_lines: Vec<_> = text.lines().collect();
        let decoded = decode_objects(name, text, |object| {
            lines.add(&file, &text_lines, &object);
            workloads.extend(workload(name, &object));
        });
        events.extend(decoded.objects.into_iter().map(Event::Apply));
        let findings = decoded.problems.into_iter().map(|problem| {
            let line = problem.key.rsplit_once(':').and_then(|(_, line)| line.parse().ok()).unwrap_or(1);
            let wanted = if problem.wanted.is_empty() {
                String::new()
            } else {
                format!("; wanted {}", problem.wanted)
            };
            CheckedSetting {
                setting: problem.field,
                place: Some(Place { file: name.to_owned(), line }),
                outcome: Outcome::Unknown,
                reason: format!("{}{wanted}", problem.what),
            }
        });
        let findings: Vec<_> = findings.collect();
        if !findings.is_empty() {
            self.unread.push(CheckedObject::new("File", name, None, findings));
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end.eq_ignore_ascii_case(known)))
}

fn is_corefile(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains("Corefile"))
}

fn looks_like_a_manifest(text: &str) -> bool {
    let starts = |line: &str| line.starts_with("apiVersion:") || line.starts_with("kind:");
    text.trim_start().starts_with('{') || text.lines().any(starts)
}

/// The workload that an object is.
fn workload(file: &str, object: &ManifestObject<'_>) -> Option<CheckedWorkload> {
    if !["Deployment", "DaemonSet"].contains(&object.kind()) {
        return None;
    }
    const CONTAINERS: &str = "spec.template.spec.containers";
    let place = |line| Some(Place { file: file.to_owned(), line });
    let container = |at: usize| {
        let path = |field: &str| format!("{CONTAINERS}[{at}].{field}");
        let texts = object.texts(&path("command")).into_iter().chain(object.texts(&path("args")));
        Container {
            image: object.text(&path("image")).unwrap_or_default().to_owned(),
            args: texts.map(|(text, line)| (text.to_owned(), place(line))).collect(),
        }
    };
    Some(CheckedWorkload {
        kind: object.kind().to_owned(),
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
        place: place(object.line()),
        containers: (0..object.count(CONTAINERS)).map(container).collect(),
    })
}
