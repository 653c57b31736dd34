//! Finds manifest files, and which of them changed since the last scan.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use telemetry::Problem;

use crate::decode::shorten;

/// A file that was modified more recently than this may be half written. It is read in the next scan.
const SETTLED: Duration = Duration::from_millis(50);

/// A file that was modified more recently than this is read again even if it looks unchanged, since the resolution of file
/// times is some milliseconds on ext4 and two seconds on other file systems.
const COARSE: Duration = Duration::from_secs(2);

/// The deepest nesting of folders.
const MAX_DEPTH: usize = 16;

/// Manifest files that are read.
const MAX_FILES: usize = 10_000;

/// Entries of folders that one scan visits.
const MAX_ENTRIES: usize = 100_000;

/// The size of one file.
const MAX_SIZE: u64 = 16 << 20;

/// The size of all files together.
const MAX_TOTAL_SIZE: u64 = 256 << 20;

/// Problems with files and folders that are reported.
const MAX_PROBLEMS: usize = 100;

/// The files under some paths. It polls, because that works on every file system and mount and costs one `stat` per file.
///
/// For a folder it reads all `.yaml`, `.yml` and `.json` files in it and in the folders below, as `kubectl apply -R -f` does;
/// a path to a file may have any name. Names that begin with a dot are ignored, and links are followed. The links at the top
/// of a mounted ConfigMap are thus read, but not a second time through `..data`, the link by which the kubelet replaces all
/// files at once.
#[derive(Debug)]
pub(super) struct FileScanner {
    paths: Vec<PathBuf>,
    known: BTreeMap<PathBuf, KnownFile>,
}

#[derive(Debug)]
struct KnownFile {
    signature: FileSignature,
    text: Option<u64>,
    /// Whether the file was missing or half written in the last scan.
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

/// The result of a scan.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Files with new text; `None` for those that were deleted.
    pub(super) changed: Vec<(PathBuf, Option<String>)>,
    /// Files and folders that could not be read.
    pub(super) problems: Vec<Problem>,
    /// Whether to scan again soon.
    pub(super) in_doubt: bool,
}

impl FileScanner {
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, known: BTreeMap::new() }
    }

    /// Whether there are no paths to scan.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Scans all files. A file that cannot be read keeps its last text.
    pub(super) fn scan(&mut self, now: SystemTime) -> Scan {
        let mut scan = Scan::default();
        let mut found = Walk::default();
        for path in &self.paths {
            found.visit(path, true, 0);
        }
        for (path, signature) in &found.files {
            self.check(path, *signature, now, &mut scan);
        }
        let unreadable = |path: &Path| found.problems.iter().any(|(bad, _)| path.starts_with(bad));
        let missing: Vec<_> = self
            .known
            .keys()
            .filter(|path| !found.files.contains_key(*path) && !unreadable(path))
            .cloned()
            .collect();
        for path in missing {
            self.missing(path, &mut scan);
        }
        scan.problems.extend(found.problems.iter().map(|(path, error)| error.problem(path)));
        if scan.problems.len() > MAX_PROBLEMS {
            let more = scan.problems.len() - MAX_PROBLEMS;
            scan.problems.truncate(MAX_PROBLEMS);
            let what = format!("{more} more files and folders cannot be read");
            scan.problems.push(Problem { kind: "manifest".into(), what, ..Problem::default() });
        }
        scan
    }

    fn check(&mut self, path: &Path, signature: FileSignature, now: SystemTime, scan: &mut Scan) {
        let known = self.known.get_mut(path);
        let age = now.duration_since(signature.modified()).ok();
        let looks_the_same =
            known.as_ref().is_some_and(|known| known.signature == signature && !known.in_doubt);
        if looks_the_same && age.is_none_or(|age| age > COARSE) {
            return;
        }
        // A new file is read at once, because there is no old text of it to serve meanwhile.
        if let Some(known) = known
            && known.signature != signature
            && age.is_some_and(|age| age < SETTLED)
        {
            known.in_doubt = true;
            scan.in_doubt = true;
            return;
        }
        let text = match read(path) {
            Ok(text) => text,
            Err(error) => return scan.problems.push(error.problem(path)),
        };
        let print = Some(fingerprint(&text));
        let known = KnownFile { signature, text: print, in_doubt: false };
        let before = self.known.insert(path.to_owned(), known);
        if before.and_then(|known| known.text) != print {
            scan.changed.push((path.to_owned(), Some(text)));
        }
    }

    /// A file counts as deleted when two scans miss it, since editors and `mv` remove a name for a moment.
    fn missing(&mut self, path: PathBuf, scan: &mut Scan) {
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

/// Why a file or folder is not read.
#[derive(Debug)]
enum FileError {
    Io(std::io::Error),
    /// A FIFO, a socket or a device: reading it could block or never end.
    NotAFile,
    TooLarge,
    TooDeep,
    TooManyFiles,
    TooLargeTogether,
    TooManyEntries,
}

impl FileError {
    fn problem(&self, path: &Path) -> Problem {
        let (what, wanted) = match self {
            Self::Io(error) => (error.to_string(), "a file or folder that can be read".to_owned()),
            Self::NotAFile => ("neither a file nor a folder".into(), "a regular file".into()),
            Self::TooLarge => ("too large, not read".into(), format!("at most {} MiB", MAX_SIZE >> 20)),
            Self::TooDeep => ("nested too deeply, not read".into(), format!("at most {MAX_DEPTH} levels")),
            Self::TooManyFiles => {
                ("one file too many, not read".into(), format!("at most {MAX_FILES} manifests"))
            }
            Self::TooLargeTogether => (
                "too large together with the files before it, not read".into(),
                format!("at most {} MiB in all files together", MAX_TOTAL_SIZE >> 20),
            ),
            Self::TooManyEntries => (
                "too many entries, not read".into(),
                format!("at most {MAX_ENTRIES} in all folders together"),
            ),
        };
        let key = shorten(&path.display().to_string()).into_owned();
        Problem { kind: "manifest".into(), key, field: String::new(), what, wanted, severity: None }
    }
}

impl From<std::io::Error> for FileError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// The text of a regular file. The file at `path` may have been replaced since its metadata was read, so the open file is
/// checked once more, and opening it does not wait for the other end of a FIFO.
fn read(path: &Path) -> Result<String, FileError> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(FileError::NotAFile);
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(FileError::TooLarge);
    }
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

/// The files and failures of one walk over the paths.
#[derive(Default)]
struct Walk {
    files: BTreeMap<PathBuf, FileSignature>,
    problems: Vec<(PathBuf, FileError)>,
    /// Folders already visited, by device and inode: links may form a loop.
    folders: HashSet<(u64, u64)>,
    entries: usize,
    /// Bytes of all files.
    size: u64,
}

impl Walk {
    /// Visits a path; `named` if it was given on the command line.
    fn visit(&mut self, path: &Path, named: bool, depth: usize) {
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            // Deleted since its folder was read, or a dangling link: the same as absent.
            Err(error) if !named && error.kind() == ErrorKind::NotFound => return,
            Err(error) => return self.reject(path, error.into()),
        };
        if metadata.is_dir() {
            if self.folders.insert((metadata.dev(), metadata.ino())) {
                self.enter(path, depth);
            }
        } else if named || is_manifest(path) {
            match () {
                () if !metadata.is_file() => self.reject(path, FileError::NotAFile),
                () if metadata.len() > MAX_SIZE => self.reject(path, FileError::TooLarge),
                () if self.files.len() >= MAX_FILES => self.reject(path, FileError::TooManyFiles),
                () if self.size + metadata.len() > MAX_TOTAL_SIZE => {
                    self.reject(path, FileError::TooLargeTogether);
                }
                () => {
                    self.size += metadata.len();
                    self.files.insert(path.to_owned(), FileSignature::of(&metadata));
                }
            }
        }
    }

    fn enter(&mut self, folder: &Path, depth: usize) {
        if depth >= MAX_DEPTH {
            return self.reject(folder, FileError::TooDeep);
        }
        match self.entries_of(folder) {
            Ok(entries) => entries.iter().for_each(|path| self.visit(path, false, depth + 1)),
            Err(error) => self.reject(folder, error),
        }
    }

    /// The entries of a folder in the order of names, without hidden ones.
    fn entries_of(&mut self, folder: &Path) -> Result<BTreeSet<PathBuf>, FileError> {
        let mut paths = BTreeSet::new();
        for entry in std::fs::read_dir(folder)? {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(FileError::TooManyEntries);
            }
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                paths.insert(entry.path());
            }
        }
        Ok(paths)
    }

    fn reject(&mut self, path: &Path, error: FileError) {
        self.problems.push((path.to_owned(), error));
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

#[cfg(test)]
mod tests;
