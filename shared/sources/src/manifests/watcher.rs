//! Changes of files as the kernel reports them (inotify(7)).

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::sys::statfs::statfs;

/// Files that one call reports by name. With more, everything is scanned, which costs less than each file by itself.
const MAX_FILES: usize = 4096;

/// The link by which the kubelet replaces all files of a mounted ConfigMap or Secret at once.
const KUBELET_LINK: &str = "..data";

/// File systems that other machines or processes change without an event here (statfs(2)): NFS, SMB, CIFS, SMB2, 9p, FUSE, Ceph, AFS.
const REMOTE: [i128; 8] =
    [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x6573_5546, 0x00c3_6400, 0x5346_414f];

/// The changes in some folders, and of some files, since they were last taken.
///
/// Not reported are changes through another name of a file (a link or a mount), through `mmap`, and those that another machine
/// makes on a network file system.
#[derive(Debug)]
pub(super) struct FolderWatcher {
    inotify: Inotify,
    watched: HashMap<WatchDescriptor, WatchedPath>,
    /// The number of the scan that adds paths now.
    scan: u64,
}

#[derive(Debug)]
struct WatchedPath {
    path: PathBuf,
    is_file: bool,
    /// The last scan that found it.
    scan: u64,
}

/// Files that may have changed.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ReportedFiles {
    /// Anything may have changed: a folder was added, moved or removed, the kubelet has replaced all files, or events were lost.
    pub(super) all: bool,
    /// Files by path, and whether the last event about it says that it is complete: its writer has closed it, or it was moved here.
    pub(super) files: BTreeMap<PathBuf, bool>,
}

impl FolderWatcher {
    /// A watcher of nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, watched: HashMap::new(), scan: 0 })
    }

    /// A descriptor that is readable when there is something to take.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.inotify.as_fd().try_clone_to_owned()
    }

    /// Begins a scan: paths that it does not add are no longer watched after [`FolderWatcher::end_scan`].
    pub(super) fn begin_scan(&mut self) {
        self.scan += 1;
    }

    /// Watches the entries of a folder. Add it before they are read, so that no change is missed. Fails where not every change would
    /// be reported: on network file systems, and beyond the number of watches that the system allows.
    pub(super) fn add_folder(&mut self, folder: &Path) -> io::Result<()> {
        let of_entries = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVE | AddWatchFlags::IN_DELETE;
        self.add(folder, of_entries | AddWatchFlags::IN_ONLYDIR)
    }

    /// Watches a file that was given by its own path, so that its folder may not be watched. Fails where
    /// [`FolderWatcher::add_folder`] does.
    pub(super) fn add_file(&mut self, file: &Path) -> io::Result<()> {
        self.add(file, AddWatchFlags::empty())
    }

    fn add(&mut self, path: &Path, more: AddWatchFlags) -> io::Result<()> {
        if REMOTE.contains(&i128::from(statfs(path)?.filesystem_type().0)) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let of_all = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        let descriptor = self.inotify.add_watch(path, of_all | more)?;
        let is_file = !more.contains(AddWatchFlags::IN_ONLYDIR);
        self.watched.insert(descriptor, WatchedPath { path: path.to_owned(), is_file, scan: self.scan });
        Ok(())
    }

    /// Ends a scan.
    pub(super) fn end_scan(&mut self) {
        let (inotify, scan) = (&self.inotify, self.scan);
        self.watched.retain(|descriptor, watched| {
            let found = watched.scan == scan;
            if !found {
                // Fails for a path that was deleted, whose watch the kernel has removed.
                let _removed = inotify.rm_watch(*descriptor);
            }
            found
        });
    }

    /// What was reported since the last call. Never blocks.
    pub(super) fn take(&mut self) -> ReportedFiles {
        let mut reported = ReportedFiles::default();
        loop {
            match self.inotify.read_events() {
                Ok(events) => events.iter().for_each(|event| self.add_event(event, &mut reported)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return reported,
                Err(_) => {
                    reported.all = true;
                    return reported;
                }
            }
            if reported.files.len() > MAX_FILES {
                reported.all = true;
                reported.files.clear();
            }
        }
    }

    fn add_event(&mut self, event: &InotifyEvent, reported: &mut ReportedFiles) {
        let is = |mask: AddWatchFlags| event.mask.intersects(mask);
        if is(AddWatchFlags::IN_Q_OVERFLOW) {
            reported.all = true;
            return;
        }
        let Some(watched) = self.watched.get(&event.wd) else { return };
        let path = match &event.name {
            None if watched.is_file && is(AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE) => {
                watched.path.clone()
            }
            // The path itself was moved, deleted, replaced, unmounted, or has other permissions.
            None => {
                reported.all = true;
                if is(AddWatchFlags::IN_IGNORED) {
                    self.watched.remove(&event.wd);
                }
                return;
            }
            Some(name) if name.as_encoded_bytes().starts_with(b".") => {
                reported.all |= name == KUBELET_LINK;
                return;
            }
            Some(_) if is(AddWatchFlags::IN_ISDIR) => {
                reported.all = true;
                return;
            }
            Some(name) => watched.path.join(name),
        };
        let complete = reported.files.entry(path).or_default();
        if is(AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO) {
            *complete = true;
        } else if is(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MODIFY) {
            *complete = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A watcher of a new folder.
    fn watched() -> (tempfile::TempDir, FolderWatcher) {
        let home = tempfile::tempdir().unwrap();
        let mut watcher = FolderWatcher::new().unwrap();
        watcher.begin_scan();
        watcher.add_folder(home.path()).unwrap();
        watcher.end_scan();
        (home, watcher)
    }

    /// The names in short: `a.yaml complete`, `a.yaml`, `all`.
    fn taken(watcher: &mut FolderWatcher) -> Vec<String> {
        let ReportedFiles { all, files } = watcher.take();
        let name = |(path, complete): (PathBuf, bool)| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name + if complete { " complete" } else { "" }
        };
        files.into_iter().map(name).chain(all.then(|| "all".to_owned())).collect()
    }

    #[test]
    fn a_file_is_complete_when_its_writer_has_closed_it_or_it_was_moved_here() {
        use std::io::Write;
        let (home, mut watcher) = watched();
        let at = |name: &str| home.path().join(name);
        let mut open = fs::File::create(at("a.yaml")).unwrap();
        open.write_all(b"half").unwrap();
        assert_eq!(taken(&mut watcher), ["a.yaml"]);
        drop(open);
        assert_eq!(taken(&mut watcher), ["a.yaml complete"]);
        fs::rename(at("a.yaml"), at("b.yaml")).unwrap();
        assert_eq!(taken(&mut watcher), ["a.yaml", "b.yaml complete"]);
        fs::write(at("b.yaml"), "whole").unwrap();
        let _again = fs::File::create(at("b.yaml")).unwrap();
        assert_eq!(taken(&mut watcher), ["b.yaml"], "it is being written again");
        fs::remove_file(at("b.yaml")).unwrap();
        fs::write(at(".b.yaml.swp"), "").unwrap();
        assert_eq!(taken(&mut watcher), ["b.yaml"]);
        assert_eq!(taken(&mut watcher), [""; 0]);
    }

    #[test]
    fn a_file_is_watched_without_its_folder() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("a.yaml"), "one").unwrap();
        let mut watcher = FolderWatcher::new().unwrap();
        watcher.add_file(&at("a.yaml")).unwrap();
        fs::write(at("a.yaml"), "two").unwrap();
        fs::write(at("b.yaml"), "other").unwrap();
        assert_eq!(taken(&mut watcher), ["a.yaml complete"]);
        fs::rename(at("b.yaml"), at("a.yaml")).unwrap();
        assert_eq!(taken(&mut watcher), ["all"], "it is another file now");
    }

    #[test]
    fn folders_and_the_link_of_the_kubelet_may_change_everything() {
        let (home, mut watcher) = watched();
        let at = |name: &str| home.path().join(name);
        fs::create_dir(at("..2026_01")).unwrap();
        assert_eq!(taken(&mut watcher), [""; 0]);
        symlink("..2026_01", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(taken(&mut watcher), ["all"]);
        fs::create_dir(at("more")).unwrap();
        assert_eq!(taken(&mut watcher), ["all"]);
        fs::remove_dir(at("more")).unwrap();
        assert_eq!(taken(&mut watcher), ["all"]);
        fs::rename(home.path(), home.path().with_extension("moved")).unwrap();
        assert_eq!(taken(&mut watcher), ["all"]);
        fs::rename(home.path().with_extension("moved"), home.path()).unwrap();
    }

    #[test]
    fn a_folder_that_a_scan_no_longer_finds_is_not_watched() {
        let (home, mut watcher) = watched();
        watcher.begin_scan();
        watcher.end_scan();
        fs::write(home.path().join("a.yaml"), "").unwrap();
        assert_eq!(taken(&mut watcher), [""; 0]);
        assert!(watcher.watched.is_empty());
    }

    #[test]
    fn when_events_are_lost_or_too_many_everything_is_scanned() {
        let (home, mut watcher) = watched();
        for number in 0..=MAX_FILES {
            fs::write(home.path().join(format!("{number}.yaml")), "").unwrap();
        }
        assert_eq!(taken(&mut watcher), ["all"]);
        let event = |wd, mask| InotifyEvent { wd, mask, cookie: 0, name: None };
        let lost = event(*watcher.watched.keys().next().unwrap(), AddWatchFlags::IN_Q_OVERFLOW);
        let mut reported = ReportedFiles::default();
        watcher.add_event(&lost, &mut reported);
        assert!(reported.all);
    }
}
