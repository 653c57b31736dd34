//! Scans of what the kernel reports.

use super::*;

/// A folder with these files, and a scanner that has read them and watches them. File times are of one second ago.
fn watched(files: usize) -> (tempfile::TempDir, FileScanner) {
    let home = tempfile::tempdir().unwrap();
    for number in 0..files {
        write_old(&home.path().join(format!("{number}.yaml")), "one");
    }
    let mut scanner = FileScanner::new(vec![home.path().to_owned()]);
    scanner.watch().unwrap();
    assert_eq!(scan_at(&mut scanner, SystemTime::now()).0.len(), files);
    (home, scanner)
}

/// Writes a file that was modified long ago, so that its age is no reason to read it again.
fn write_old(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    let old = SystemTime::now() - Duration::from_secs(60);
    fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
}

/// The changes, and how many files were read for them. Fails if everything was scanned.
fn changes_and_reads(scanner: &mut FileScanner) -> (Vec<String>, usize) {
    changes_and_reads_at(scanner, SystemTime::now())
}

fn changes_and_reads_at(scanner: &mut FileScanner, now: SystemTime) -> (Vec<String>, usize) {
    let mut changes = Vec::new();
    let scan = scanner.scan(scan_time(now), &mut |path, text| {
        changes.push(format!("{} {}", path.file_name().unwrap().display(), text.unwrap_or("gone")));
    });
    assert_eq!(scan.problems, None, "everything was scanned");
    (changes, scan.read)
}

#[test]
fn only_the_changed_file_of_many_is_read() {
    let (home, mut scanner) = watched(500);
    assert_eq!(changes_and_reads(&mut scanner), (vec![], 0));
    fs::write(home.path().join("7.yaml"), "two").unwrap();
    assert_eq!(changes_and_reads(&mut scanner), (vec!["7.yaml two".to_owned()], 1));
    fs::write(home.path().join("8.yaml"), "one").unwrap();
    assert_eq!(changes_and_reads(&mut scanner), (vec![], 1), "the same text");
    assert_eq!(changes_and_reads(&mut scanner), (vec![], 0));
}

#[test]
fn files_that_editors_replace_are_read_at_once() {
    let (home, mut scanner) = watched(3);
    let now = SystemTime::now();
    let at = |name: &str| home.path().join(name);
    // A new file takes the place of the old one.
    fs::write(at(".0.yaml.tmp"), "two").unwrap();
    fs::rename(at(".0.yaml.tmp"), at("0.yaml")).unwrap();
    assert_eq!(changes_and_reads(&mut scanner), (vec!["0.yaml two".to_owned()], 1));
    // The old one is moved away first.
    fs::rename(at("1.yaml"), at("1.yaml~")).unwrap();
    assert_eq!(changes_and_reads_at(&mut scanner, now), (vec![], 0), "it may come back");
    fs::write(at("1.yaml"), "two").unwrap();
    assert_eq!(changes_and_reads_at(&mut scanner, now), (vec!["1.yaml two".to_owned()], 1));
    assert!(scanner.doubtful.is_empty());
    // The file has another name now.
    fs::rename(at("2.yaml"), at("new.yaml")).unwrap();
    assert_eq!(changes_and_reads_at(&mut scanner, now), (vec!["new.yaml one".to_owned()], 1));
    assert_eq!(scan_at(&mut scanner, now + GONE), (vec!["2.yaml gone".to_owned()], false));
}

#[test]
fn a_file_that_is_still_being_written_is_read_when_it_is_closed_or_has_settled() {
    use std::io::Write;
    let (home, mut scanner) = watched(2);
    let open = |name: &str| {
        let mut file = fs::File::create(home.path().join(name)).unwrap();
        file.write_all(b"half").unwrap();
        file
    };
    let half = [open("0.yaml"), open("new.yaml")];
    let modified = |file: &fs::File| file.metadata().unwrap().modified().unwrap();
    assert_eq!(changes_and_reads_at(&mut scanner, modified(&half[1])), (vec![], 0));
    drop(half);
    let changes = vec!["0.yaml half".to_owned(), "new.yaml half".to_owned()];
    assert_eq!(changes_and_reads(&mut scanner), (changes, 2));
    let open = open("1.yaml");
    assert_eq!(changes_and_reads_at(&mut scanner, modified(&open)), (vec![], 0));
    assert_eq!(scan_at(&mut scanner, modified(&open) + SOON), (vec!["1.yaml half".to_owned()], false));
}

#[test]
fn a_half_written_file_is_deleted_when_it_has_been_missing_for_a_while() {
    let (home, mut scanner) = watched(1);
    let path = home.path().join("0.yaml");
    let file = fs::File::create(&path).unwrap();
    let now = file.metadata().unwrap().modified().unwrap();
    assert_eq!(scan_at(&mut scanner, now), (vec![], true));
    fs::remove_file(&path).unwrap();
    assert_eq!(scan_at(&mut scanner, now + SOON), (vec![], true), "an editor may be about to put it back");
    assert_eq!(scan_at(&mut scanner, now + SOON + GONE), (vec!["0.yaml gone".to_owned()], false));
}

#[test]
fn new_folders_and_links_are_followed() {
    let (home, mut scanner) = watched(1);
    let elsewhere = tempfile::tempdir().unwrap();
    write_old(&elsewhere.path().join("target"), "one");
    write_old(&elsewhere.path().join("other"), "other");
    fs::create_dir(home.path().join("folder")).unwrap();
    write_old(&home.path().join("folder/in.yaml"), "in");
    symlink(elsewhere.path().join("target"), home.path().join("link.yaml")).unwrap();
    assert_eq!(changes(&mut scanner), ["in.yaml in", "link.yaml one"]);
    fs::write(home.path().join("folder/in.yaml"), "two").unwrap();
    assert_eq!(changes_and_reads(&mut scanner).0, ["in.yaml two"], "the new folder is watched");
    // No event says that the target of a link has changed.
    write_old(&elsewhere.path().join("target"), "two");
    assert_eq!(changes(&mut scanner), ["link.yaml two"]);
    symlink(elsewhere.path().join("target"), home.path().join("later.yaml")).unwrap();
    assert_eq!(changes(&mut scanner), ["later.yaml two"]);
    fs::rename(elsewhere.path().join("other"), elsewhere.path().join("target")).unwrap();
    assert_eq!(changes(&mut scanner), ["later.yaml other", "link.yaml other"]);
}

#[test]
fn a_link_is_followed_when_its_target_appears() {
    let (home, mut scanner) = watched(1);
    let elsewhere = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    for name in ["link.yaml", "folder"] {
        symlink(elsewhere.path().join(name), home.path().join(name)).unwrap();
    }
    assert_eq!(changes_and_reads_at(&mut scanner, now), (vec![], 0));
    write_old(&elsewhere.path().join("link.yaml"), "one");
    let now = now + Duration::from_secs(1);
    assert_eq!(changes_and_reads_at(&mut scanner, now), (vec!["link.yaml one".to_owned()], 1));
    fs::create_dir(elsewhere.path().join("folder")).unwrap();
    write_old(&elsewhere.path().join("folder/in.yaml"), "in");
    assert_eq!(scan_at(&mut scanner, now + Duration::from_secs(1)), (vec!["in.yaml in".to_owned()], false));
}

#[test]
fn a_file_that_is_now_found_under_another_name_is_deleted_under_the_old_one() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    for version in ["v1", "v2"] {
        fs::create_dir(at(version)).unwrap();
        write_old(&at(version).join(format!("{version}.yaml")), "one");
    }
    symlink("v1", at("current")).unwrap();
    let mut scanner = FileScanner::new(vec![home.path().to_owned()]);
    scanner.watch().unwrap();
    // `current/v1.yaml` and `v2/v2.yaml`: a folder is visited once, under the first name.
    assert_eq!(changes(&mut scanner), ["v1.yaml one", "v2.yaml one"]);
    fs::remove_file(at("current")).unwrap();
    symlink("v2", at("current")).unwrap();
    let now = later();
    scanner.full_scan_at = scan_time(now).monotonic;
    assert_eq!(scan_at(&mut scanner, now), (vec!["v2.yaml one".to_owned(), "v1.yaml one".to_owned()], true));
    let gone = vec!["v1.yaml gone".to_owned(), "v2.yaml gone".to_owned()];
    assert_eq!(scan_at(&mut scanner, now + Duration::from_secs(1)), (gone, false));
    let known: Vec<_> = scanner.known.keys().cloned().collect();
    assert_eq!(known, [at("current/v2.yaml"), at("v1/v1.yaml")]);
}

#[test]
fn a_folder_that_comes_back_is_read_again() {
    let (home, mut scanner) = watched(2);
    let moved = home.path().with_extension("moved");
    fs::rename(home.path(), &moved).unwrap();
    assert_eq!(changes(&mut scanner), ["No such file or directory (os error 2)"]);
    fs::write(moved.join("0.yaml"), "two").unwrap();
    fs::rename(&moved, home.path()).unwrap();
    assert_eq!(changes(&mut scanner), ["0.yaml two"]);
    fs::write(home.path().join("1.yaml"), "two").unwrap();
    assert_eq!(changes_and_reads(&mut scanner), (vec!["1.yaml two".to_owned()], 1));
}

#[test]
fn the_files_of_a_mounted_config_map_are_replaced_at_once() {
    let mount = tempfile::tempdir().unwrap();
    let at = |name: &str| mount.path().join(name);
    let swap = |version: &str, text: &str| {
        fs::create_dir(at(version)).unwrap();
        write_old(&at(version).join("web.yaml"), text);
        symlink(version, at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
    };
    swap("..2026_01", "one");
    symlink("..data/web.yaml", at("web.yaml")).unwrap();
    let mut scanner = FileScanner::new(vec![mount.path().to_owned()]);
    scanner.watch().unwrap();
    let now = SystemTime::now();
    assert_eq!(scan_at(&mut scanner, now).0, ["web.yaml one"]);
    swap("..2026_02", "two");
    // Too early for links to be polled: the event says it.
    scanner.full_scan_from = scan_time(now).monotonic;
    assert_eq!(scan_at(&mut scanner, now + Duration::from_millis(100)).0, ["web.yaml two"]);
}

#[test]
fn a_file_beyond_the_limits_is_reported_by_a_scan_of_everything() {
    let (home, mut scanner) = watched(1);
    fs::File::create(home.path().join("large.yaml")).unwrap().set_len(MAX_SIZE + 1).unwrap();
    assert_eq!(scan_at(&mut scanner, SystemTime::now() + PERIOD).0, ["too large, not read"]);
    fs::write(home.path().join("0.yaml"), "two").unwrap();
    fs::remove_file(home.path().join("large.yaml")).unwrap();
    assert_eq!(changes(&mut scanner), ["0.yaml two"]);
    scanner.size = MAX_TOTAL_SIZE;
    fs::write(home.path().join("0.yaml"), "three").unwrap();
    assert!(scanner.scan(scan_time(later()), &mut |_, _| {}).problems.is_some());
}

#[test]
fn a_half_written_file_that_cannot_be_read_waits_for_scans_of_everything() {
    use std::io::Write;
    let (home, mut scanner) = watched(1);
    let mut file = fs::File::create(home.path().join("0.yaml")).unwrap();
    file.write_all(b"half").unwrap();
    let now = file.metadata().unwrap().modified().unwrap();
    assert_eq!(scan_at(&mut scanner, now), (vec![], true));
    file.set_len(MAX_SIZE + 1).unwrap();
    let now = now + Duration::from_secs(1);
    assert_eq!(scan_at(&mut scanner, now), (vec!["too large, not read".to_owned()], false));
    let scan = scanner.scan(scan_time(now), &mut |_, _| {});
    assert!(scan.pause > Duration::ZERO && scan.problems.is_none(), "{scan:?}");

    // An event about it starts no scan of everything earlier than those that the kernel's events start.
    let pause = Duration::from_millis(10);
    scanner.full_scan_from = scan_time(now).monotonic + pause;
    file.write_all(b"more").unwrap();
    assert_eq!(scanner.scan(scan_time(now), &mut |_, _| {}), Scan { problems: None, pause, read: 0 });
    assert_eq!(scan_at(&mut scanner, now + pause).0, ["too large, not read"]);
}

#[test]
fn files_of_a_named_folder_that_is_missing_are_kept() {
    let (home, mut scanner) = watched(2);
    let now = SystemTime::now() + Duration::from_secs(1);
    fs::remove_file(home.path().join("0.yaml")).unwrap();
    assert_eq!(scan_at(&mut scanner, now), (vec![], true));
    fs::remove_dir_all(home.path()).unwrap();
    for _ in 0..2 {
        scanner.full_scan_at = scan_time(now).monotonic;
        assert_eq!(
            scan_at(&mut scanner, now),
            (vec!["No such file or directory (os error 2)".to_owned()], false)
        );
    }
    assert_eq!(scan_at(&mut scanner, now + GONE), (vec![], false));
    fs::create_dir(home.path()).unwrap();
}
