//! Finds manifest files, and which of them have changed.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use telemetry::Problem;

use super::walk::{
    FileError, MAX_FILES, MAX_TOTAL_SIZE, PathTarget, Walk, has_other_names, is_manifest, read,
};
use super::watcher::FolderWatcher;
use crate::FileSignature;

/// A file that was modified more recently than this may be half written, unless its writer has closed it.
const SETTLED: Duration = Duration::from_millis(50);

/// When a file that may be half written is looked at again.
const SOON: Duration = Duration::from_millis(60);

/// How long a file has to be missing to count as deleted: editors and `mv` remove a name for a moment.
const GONE: Duration = Duration::from_millis(15);

/// A file that was modified more recently than this is read again even if it looks unchanged, since the resolution of file
/// times is some milliseconds on ext4 and two seconds on other file systems.
const COARSE: Duration = Duration::from_secs(2);

/// The pause between two looks at what the kernel does not report.
const PERIOD: Duration = Duration::from_millis(300);

/// The pause between two scans of all files while every folder is watched. They find what has no event, such as a write through
/// a shared memory mapping or a mount over a folder.
const FULL_PERIOD: Duration = Duration::from_secs(30);

/// Of so many seconds at most one is spent on scans of everything, however many files there are.
const MAX_SHARE: u32 = 10;

/// Problems with files and folders that are reported.
const MAX_PROBLEMS: usize = 100;

/// The files under some paths.
///
/// For a folder it reads all `.yaml`, `.yml` and `.json` files in it and in the folders below, as `kubectl apply -R -f` does;
/// a path to a file may have any name. Names that begin with a dot are ignored, and links are followed. The links at the top
/// of a mounted ConfigMap are thus read, but not a second time through `..data`, the link by which the kubelet replaces all
/// files at once.
///
/// The kernel names the files that change, and only those are read. Everything is scanned when a folder or the link of the
/// kubelet changes, when events were lost, and every 300 ms where not all changes are reported: without inotify, on network
/// file systems, and while a file or folder cannot be read. Links and the paths of the command line are polled, one `stat` each.
#[derive(Debug)]
pub(super) struct FileScanner {
    paths: Vec<PathBuf>,
    watcher: Option<FolderWatcher>,
    known: BTreeMap<PathBuf, KnownFile>,
    /// Bytes of all known files.
    size: u64,
    /// Files that were missing or half written.
    doubtful: BTreeMap<PathBuf, DoubtfulFile>,
    /// Paths that may change without an event, and where they led when they were looked at last.
    polled: BTreeMap<PathBuf, PathTarget>,
    poll_at: Instant,
    /// Files and folders that the last scan of everything could not read.
    unreadable: HashSet<PathBuf>,
    /// When everything is scanned at the latest, and at the earliest.
    full_scan_at: Instant,
    full_scan_from: Instant,
    /// How many files the current scan has read.
    read: usize,
}

/// The time of a scan.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScanTime {
    /// That of the clock, with which file times are compared. It may be set back.
    clock: SystemTime,
    /// Decides what is due.
    monotonic: Instant,
}

impl ScanTime {
    pub(super) fn now() -> Self {
        Self { clock: SystemTime::now(), monotonic: Instant::now() }
    }
}

#[derive(Debug)]
struct KnownFile {
    signature: FileSignature,
    text: u64,
}

/// Why a file is looked at again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doubt {
    HalfWritten,
    Missing,
}

#[derive(Clone, Copy, Debug)]
struct DoubtfulFile {
    doubt: Doubt,
    /// When to look again.
    at: Instant,
}

/// Receives each changed file and its text, or `None` if it was deleted.
pub(super) type ChangedFile<'c> = dyn FnMut(&Path, Option<&str>) + 'c;

/// The result of a scan.
#[derive(Debug, PartialEq)]
pub(super) struct Scan {
    /// After a scan of everything: the files and folders that cannot be read.
    pub(super) problems: Option<Vec<Problem>>,
    /// The pause before the next scan, unless the kernel reports a change before.
    pub(super) pause: Duration,
    /// How many files were read.
    pub(super) read: usize,
}

/// A change that a scan of single files cannot judge.
struct NeedsFullScan;

/// What the kernel has reported about a file before it is read.
#[derive(Clone, Copy, PartialEq)]
enum Hint {
    /// Nothing: its signature tells.
    None,
    /// It has changed and may be half written.
    Changed,
    /// It has changed, and its writer has closed it.
    Complete,
}

impl FileScanner {
    /// A scanner that polls.
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        let now = Instant::now();
        Self {
            paths,
            watcher: None,
            known: BTreeMap::new(),
            size: 0,
            doubtful: BTreeMap::new(),
            polled: BTreeMap::new(),
            poll_at: now,
            unreadable: HashSet::new(),
            full_scan_at: now,
            full_scan_from: now,
            read: 0,
        }
    }

    /// Has the kernel report changes from the next scan on. Returns a descriptor that is readable when there is one.
    pub(super) fn watch(&mut self) -> io::Result<OwnedFd> {
        let watcher = FolderWatcher::new()?;
        let descriptor = watcher.descriptor()?;
        self.watcher = Some(watcher);
        self.full_scan_at = Instant::now();
        Ok(descriptor)
    }

    /// Whether there are no paths to scan.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Finds the files that changed since the last scan and passes each to `changed`. A file that cannot be read keeps its last
    /// text.
    pub(super) fn scan(&mut self, now: ScanTime, changed: &mut ChangedFile<'_>) -> Scan {
        let reported = self.watcher.as_mut().map(FolderWatcher::take).unwrap_or_default();
        let mut files: BTreeMap<PathBuf, Hint> = reported
            .files
            .into_iter()
            .map(|(path, complete)| (path, if complete { Hint::Complete } else { Hint::Changed }))
            .collect();
        for (path, _) in self.doubtful.iter().filter(|(_, file)| file.at <= now.monotonic) {
            files.entry(path.clone()).or_insert(Hint::None);
        }
        if reported.all {
            self.full_scan_at = self.full_scan_at.min(self.full_scan_from.max(now.monotonic));
        }
        self.read = 0;
        let mut problems = None;
        let needs_full_scan = now.monotonic >= self.full_scan_at
            || self.poll(now, &mut files).is_err()
            || self.scan_files(&files, now, changed).is_err();
        if needs_full_scan {
            self.full_scan_at = self.full_scan_at.min(self.full_scan_from.max(now.monotonic));
        }
        let next = if now.monotonic >= self.full_scan_at {
            problems = Some(self.scan_all(now, changed));
            self.next_look()
        } else if needs_full_scan {
            // Files that are due now wait for that scan too.
            self.full_scan_at
        } else {
            self.next_look()
        };
        let pause = next.saturating_duration_since(now.monotonic);
        Scan { problems, pause, read: self.read }
    }

    /// The earliest time at which something is due.
    fn next_look(&self) -> Instant {
        self.doubtful.values().map(|file| file.at).fold(self.poll_at.min(self.full_scan_at), Instant::min)
    }

    /// Looks at the paths that may change without an event. A folder given on the command line is looked at before each scan: while
    /// it is missing, its files are not deleted.
    fn poll(&mut self, now: ScanTime, files: &mut BTreeMap<PathBuf, Hint>) -> Result<(), NeedsFullScan> {
        let is_due = now.monotonic >= self.poll_at;
        let named = |path: &PathBuf| self.paths.contains(path);
        for (path, last) in &mut self.polled {
            let is_looked_at = is_due || matches!(last, PathTarget::Folder(..)) && named(path);
            if !is_looked_at {
                continue;
            }
            let target = PathTarget::of(path);
            if *last == target {
                continue;
            }
            if matches!(last, PathTarget::Folder(..)) || matches!(target, PathTarget::Folder(..)) {
                return Err(NeedsFullScan);
            }
            *last = target;
            let known = self.known.get(path).map(|known| PathTarget::File(known.signature));
            if known == Some(target) {
                continue;
            }
            files.entry(path.clone()).or_insert(Hint::Changed);
        }
        if is_due {
            self.poll_at = now.monotonic + PERIOD;
        }
        Ok(())
    }

    /// Scans only these files.
    fn scan_files(
        &mut self,
        files: &BTreeMap<PathBuf, Hint>,
        now: ScanTime,
        changed: &mut ChangedFile<'_>,
    ) -> Result<(), NeedsFullScan> {
        for (path, hint) in files {
            let named = self.paths.contains(path);
            let is_ours = named || is_manifest(path);
            if self.unreadable.contains(path) {
                return Err(NeedsFullScan);
            }
            let metadata = match std::fs::metadata(path) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == ErrorKind::NotFound && !named => {
                    // A link to a folder has no event of a folder.
                    if matches!(self.polled.get(path), Some(PathTarget::Folder(..))) {
                        return Err(NeedsFullScan);
                    }
                    // No event says that the target of a dangling link has appeared.
                    if path.is_symlink() {
                        self.polled.insert(path.clone(), PathTarget::Missing);
                    }
                    self.missing(path, now, changed);
                    continue;
                }
                Err(_) if !is_ours => continue,
                Err(_) => return Err(NeedsFullScan),
            };
            if metadata.is_dir() || is_ours && !metadata.is_file() {
                return Err(NeedsFullScan);
            }
            let was_missing = self.doubtful.get(path).is_some_and(|file| file.doubt == Doubt::Missing);
            if was_missing && *hint == Hint::None {
                // It is back, or a link to its folder has changed and a scan of everything finds it under another name.
                return Err(NeedsFullScan);
            }
            if is_ours {
                if std::fs::symlink_metadata(path).is_ok_and(|entry| has_other_names(&entry)) {
                    self.polled.insert(path.clone(), PathTarget::File(FileSignature::of(&metadata)));
                }
                self.fits(path, metadata.len())?;
                self.check(path, FileSignature::of(&metadata), *hint, now, changed)
                    .map_err(|_| NeedsFullScan)?;
            }
        }
        Ok(())
    }

    /// Whether a file is within the limits. A scan of everything reports what is beyond.
    fn fits(&self, path: &Path, size: u64) -> Result<(), NeedsFullScan> {
        let known = self.known.get(path);
        let others = self.size - known.map_or(0, |known| known.signature.size);
        let is_one_too_many = known.is_none() && self.known.len() >= MAX_FILES;
        if is_one_too_many || others + size > MAX_TOTAL_SIZE { Err(NeedsFullScan) } else { Ok(()) }
    }

    fn scan_all(&mut self, now: ScanTime, changed: &mut ChangedFile<'_>) -> Vec<Problem> {
        let start = Instant::now();
        let mut watcher = self.watcher.take();
        watcher.iter_mut().for_each(FolderWatcher::begin_scan);
        let mut found = Walk { watcher: watcher.as_mut(), ..Walk::default() };
        self.paths.iter().for_each(|path| found.visit_named(path));
        let Walk { files, mut problems, polled, unwatched, .. } = found;
        watcher.iter_mut().for_each(FolderWatcher::end_scan);
        let is_watched = watcher.is_some() && !unwatched;
        self.watcher = watcher;
        self.polled = polled;

        let missing: Vec<_> = self
            .known
            .keys()
            .filter(|path| !files.contains_key(*path))
            .filter(|path| !problems.iter().any(|(bad, _)| path.starts_with(bad)))
            .cloned()
            .collect();
        missing.iter().for_each(|path| self.missing(path, now, changed));
        self.doubtful.retain(|path, _| files.contains_key(path) || self.known.contains_key(path));
        for (path, signature) in files {
            if let Err(error) = self.check(&path, signature, Hint::None, now, changed) {
                problems.push((path, error));
            }
        }
        // They are looked at again by each scan of everything.
        self.doubtful.retain(|path, _| !problems.iter().any(|(bad, _)| path.starts_with(bad)));
        let pause = if is_watched && problems.is_empty() { FULL_PERIOD } else { PERIOD };
        let took = start.elapsed();
        self.full_scan_at = now.monotonic + pause.max(took * (MAX_SHARE - 1));
        self.full_scan_from = now.monotonic + took * 2;
        self.poll_at = now.monotonic + PERIOD;
        let reports = bounded(&problems);
        self.unreadable = problems.into_iter().map(|(path, _)| path).collect();
        reports
    }

    fn check(
        &mut self,
        path: &Path,
        signature: FileSignature,
        hint: Hint,
        now: ScanTime,
        changed: &mut ChangedFile<'_>,
    ) -> Result<(), FileError> {
        let known = self.known.get(path);
        let age = now.clock.duration_since(signature.modified()).ok();
        let is_doubtful = self.doubtful.contains_key(path);
        let looks_the_same = known.is_some_and(|known| known.signature == signature) && !is_doubtful;
        if hint == Hint::None && looks_the_same && age.is_none_or(|age| age > COARSE) {
            return Ok(());
        }
        // A scan reads a new file at once, because there is no old text of it to serve meanwhile.
        let may_be_half_written = match hint {
            Hint::Complete => false,
            Hint::Changed => true,
            Hint::None => {
                is_doubtful && known.is_none() || known.is_some_and(|known| known.signature != signature)
            }
        };
        if may_be_half_written && age.is_some_and(|age| age < SETTLED) {
            let file = DoubtfulFile { doubt: Doubt::HalfWritten, at: now.monotonic + SOON };
            self.doubtful.insert(path.to_owned(), file);
            return Ok(());
        }
        let text = self.read(path)?;
        let known = KnownFile { signature, text: fingerprint(&text) };
        let is_new_text = self.known.get(path).is_none_or(|before| before.text != known.text);
        self.doubtful.remove(path);
        self.size += signature.size;
        if let Some(before) = self.known.insert(path.to_owned(), known) {
            self.size -= before.signature.size;
        }
        if is_new_text {
            changed(path, Some(&text));
        }
        Ok(())
    }

    fn read(&mut self, path: &Path) -> Result<String, FileError> {
        self.read += 1;
        read(path)
    }

    fn missing(&mut self, path: &Path, now: ScanTime, changed: &mut ChangedFile<'_>) {
        if !self.known.contains_key(path) {
            self.doubtful.remove(path);
            return;
        }
        let missing = DoubtfulFile { doubt: Doubt::Missing, at: now.monotonic + GONE };
        let file = self.doubtful.entry(path.to_owned()).or_insert(missing);
        if file.doubt != Doubt::Missing {
            *file = missing;
        }
        if file.at <= now.monotonic {
            self.doubtful.remove(path);
            self.size -= self.known.remove(path).map_or(0, |known| known.signature.size);
            changed(path, None);
        }
    }
}

/// The problems as they are reported.
fn bounded(problems: &[(PathBuf, FileError)]) -> Vec<Problem> {
    let mut reports: Vec<_> =
        problems.iter().take(MAX_PROBLEMS).map(|(path, error)| error.problem(path)).collect();
    if let Some(more) = problems.len().checked_sub(MAX_PROBLEMS).filter(|more| *more > 0) {
        let what = format!("{more} more files and folders cannot be read");
        reports.push(Problem { kind: "manifest".into(), what, ..Problem::default() });
    }
    reports
}

fn fingerprint(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
