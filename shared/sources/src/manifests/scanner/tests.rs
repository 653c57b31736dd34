use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// A look long enough after everything was written for it to be settled.
fn scan(folder: &mut FileScanner) -> (Vec<String>, bool) {
    let Scan { changed, problems, in_doubt } = folder.scan(SystemTime::now() + Duration::from_secs(1));
    let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let changed = changed.into_iter().map(|(path, text)| match text {
        Some(text) => format!("{} {text}", name(path)),
        None => format!("{} gone", name(path)),
    });
    let problems = problems.into_iter().map(|problem| problem.what);
    (changed.chain(problems).collect(), in_doubt)
}

fn news(folder: &mut FileScanner) -> Vec<String> {
    scan(folder).0
}

#[test]
fn manifests_are_found_in_folders_below_and_nothing_else_is() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("b/c")).unwrap();
    fs::create_dir_all(home.path().join(".git")).unwrap();
    for name in ["z.yaml", "a.json", "b/c/d.yml", "notes.txt", ".hidden.yaml", ".git/x.yaml", "named"] {
        fs::write(home.path().join(name), name).unwrap();
    }
    let mut folder = FileScanner::new(vec![home.path().to_owned(), home.path().join("named")]);
    assert_eq!(news(&mut folder), ["a.json a.json", "d.yml b/c/d.yml", "named named", "z.yaml z.yaml"]);
    assert_eq!(news(&mut folder), [""; 0]);
}

#[test]
fn a_change_is_seen_even_when_size_and_time_stay() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a.yaml");
    fs::write(&path, "one").unwrap();
    let mut folder = FileScanner::new(vec![home.path().to_owned()]);
    assert_eq!(news(&mut folder), ["a.yaml one"]);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "two").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert_eq!(news(&mut folder), ["a.yaml two"]);
}

#[test]
fn a_file_being_written_is_read_when_it_has_settled() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a.yaml");
    fs::write(&path, "whole").unwrap();
    let mut folder = FileScanner::new(vec![home.path().to_owned()]);
    assert_eq!(news(&mut folder), ["a.yaml whole"]);
    fs::write(&path, "").unwrap();
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let early = folder.scan(modified + Duration::from_millis(1));
    assert!(early.changed.is_empty() && early.in_doubt, "{early:?}");
    fs::write(&path, "whole again").unwrap();
    assert_eq!(scan(&mut folder), (vec!["a.yaml whole again".to_owned()], false));
}

#[test]
fn a_file_is_gone_when_two_looks_say_so() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("a.yaml");
    fs::write(&path, "one").unwrap();
    let mut folder = FileScanner::new(vec![home.path().to_owned()]);
    news(&mut folder);
    fs::remove_file(&path).unwrap();
    assert_eq!(scan(&mut folder), (vec![], true), "an editor may be about to put it back");
    fs::write(&path, "one").unwrap();
    assert_eq!(scan(&mut folder), (vec![], false));
    fs::remove_file(&path).unwrap();
    assert_eq!(scan(&mut folder), (vec![], true));
    assert_eq!(scan(&mut folder), (vec!["a.yaml gone".to_owned()], false));
}

/// As the kubelet does it: files in a folder named after the time, `..data` pointing at it, links through `..data`.
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
    assert_eq!(news(&mut folder), ["db.yaml db", "web.yaml one"]);

    write("..2026_02", &[("web.yaml", "two")]);
    fs::remove_file(at("db.yaml")).unwrap();
    fs::remove_dir_all(at("..2026_01")).unwrap();
    assert_eq!(news(&mut folder), ["web.yaml two"]);
    assert_eq!(news(&mut folder), ["db.yaml gone"]);
}

#[test]
fn links_in_a_circle_end() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("a.yaml"), "one").unwrap();
    symlink(home.path(), home.path().join("again")).unwrap();
    symlink("nowhere", home.path().join("dangling.yaml")).unwrap();
    assert_eq!(news(&mut FileScanner::new(vec![home.path().to_owned()])), ["a.yaml one"]);
}

#[test]
fn a_path_that_goes_away_keeps_what_it_held_and_is_reported() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("manifests");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), "one").unwrap();
    let mut folder = FileScanner::new(vec![path.clone()]);
    news(&mut folder);
    fs::rename(&path, home.path().join("moved")).unwrap();
    for _ in 0..3 {
        assert_eq!(news(&mut folder), ["No such file or directory (os error 2)"]);
    }
    fs::rename(home.path().join("moved"), &path).unwrap();
    assert_eq!(news(&mut folder), [""; 0]);
}
