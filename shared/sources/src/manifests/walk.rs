//! A walk over the paths: which manifest files there are, and which files and folders cannot be read.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use telemetry::Problem;

use super::watcher::FolderWatcher;
use crate::FileSignature;
use crate::decode::shorten;

/// The deepest nesting of folders.
pub(super) const MAX_DEPTH: usize = 16;

/// Manifest files that are read.
pub(super) const MAX_FILES: usize = 50_000;

/// Entries of folders that one walk visits.
pub(super) const MAX_ENTRIES: usize = 100_000;

/// The size of one file.
pub(super) const MAX_SIZE: u64 = 16 << 20;

/// The size of all files together.
pub(super) const MAX_TOTAL_SIZE: u64 = 256 << 20;

/// What is at a path after links are followed. If it differs from the one seen last, the path is scanned again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum PathTarget {
    Missing,
    File(FileSignature),
    /// A folder, by device and inode: its times change with its entries.
    Folder(u64, u64),
}

impl PathTarget {
    /// The target of a path, through links.
    pub(super) fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Self::Folder(metadata.dev(), metadata.ino()),
            Ok(metadata) => Self::File(FileSignature::of(&metadata)),
            Err(_) => Self::Missing,
        }
    }
}

/// Why a file or folder is not read.
#[derive(Debug)]
pub(super) enum FileError {
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
    pub(super) fn problem(&self, path: &Path) -> Problem {
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
pub(super) fn read(path: &Path) -> Result<String, FileError> {
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

/// Whether a file may be changed under another name, of which its folder has no event.
pub(super) fn has_other_names(metadata: &Metadata) -> bool {
    metadata.is_symlink() || metadata.nlink() > 1
}

/// Whether a file of a folder is a manifest.
pub(super) fn is_manifest(path: &Path) -> bool {
    matches!(path.extension().and_then(OsStr::to_str), Some("yaml" | "yml" | "json"))
}

/// The files and failures of one walk over the paths.
#[derive(Default)]
pub(super) struct Walk<'w> {
    /// Watches the folders that are visited.
    pub(super) watcher: Option<&'w mut FolderWatcher>,
    pub(super) files: BTreeMap<PathBuf, FileSignature>,
    pub(super) problems: Vec<(PathBuf, FileError)>,
    /// Paths that may change without an event in their folder: those given on the command line, links, and files with several
    /// names.
    pub(super) polled: BTreeMap<PathBuf, PathTarget>,
    /// Whether a folder or file could not be watched.
    pub(super) unwatched: bool,
    /// Folders already visited, by device and inode: links may form a loop.
    pub(super) folders: HashSet<(u64, u64)>,
    pub(super) entries: usize,
    /// Bytes of all files.
    pub(super) size: u64,
}

impl Walk<'_> {
    /// Visits a path that was given on the command line.
    pub(super) fn visit_named(&mut self, path: &Path) {
        self.polled.insert(path.to_owned(), PathTarget::of(path));
        self.visit(path, true, 0);
    }

    fn visit(&mut self, path: &Path, named: bool, depth: usize) {
        if named && path.is_file() {
            self.watch(path, FolderWatcher::add_file);
        }
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
            return;
        }
        if !named && !is_manifest(path) {
            return;
        }
        match () {
            () if !metadata.is_file() => self.reject(path, FileError::NotAFile),
            () if metadata.len() > MAX_SIZE => self.reject(path, FileError::TooLarge),
            () if self.files.len() >= MAX_FILES => self.reject(path, FileError::TooManyFiles),
            () if self.size + metadata.len() > MAX_TOTAL_SIZE => {
                self.reject(path, FileError::TooLargeTogether);
            }
            () => {
                let signature = FileSignature::of(&metadata);
                if has_other_names(&metadata) {
                    self.polled.insert(path.to_owned(), PathTarget::File(signature));
                }
                self.size += metadata.len();
                self.files.insert(path.to_owned(), signature);
            }
        }
    }

    fn enter(&mut self, folder: &Path, depth: usize) {
        if depth >= MAX_DEPTH {
            return self.reject(folder, FileError::TooDeep);
        }
        self.watch(folder, FolderWatcher::add_folder);
        match self.entries_of(folder) {
            Ok(entries) => entries.into_iter().for_each(|(path, is_link)| {
                if is_link {
                    let target = PathTarget::of(&path);
                    self.polled.insert(path.clone(), target);
                }
                self.visit(&path, false, depth + 1);
            }),
            Err(error) => self.reject(folder, error),
        }
    }

    fn watch(&mut self, path: &Path, add: fn(&mut FolderWatcher, &Path) -> std::io::Result<()>) {
        let Some(watcher) = &mut self.watcher else { return };
        self.unwatched |= add(watcher, path).is_err();
    }

    /// The entries of a folder in the order of names, without hidden ones, and whether each is a link.
    fn entries_of(&mut self, folder: &Path) -> Result<BTreeMap<PathBuf, bool>, FileError> {
        let mut paths = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(FileError::TooManyEntries);
            }
            let entry = entry?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                paths.insert(entry.path(), entry.file_type().is_ok_and(|kind| kind.is_symlink()));
            }
        }
        Ok(paths)
    }

    fn reject(&mut self, path: &Path, error: FileError) {
        self.problems.push((path.to_owned(), error));
    }
}
