use dns_wire::Query;

use super::*;

/// Serves the files `db.ZONE` of a folder for zones below `org.`.
fn zone_folder(folder: &std::path::Path) -> ZoneFolder {
    ZoneFolder {
        folder: folder.to_owned(),
        pattern: Regex::new(r"db\.(.*)").unwrap(),
        origin: "{1}".to_owned(),
        zones: Zones::new(["org."]),
        fallthrough: None,
        reload: Duration::ZERO,
        served: Arc::default(),
    }
}

#[test]
fn files_are_served_while_they_are_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let auto = zone_folder(folder.path());
    let serial = |zone: &str| {
        let table = auto.served.load();
        let query = Query::new(1, &format!("www.{zone}").parse().unwrap(), 1);
        table.find(&query).and_then(|zone| zone.data.load().as_deref().map(|data| data.serial))
    };
    write("db.example.org", "@ SOA n h 1 2 3 4 5\n");
    write("db.example.net", "@ SOA n h 1 2 3 4 5\n");
    write("readme", "no zone");
    std::fs::create_dir(folder.path().join("more")).unwrap();
    write("more/db.sub.example.org", "@ SOA n h 3 2 3 4 5\n");
    let zones = auto.scan(HashMap::new());
    assert_eq!(["example.org.", "sub.example.org.", "example.net."].map(serial), [Some(1), Some(3), None]);
    write("db.example.org", "broken");
    std::fs::remove_file(folder.path().join("more/db.sub.example.org")).unwrap();
    let zones = auto.scan(zones);
    assert_eq!(
        ["example.org.", "sub.example.org."].map(serial),
        [Some(1), Some(1)],
        "the mistake changes nothing"
    );
    write("db.example.org", "@ SOA n h 2 2 3 4 5\n");
    let zones = auto.scan(zones);
    assert_eq!(serial("example.org."), Some(2));
    std::fs::create_dir(folder.path().join("a")).unwrap();
    write("a/db.example.org", "@ SOA n h 9 2 3 4 5\n");
    let zones = auto.scan(zones);
    assert_eq!(serial("example.org."), Some(9), "of two files the first one by path is served");
    std::fs::remove_dir_all(folder.path().join("a")).unwrap();
    auto.scan(zones);
    assert_eq!(serial("example.org."), Some(2));
}

/// Kubernetes mounts a ConfigMap as links to the files of a folder that it replaces.
#[test]
fn links_are_followed_and_each_folder_is_read_once() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (version, serial) in [("..1", 1), ("..2", 2)] {
        std::fs::create_dir_all(path(version).join("sub")).unwrap();
        for name in ["db.example.org", "sub/db.sub.example.org"] {
            std::fs::write(path(version).join(name), format!("@ SOA n h {serial} 2 3 4 5\n")).unwrap();
        }
    }
    symlink("..1", path("..data")).unwrap();
    symlink("..data/db.example.org", path("db.example.org")).unwrap();
    symlink("..data/sub", path("sub")).unwrap();
    symlink(".", path("loop")).unwrap();
    let auto = zone_folder(folder.path());
    assert_eq!(auto.files().len(), 2);
    let serials = |zones: &AutoZones| {
        let mut serials: Vec<u32> =
            zones.values().filter_map(|zone| Some(zone.served.data.load().as_deref()?.serial)).collect();
        serials.sort_unstable();
        serials
    };
    let zones = auto.scan(HashMap::new());
    assert_eq!(serials(&zones), [1, 1]);
    symlink("..2", path("..next")).unwrap();
    std::fs::rename(path("..next"), path("..data")).unwrap();
    assert_eq!(serials(&auto.scan(zones)), [2, 2]);
}

#[test]
fn a_file_that_has_not_changed_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, origin) = (folder.path().join("db"), "example.org.".parse::<Name>().unwrap());
    let write = |text: &str, age: u64| {
        std::fs::write(&path, text).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let modified = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
        file.set_modified(modified).unwrap();
    };
    let read = |last: Option<&AutoZone>| AutoZone::read(last, path.clone(), origin, &None);
    let serial = |zone: &AutoZone| zone.served.data.load().as_deref().map(|data| data.serial);
    write("@ SOA n h 1 2 3 4 5\n", 20);
    let zone = read(None);
    assert_eq!(serial(&zone), Some(1));
    // Nothing but its text tells that this file has changed.
    write("@ SOA n h 2 2 3 4 5\n", 20);
    let zone = read(Some(&zone));
    assert_eq!(serial(&zone), Some(1));
    write("@ SOA n h 3 2 3 4 5\n", 10);
    assert_eq!(serial(&read(Some(&zone))), Some(3));
    std::fs::write(&path, "@ SOA n h 4 2 3 4 5\n").unwrap();
    assert!(FileStamp::of(&path).is_none(), "it may change again at once");
}
