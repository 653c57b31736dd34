//! The objects of all manifest files together, and which of them were sent to the writer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cluster::{CompactString, Event, Key, Kind, Kinds, Namespace, Object};
use smallvec::SmallVec;
use telemetry::Problem;

use super::decode::{DecodedFile, UndecodedObjects};

/// Kinds that are recorded as logged. Beyond this number a kind may be logged again.
const MAX_IGNORED: usize = 1000;

type ObjectKey = (Kind, Key);
type Objects = BTreeMap<ObjectKey, Object>;

/// The objects of all files, in the order of file names. If two files contain the same object the later one is used, as
/// with `kubectl apply`. A change of a file costs what the file contains, however many others there are.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    files: BTreeMap<Arc<str>, File>,
    /// The files of each object, in the order of names.
    files_of: HashMap<ObjectKey, SmallVec<[Arc<str>; 1]>>,
    /// Objects that are in several files.
    repeated: BTreeSet<ObjectKey>,
    /// Files that have problems.
    invalid: BTreeSet<Arc<str>>,
    /// The number of objects in each namespace. An object that is in several files counts once per file.
    namespaces: BTreeMap<CompactString, usize>,
    /// Objects that may differ from what was sent.
    touched: BTreeSet<ObjectKey>,
    sent: Objects,
    kinds: Kinds,
    /// Kinds whose first list ends only when no object of them may be missing.
    complete_kinds: Kinds,
    /// Kinds whose list was sent completely.
    synced: Kinds,
    /// Whether a file has changed since events were last taken.
    changed: bool,
    /// Kinds already logged as not read.
    ignored: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct File {
    objects: Objects,
    problems: Vec<Problem>,
    /// Kinds of which every object of the file was decoded at least once.
    decoded_kinds: Kinds,
    undecoded: UndecodedObjects,
}

impl File {
    /// An object that may be of this kind and of which no version is known.
    fn missing(&self, kind: Kind) -> Option<&str> {
        self.undecoded.of(kind).filter(|_| !self.decoded_kinds.contains(kind))
    }
}

impl Inventory {
    /// Ends the first list of these kinds only when every file was read and all of its objects of the kind were decoded
    /// once. A later mistake takes nothing back: the last valid version stays, and a new object does not exist until it is
    /// valid, as with an API server.
    pub(super) fn require_complete(&mut self, kinds: Kinds) {
        self.complete_kinds = kinds;
    }

    /// Replaces the content of a file. While an object of the file cannot be decoded, the previous objects of the file are
    /// kept unless it has a new version of them, because the undecodable object may be any of them. Returns kinds that are
    /// not read and have not been logged before.
    pub(super) fn put(&mut self, name: &str, decoded: DecodedFile) -> Vec<String> {
        let DecodedFile { objects, problems, undecoded, ignored } = decoded;
        let mut objects: Objects =
            objects.into_iter().map(|object| ((object.kind(), object.key().clone()), object)).collect();
        let (name, mut last) =
            self.files.remove_entry(name).unwrap_or_else(|| (Arc::from(name), File::default()));
        let decoded_now: Vec<_> =
            Kind::ALL.into_iter().filter(|kind| undecoded.of(*kind).is_none()).collect();
        let decoded_kinds = last.decoded_kinds.union(Kinds::of(&decoded_now));
        if !undecoded.is_empty() {
            for (key, object) in &last.objects {
                objects.entry(key.clone()).or_insert_with(|| object.clone());
            }
        }
        for (key, object) in &objects {
            match last.objects.remove(key) {
                Some(last) if last == *object => {}
                Some(_) => {
                    self.touched.insert(key.clone());
                }
                None => self.add_file_of(key, &name),
            }
        }
        last.objects.keys().for_each(|key| self.remove_file_of(key, &name));
        if problems.is_empty() {
            self.invalid.remove(&name);
        } else {
            self.invalid.insert(name.clone());
        }
        self.files.insert(name, File { objects, problems, decoded_kinds, undecoded });
        self.changed = true;
        if self.ignored.len() > MAX_IGNORED {
            self.ignored.clear();
        }
        ignored.into_iter().filter(|kind| self.ignored.insert(kind.clone())).collect()
    }

    /// Removes a file and its objects.
    pub(super) fn remove(&mut self, name: &str) {
        let Some((name, file)) = self.files.remove_entry(name) else { return };
        file.objects.keys().for_each(|key| self.remove_file_of(key, &name));
        self.invalid.remove(&name);
        self.changed = true;
    }

    /// Records that a file contains an object.
    fn add_file_of(&mut self, key: &ObjectKey, name: &Arc<str>) {
        let files = self.files_of.entry(key.clone()).or_default();
        files.insert(files.partition_point(|other| other < name), name.clone());
        if files.len() > 1 {
            self.repeated.insert(key.clone());
        }
        self.touched.insert(key.clone());
        let namespace = &key.1.namespace;
        if !namespace.is_empty() {
            *self.namespaces.entry(namespace.clone()).or_insert_with(|| {
                self.touched.insert((Kind::Namespace, Key::cluster(namespace.clone())));
                0
            }) += 1;
        }
    }

    /// Records that a file no longer contains an object.
    fn remove_file_of(&mut self, key: &ObjectKey, name: &Arc<str>) {
        let Some(files) = self.files_of.get_mut(key) else { return };
        files.retain(|other| other != name);
        if files.len() < 2 {
            self.repeated.remove(key);
        }
        if files.is_empty() {
            self.files_of.remove(key);
        }
        self.touched.insert(key.clone());
        let namespace = &key.1.namespace;
        if let Some(objects) = self.namespaces.get_mut(namespace) {
            *objects -= 1;
            if *objects == 0 {
                self.namespaces.remove(namespace);
                self.touched.insert((Kind::Namespace, Key::cluster(namespace.clone())));
            }
        }
    }

    /// Whether a file has changed since events were last taken.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// The events that bring the writer up to date. A kind is sent as a list when it is first wanted, then change by
    /// change. Additions come before removals, so that an object that changes its name is never missing.
    ///
    /// `unreadable`: whether a file or folder could not be read. It may contain objects of any kind.
    pub(super) fn events(&mut self, wanted: Kinds, unreadable: bool) -> Vec<Event> {
        let may_end = |kind: &Kind| {
            !self.complete_kinds.contains(*kind) || !unreadable && self.missing(*kind).is_none()
        };
        let ending: Vec<_> =
            wanted.iter().filter(|kind| !self.synced.contains(*kind)).filter(may_end).collect();
        if !std::mem::take(&mut self.changed) && wanted == self.kinds && ending.is_empty() {
            return Vec::new();
        }
        let forgotten: Vec<_> = self.kinds.iter().filter(|kind| !wanted.contains(*kind)).collect();
        if !forgotten.is_empty() {
            self.sent.retain(|(kind, _), _| wanted.contains(*kind));
        }
        let touched = std::mem::take(&mut self.touched);
        let mut events: Vec<Event> = forgotten.into_iter().map(Event::Forget).collect();
        let mut removed = Vec::new();
        for kind in wanted.iter() {
            let keys = if self.kinds.contains(kind) {
                touched.iter().filter(|key| key.0 == kind).cloned().collect()
            } else {
                events.push(Event::Restart(kind));
                self.keys_of(kind)
            };
            for key in keys {
                match self.object(&key) {
                    Some(object) if self.sent.get(&key) == Some(&object) => {}
                    Some(object) => {
                        events.push(Event::Apply(object.clone()));
                        self.sent.insert(key, object);
                    }
                    None if self.sent.remove(&key).is_some() => removed.push(Event::Remove(kind, key.1)),
                    None => {}
                }
            }
            if ending.contains(&kind) {
                events.push(Event::Synced(kind));
            }
        }
        events.append(&mut removed);
        self.kinds = wanted;
        let synced = self.synced.union(Kinds::of(&ending));
        self.synced = Kinds::of(&synced.iter().filter(|kind| wanted.contains(*kind)).collect::<Vec<_>>());
        events
    }

    /// The first object that may be of this kind and of which no version is known: `shop.yaml:3 (Ingress shop/web)`.
    pub(super) fn missing(&self, kind: Kind) -> Option<&str> {
        self.files.values().find_map(|file| file.missing(kind))
    }

    /// Whether the list of a kind was sent completely.
    pub(super) fn is_synced(&self, kind: Kind) -> bool {
        self.synced.contains(kind)
    }

    /// All problems, including objects that are in two files.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let invalid = self.invalid.iter().filter_map(|name| self.files.get(name));
        let mut problems: Vec<_> = invalid.flat_map(|file| file.problems.clone()).collect();
        for key in &self.repeated {
            for pair in self.files_of.get(key).iter().flat_map(|files| files.windows(2)) {
                let [other, name] = pair else { continue };
                problems.push(Problem {
                    kind: "manifest".into(),
                    key: name.to_string(),
                    field: String::new(),
                    what: format!("{} {} is also in {other}, and this one takes effect", key.0, key.1),
                    wanted: "each object in one file".into(),
                    severity: None,
                });
            }
        }
        problems
    }

    /// The object that takes effect. A namespace exists when an object is in it: manifests rarely declare `default`, and where
    /// `kubectl apply` would fail for a missing namespace, it is assumed to exist.
    fn object(&self, key: &ObjectKey) -> Option<Object> {
        if let Some(name) = self.files_of.get(key).and_then(|files| files.last()) {
            return self.files.get(name)?.objects.get(key).cloned();
        }
        let is_assumed = key.0 == Kind::Namespace && self.namespaces.contains_key(&key.1.name);
        is_assumed.then(|| Object::Namespace(Arc::new(Namespace { key: key.1.clone(), labels: Vec::new() })))
    }

    /// All objects of a kind, in the order of their keys.
    fn keys_of(&self, kind: Kind) -> BTreeSet<ObjectKey> {
        let written = self.files_of.keys().filter(|key| key.0 == kind).cloned();
        let namespaces = self.namespaces.keys().filter(|_| kind == Kind::Namespace);
        written.chain(namespaces.map(|name| (kind, Key::cluster(name.clone())))).collect()
    }
}

#[cfg(test)]
mod tests;
