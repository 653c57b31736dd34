//! Which manifest files there are, and which of them have changed since the last scan.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use telemetry::Problem;

/// A file touched less than this ago may be in the middle of being written: it is read at the next scan.
const SETTLED: Duration = Duration::from_millis(50);

/// A file touched less than this ago may change once more without its time showing it (ext4 keeps some milliseconds,
/// other file systems two seconds), so it is read again whether it looks changed or not.
const COARSE: Duration = Duration::from_secs(2);

/// Folders in folders beyond this are not entered.
const DEPTH: usize = 16;

/// The files under some paths, polled: every file system and every mount can be, and a look costs a `stat` a file.
///
/// A path that is a folder stands for all `.yaml`, `.yml` and `.json` files in it and in the folders below, as in
/// `kubectl apply -R -f`; one that is a file stands for itself, whatever its name. Names that begin with a dot are left
/// out, and links are followed: so of a mounted ConfigMap the links at the top are read and `..data`, through which
/// the kubelet swaps all of them at once, is not read a second time.
#[derive(Debug)]
pub(super) struct FileScanner {
    paths: Vec<PathBuf>,
    known: BTreeMap<PathBuf, KnownFile>,
}

#[derive(Debug)]
struct KnownFile {
    signature: FileSignature,
    text: Option<u64>,
    /// Whether the last look saw that it was gone, or half-written.
    in_doubt: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct FileSignature {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Files with new text, `None` for those that are gone.
    pub(super) changed: Vec<(PathBuf, Option<String>)>,
    /// Files and folders that could not be read.
    pub(super) problems: Vec<Problem>,
    /// Whether to look again soon.
    pub(super) in_doubt: bool,
}

impl FileScanner {
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, known: BTreeMap::new() }
    }

    /// Whether there is nothing to look at.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Looks at every file. What cannot be read keeps its last text.
    pub(super) fn scan(&mut self, now: SystemTime) -> Scan {
        let mut scan = Scan::default();
        let mut found = Walk::default();
        for path in &self.paths {
            found.visit(path, true, 0);
        }
        for (path, signature) in &found.files {
            self.look_at(path, *signature, now, &mut scan);
        }
        let unreadable = |path: &Path| found.problems.iter().any(|(bad, _)| path.starts_with(bad));
        let gone: Vec<_> = self
            .known
            .keys()
            .filter(|path| !found.files.contains_key(*path) && !unreadable(path))
            .cloned()
            .collect();
        for path in gone {
            self.miss(path, &mut scan);
        }
        scan.problems.extend(found.problems.into_iter().map(|(path, error)| problem(&path, &error)));
        scan
    }

    fn look_at(&mut self, path: &Path, signature: FileSignature, now: SystemTime, scan: &mut Scan) {
        let known = self.known.get_mut(path);
        let age = now.duration_since(signature.modified()).ok();
        let looks_the_same =
            known.as_ref().is_some_and(|known| known.signature == signature && !known.in_doubt);
        if looks_the_same && age.is_none_or(|age| age > COARSE) {
            return;
        }
        // Nobody sees the old text of a file that is new, so there is nothing to keep by waiting.
        if let Some(known) = known
            && known.signature != signature
            && age.is_some_and(|age| age < SETTLED)
        {
            known.in_doubt = true;
            scan.in_doubt = true;
            return;
        }
        let text = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => return scan.problems.push(problem(path, &error)),
        };
        let print = Some(fingerprint(&text));
        let known = KnownFile { signature, text: print, in_doubt: false };
        let before = self.known.insert(path.to_owned(), known);
        if before.and_then(|known| known.text) != print {
            scan.changed.push((path.to_owned(), Some(text)));
        }
    }

    /// Editors and `mv` leave a name empty for a moment: a file is gone when two looks say so.
    fn miss(&mut self, path: PathBuf, scan: &mut Scan) {
        let Some(known) = self.known.get_mut(&path) else { return };
        if known.in_doubt {
            self.known.remove(&path);
            scan.changed.push((path, None));
        } else {
            known.in_doubt = true;
            scan.in_doubt = true;
        }
    }
}

impl FileSignature {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn modified(&self) -> SystemTime {
        let seconds = u64::try_from(self.modified.0).unwrap_or_default();
        let nanoseconds = u64::try_from(self.modified.1).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
    }
}

/// The files and failures of one walk.
#[derive(Default)]
struct Walk {
    files: BTreeMap<PathBuf, FileSignature>,
    problems: Vec<(PathBuf, std::io::Error)>,
    /// Folders already seen: links may lead in a circle.
    folders: HashSet<(u64, u64)>,
}

impl Walk {
    fn visit(&mut self, path: &Path, named: bool, depth: usize) {
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            // Gone since its folder was read, or a link that leads nowhere: as good as not there.
            Err(error) if !named && error.kind() == ErrorKind::NotFound => return,
            Err(error) => return self.problems.push((path.to_owned(), error)),
        };
        if metadata.is_dir() {
            if depth < DEPTH && self.folders.insert((metadata.dev(), metadata.ino())) {
                self.enter(path, depth + 1);
            }
        } else if named || is_manifest(path) {
            self.files.insert(path.to_owned(), FileSignature::of(&metadata));
        }
    }

    fn enter(&mut self, folder: &Path, depth: usize) {
        let entries = std::fs::read_dir(folder).and_then(|entries| {
            entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<BTreeSet<_>>>()
        });
        match entries {
            Ok(entries) => entries
                .iter()
                .filter(|path| {
                    path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
                })
                .for_each(|path| self.visit(path, false, depth)),
            Err(error) => self.problems.push((folder.to_owned(), error)),
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    matches!(path.extension().and_then(OsStr::to_str), Some("yaml" | "yml" | "json"))
}

fn fingerprint(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn problem(path: &Path, error: &std::io::Error) -> Problem {
    Problem {
        kind: "manifest".into(),
        key: path.display().to_string(),
        field: String::new(),
        what: error.to_string(),
        wanted: "a file or folder that can be read".into(),
        severity: None,
    }
}

#[cfg(test)]
mod tests;
