//! Reads imported files from the file system: the only module of this crate with I/O.

use std::io::{self, Read};
use std::path::{Component, Path};

use crate::loader::{Loader, fits};

/// Maximum size of a configuration file in bytes.
const MAX_FILE: u64 = 16 << 20;

/// The file system; relative paths start at the working directory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Loader for Disk {
    fn read(&self, path: &str) -> io::Result<String> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<String>> {
        let mut found = vec![String::new()];
        for component in Path::new(pattern).components() {
            found = match (component, component.as_os_str().to_str()) {
                (Component::RootDir, _) => vec!["/".to_owned()],
                (_, Some(part)) if part.contains(['*', '?']) => expand(&found, part),
                (_, Some(part)) => found.iter().map(|base| join(base, part)).collect(),
                (_, None) => Vec::new(),
            };
        }
        found.retain(|path| std::fs::symlink_metadata(path).is_ok());
        Ok(found)
    }
}

/// Directory entries that match one component of a pattern. As in Go, an unreadable directory has none.
fn expand(folders: &[String], part: &str) -> Vec<String> {
    let mut found = Vec::new();
    for folder in folders {
        let listed = if folder.is_empty() { "." } else { folder };
        let Ok(entries) = std::fs::read_dir(listed) else { continue };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| fits(part, name)).collect();
        names.sort();
        found.extend(names.iter().map(|name| join(folder, name)));
    }
    found
}

fn join(base: &str, part: &str) -> String {
    if base.is_empty() || base.ends_with('/') { format!("{base}{part}") } else { format!("{base}/{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_lists_files_by_name_across_folders() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        for path in ["b/two.conf", "a/two.conf", "a/one.conf", "a/one.txt"] {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        for (pattern, wanted) in [
            ("*/two.conf", vec!["a/two.conf", "b/two.conf"]),
            ("a/*.conf", vec!["a/one.conf", "a/two.conf"]),
            ("a/one.???", vec!["a/one.txt"]),
            ("none/*", vec![]),
        ] {
            let wanted: Vec<_> = wanted.iter().map(|path| format!("{root}/{path}")).collect();
            assert_eq!(Disk.glob(&format!("{root}/{pattern}")).unwrap(), wanted, "{pattern}");
        }
        assert_eq!(Disk.read(&format!("{root}/a/one.txt")).unwrap(), "x");
        assert!(Disk.read("/dev/zero").is_err(), "a file without end is refused");
        assert!(Disk.read(root).is_err(), "a folder is no file");
    }
}
