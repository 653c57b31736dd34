//! The objects of all manifest files together, and which of them were sent to the writer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster::{CompactString, Event, Key, Kind, Kinds, Namespace, Object};
use telemetry::Problem;

use super::decode::{DecodedFile, UndecodedObjects};

/// Kinds that are recorded as logged. Beyond this number a kind may be logged again.
const MAX_IGNORED: usize = 1000;

type Objects = BTreeMap<(Kind, Key), Object>;

/// The objects of all files, in the order of file names. If two files contain the same object the later one is used, as
/// with `kubectl apply`.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    files: BTreeMap<String, File>,
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
        let file = self.files.entry(name.to_owned()).or_default();
        let decoded_now: Vec<_> =
            Kind::ALL.into_iter().filter(|kind| undecoded.of(*kind).is_none()).collect();
        let decoded_kinds = file.decoded_kinds.union(Kinds::of(&decoded_now));
        if !undecoded.is_empty() {
            for (key, object) in std::mem::take(&mut file.objects) {
                objects.entry(key).or_insert(object);
            }
        }
        *file = File { objects, problems, decoded_kinds, undecoded };
        self.changed = true;
        if self.ignored.len() > MAX_IGNORED {
            self.ignored.clear();
        }
        ignored.into_iter().filter(|kind| self.ignored.insert(kind.clone())).collect()
    }

    /// Removes a file and its objects.
    pub(super) fn remove(&mut self, name: &str) {
        self.changed |= self.files.remove(name).is_some();
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
        let may_end: Vec<_> = wanted
            .iter()
            .filter(|kind| {
                !self.complete_kinds.contains(*kind) || !unreadable && self.missing(*kind).is_none()
            })
            .collect();
        let ends = may_end.iter().any(|kind| !self.synced.contains(*kind));
        if !std::mem::take(&mut self.changed) && wanted == self.kinds && !ends {
            return Vec::new();
        }
        let objects = self.objects();
        let unread = self.kinds.iter().filter(|kind| !wanted.contains(*kind));
        let mut events: Vec<Event> = unread.map(Event::Forget).collect();
        for kind in wanted.iter() {
            let of_kind = |kept: &&(Kind, Key)| kept.0 == kind;
            let listed = self.kinds.contains(kind);
            if !listed {
                events.push(Event::Restart(kind));
            }
            let new = objects.iter().filter(|(key, _)| of_kind(key));
            let new = new.filter(|(key, object)| self.sent.get(key) != Some(object));
            events.extend(new.map(|(_, object)| Event::Apply(object.clone())));
            if !self.synced.contains(kind) && may_end.contains(&kind) {
                events.push(Event::Synced(kind));
                self.synced = self.synced.union(Kinds::of(&[kind]));
            }
        }
        let removed = self.sent.keys().filter(|key| wanted.contains(key.0) && !objects.contains_key(key));
        events.extend(removed.map(|(kind, key)| Event::Remove(*kind, key.clone())));
        self.kinds = wanted;
        let still_wanted = self.synced.iter().filter(|kind| wanted.contains(*kind));
        self.synced = Kinds::of(&still_wanted.collect::<Vec<_>>());
        self.sent = objects;
        self.sent.retain(|(kind, _), _| self.kinds.contains(*kind));
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
        let mut problems: Vec<_> = self.files.values().flat_map(|file| file.problems.clone()).collect();
        let mut first: BTreeMap<&(Kind, Key), &str> = BTreeMap::new();
        for (name, file) in &self.files {
            for key in file.objects.keys() {
                if let Some(other) = first.insert(key, name) {
                    problems.push(Problem {
                        kind: "manifest".into(),
                        key: name.clone(),
                        field: String::new(),
                        what: format!("{} {} is also in {other}, and this one takes effect", key.0, key.1),
                        wanted: "each object in one file".into(),
                        severity: None,
                    });
                }
            }
        }
        problems
    }

    /// All objects, and the namespaces that they are in: manifests rarely declare `default`, and where `kubectl apply` would
    /// fail for a missing namespace, it is assumed to exist.
    fn objects(&self) -> Objects {
        let mut objects = Objects::new();
        for file in self.files.values() {
            objects.extend(file.objects.iter().map(|(key, object)| (key.clone(), object.clone())));
        }
        let named: BTreeSet<CompactString> = objects.keys().map(|(_, key)| key.namespace.clone()).collect();
        for name in named.into_iter().filter(|name| !name.is_empty()) {
            let key = Key::cluster(name);
            objects
                .entry((Kind::Namespace, key.clone()))
                .or_insert_with(|| Object::Namespace(Arc::new(Namespace { key, labels: Vec::new() })));
        }
        objects
    }
}

#[cfg(test)]
mod tests;
