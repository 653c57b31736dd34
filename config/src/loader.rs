//! Access to imported files.

use std::collections::BTreeMap;
use std::io;

/// Reads imported files for the parser, which does no I/O itself.
pub trait Loader {
    /// Reads a file. Bytes that are not UTF-8 become U+FFFD.
    fn read(&self, path: &str) -> io::Result<String>;

    /// Paths that match a pattern with `*` and `?`, sorted by name.
    fn glob(&self, pattern: &str) -> io::Result<Vec<String>>;
}

/// In-memory files by path, for embedded configurations and tests.
impl Loader for BTreeMap<String, String> {
    fn read(&self, path: &str) -> io::Result<String> {
        self.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<String>> {
        Ok(self.keys().filter(|path| fits(pattern, path)).cloned().collect())
    }
}

/// Whether a name matches a pattern, by the rules of Go's `filepath.Match` without classes and escapes: `*` is any sequence of
/// characters and `?` any single character, except slashes.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return after(pattern, name) == Some("") };
    let Some(rest) = after(head, name) else { return false };
    let run = rest.find('/').unwrap_or(rest.len());
    (0..=run).any(|end| rest.is_char_boundary(end) && fits(tail, &rest[end..]))
}

/// Removes the prefix that matches a pattern without `*`.
fn after<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    let mut rest = name.chars();
    for wanted in pattern.chars() {
        let ch = rest.next()?;
        if wanted != ch && (wanted != '?' || ch == '/') {
            return None;
        }
    }
    Some(rest.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_within_one_path_segment() {
        for (pattern, name, wanted) in [
            ("/etc/*.conf", "/etc/a.conf", true),
            ("/etc/*.conf", "/etc/.conf", true),
            ("/etc/*.conf", "/etc/a/b.conf", false),
            ("/etc/?.conf", "/etc/é.conf", true),
            ("/etc/?.conf", "/etc/ab.conf", false),
            ("*", "", true),
            ("", "a", false),
            ("a*", "b", false),
        ] {
            assert_eq!(fits(pattern, name), wanted, "{pattern} on {name}");
        }
    }
}
