use std::fs;
use std::os::unix::fs::symlink;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::walk::{MAX_DEPTH, MAX_ENTRIES, MAX_SIZE};
use super::*;

/// A time when all files have settled: a second after the last one that this returned.
fn later() -> SystemTime {
    static SECONDS: AtomicU64 = AtomicU64::new(1);
    SystemTime::now() + Duration::from_secs(SECONDS.fetch_add(1, Ordering::Relaxed))
}

/// A scan at this time of a clock that is never set.
fn scan_time(clock: SystemTime) -> ScanTime {
    // Later than the start of any scanner, also for a file time, which may be some milliseconds old.
    static START: LazyLock<(SystemTime, Instant)> =
        LazyLock::new(|| (SystemTime::now() - Duration::from_secs(60), Instant::now()));
    let (start, monotonic) = *START;
    ScanTime { clock, monotonic: monotonic + clock.duration_since(start).unwrap() }
}

/// Scans at a time when all files have settled. Returns the changes and problems, and whether to scan again soon.
fn scan(folder: &mut FileScanner) -> (Vec<String>, bool) {
    scan_at(folder, later())
}

fn scan_at(folder: &mut FileScanner, now: SystemTime) -> (Vec<String>, bool) {
    let mut changes = Vec::new();
    let scan = folder.scan(scan_time(now), &mut |path, text| {
        let name = path.file_name().unwrap().to_string_lossy();
        changes.push(text.map_or(format!("{name} gone"), |text| format!("{name} {text}")));
    });
    changes.extend(scan.problems.into_iter().flatten().map(|problem| problem.what));
    (changes, !folder.doubtful.is_empty())
}

fn changes(folder: &mut FileScanner) -> Vec<String> {
    scan(folder).0
}

#[test]
fn only_manifests_are_found_in_folders_and_those_below() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("b/c")).unwrap();
    fs::create_dir_all(home.path().join(".git")).unwrap();
    for name in ["z.yaml", "a.json", "b/c/d.yml", "notes.txt", ".hidden.yaml", ".git/x.yaml", "named"] {
        fs::write(home.path().join(name), name).unwrap();
    }
    let mut folder = FileScanner::new(vec![home.path().to_owned(), home.path().join("named")]);
    assert_eq!(changes(&mut folder), ["a.json a.json", "d.yml b/c/d.yml", "named named", "z.yaml z.yaml"]);
    assert_eq!(changes(&mut folder), [""; 0]);
}

#[test]
fn a_change_is_found_even_if_size_and_time_are_equal() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a.yaml");
    fs::write(&path, "one").unwrap();
    let mut folder = FileScanner::new(vec![home.path().to_owned()]);
    assert_eq!(changes(&mut folder), ["a.yaml one"]);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "two").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(changes(&mut folder), ["a.yaml two"]);
}

#[test]
fn a_clock_that_is_set_back_delays_nothing() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("a.yaml"), "one").unwrap();
    let mut folder = FileScanner::new(vec![home.path().to_owned()]);
    assert_eq!(changes(&mut folder), ["a.yaml one"]);
    fs::write(home.path().join("a.yaml"), "two").unwrap();
    let time = scan_time(later());
    let hour = Duration::from_secs(3600);
    let mut texts = Vec::new();
    let scan = folder.scan(ScanTime { clock: time.clock - hour, ..time }, &mut |_, text| {
        texts.extend(text.map(str::to_owned));
    });
    assert_eq!((texts, scan.pause <= PERIOD), (vec!["two".to_owned()], true));
}

#[test]
fn a_file_being_written_is_read_when_it_has_settled() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a.yaml");
    fs::write(&path, "whole").unwrap();
    let mut folder = FileScanner::new(vec![home.path().to_owned()]);
    assert_eq!(changes(&mut folder), ["a.yaml whole"]);
    fs::write(&path, "").unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    folder.full_scan_at = Instant::now();
    assert_eq!(scan_at(&mut folder, modified + Duration::from_millis(1)), (vec![], true));
    fs::write(&path, "whole again").unwrap();
    assert_eq!(scan(&mut folder), (vec!["a.yaml whole again".to_owned()], false));
}

#[test]
fn a_file_is_deleted_when_two_scans_miss_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a.yaml");
    fs::write(&path, "one").unwrap();
    let mut folder = FileScanner::new(vec![home.path().to_owned()]);
    changes(&mut folder);
    fs::remove_file(&path).unwrap();
    assert_eq!(scan(&mut folder), (vec![], true), "an editor may be about to put it back");
    fs::write(&path, "one").unwrap();
    assert_eq!(scan(&mut folder), (vec![], false));
    fs::remove_file(&path).unwrap();
    assert_eq!(scan(&mut folder), (vec![], true));
    assert_eq!(scan(&mut folder), (vec!["a.yaml gone".to_owned()], false));
}

/// The layout of the kubelet: files in a folder named after the time, `..data` linking to it, and links through `..data`.
#[test]
fn the_swap_of_a_mounted_config_map_is_one_change_of_each_file() {
    let mount = tempfile::tempdir().unwrap();
    let at = |name: &str| mount.path().join(name);
    let write = |version: &str, files: &[(&str, &str)]| {
        fs::create_dir(at(version)).unwrap();
        files.iter().for_each(|(name, text)| fs::write(at(version).join(name), text).unwrap());
        symlink(version, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    write("..2026_01", &[("web.yaml", "one"), ("db.yaml", "db")]);
    symlink("..data/web.yaml", at("web.yaml")).unwrap();
    symlink("..data/db.yaml", at("db.yaml")).unwrap();
    let mut folder = FileScanner::new(vec![mount.path().to_owned()]);
    assert_eq!(changes(&mut folder), ["db.yaml db", "web.yaml one"]);

    write("..2026_02", &[("web.yaml", "two")]);
    fs::remove_file(at("db.yaml")).unwrap();
    fs::remove_dir_all(at("..2026_01")).unwrap();
    assert_eq!(changes(&mut folder), ["web.yaml two"]);
    assert_eq!(changes(&mut folder), ["db.yaml gone"]);
}

#[test]
fn a_loop_of_links_ends() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("a.yaml"), "one").unwrap();
    symlink(home.path(), home.path().join("again")).unwrap();
    symlink("nowhere", home.path().join("dangling.yaml")).unwrap();
    assert_eq!(changes(&mut FileScanner::new(vec![home.path().to_owned()])), ["a.yaml one"]);
}

#[test]
fn a_missing_path_keeps_its_files_and_is_reported() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("manifests");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), "one").unwrap();
    let mut folder = FileScanner::new(vec![path.clone()]);
    changes(&mut folder);
    fs::rename(&path, home.path().join("moved")).unwrap();
    for _ in 0..3 {
        assert_eq!(changes(&mut folder), ["No such file or directory (os error 2)"]);
    }
    fs::rename(home.path().join("moved"), &path).unwrap();
    assert_eq!(changes(&mut folder), [""; 0]);
}

#[test]
fn a_file_that_is_not_regular_is_rejected_without_blocking() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::write(at("a.yaml"), "one").unwrap();
    let made = std::process::Command::new("mkfifo").arg(at("fifo.yaml")).status().unwrap();
    assert!(made.success());
    symlink("/dev/zero", at("zero.yaml")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket.yaml")).unwrap();
    let refused = "neither a file nor a folder";
    assert_eq!(
        changes(&mut FileScanner::new(vec![home.path().to_owned()])),
        ["a.yaml one", refused, refused, refused]
    );
    assert!(matches!(read(&at("fifo.yaml")), Err(FileError::NotAFile)), "a FIFO replaced the file");
    assert!(matches!(read(&at("zero.yaml")), Err(FileError::NotAFile)));
}

#[test]
fn a_file_that_becomes_a_fifo_keeps_its_last_text() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a.yaml");
    fs::write(&path, "one").unwrap();
    let mut scanner = FileScanner::new(vec![home.path().to_owned()]);
    changes(&mut scanner);
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    for _ in 0..3 {
        assert_eq!(changes(&mut scanner), ["neither a file nor a folder"]);
    }
}

#[test]
fn a_file_that_is_too_large_is_rejected() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a.yaml");
    fs::File::create(&path).unwrap().set_len(MAX_SIZE + 1).unwrap();
    assert_eq!(changes(&mut FileScanner::new(vec![home.path().to_owned()])), ["too large, not read"]);
    assert!(matches!(read(&path), Err(FileError::TooLarge)), "the file grew after its metadata was read");
    fs::File::create(&path).unwrap().set_len(MAX_SIZE).unwrap();
    assert_eq!(read(&path).unwrap().len() as u64, MAX_SIZE);
}

#[test]
fn folders_that_are_nested_too_deeply_are_not_entered() {
    let home = tempfile::tempdir().unwrap();
    let deepest = (1..MAX_DEPTH).fold(home.path().to_owned(), |path, _| path.join("d"));
    fs::create_dir_all(deepest.join("d")).unwrap();
    fs::write(deepest.join("in.yaml"), "one").unwrap();
    fs::write(deepest.join("d/out.yaml"), "two").unwrap();
    assert_eq!(
        changes(&mut FileScanner::new(vec![home.path().to_owned()])),
        ["in.yaml one", "nested too deeply, not read"]
    );
}

#[test]
fn files_beyond_the_limit_are_reported() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("00000.yaml");
    fs::write(&file, "").unwrap();
    // Hard links count as files and take no disk space.
    (1..MAX_FILES + 2 * MAX_PROBLEMS).for_each(|number| {
        fs::hard_link(&file, home.path().join(format!("{number:05}.yaml"))).unwrap();
    });
    let mut files = 0;
    let scan =
        FileScanner::new(vec![home.path().to_owned()]).scan(scan_time(later()), &mut |_, _| files += 1);
    let problems = scan.problems.unwrap();
    assert_eq!((files, problems.len()), (MAX_FILES, MAX_PROBLEMS + 1));
    assert_eq!(problems[0].wanted, "at most 50000 manifests");
    assert_eq!(problems[MAX_PROBLEMS].what, "100 more files and folders cannot be read");
}

#[test]
fn files_that_are_too_large_together_are_reported() {
    let home = tempfile::tempdir().unwrap();
    for name in ["a.yaml", "b.yaml", "c.yaml"] {
        fs::File::create(home.path().join(name)).unwrap().set_len(10).unwrap();
    }
    let mut walk = Walk { size: MAX_TOTAL_SIZE - 20, ..Walk::default() };
    walk.visit_named(home.path());
    assert_eq!(walk.files.len(), 2);
    assert!(matches!(&walk.problems[..], [(_, FileError::TooLargeTogether)]), "{:?}", walk.problems);
}

#[test]
fn a_folder_with_too_many_entries_is_reported() {
    let mut walk = Walk { entries: MAX_ENTRIES, ..Walk::default() };
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("a.yaml"), "one").unwrap();
    walk.visit_named(home.path());
    assert!(walk.files.is_empty());
    assert!(matches!(&walk.problems[..], [(_, FileError::TooManyEntries)]), "{:?}", walk.problems);
}

mod watched;
