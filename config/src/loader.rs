//! Where imported files come from.

use std::collections::BTreeMap;
use std::io;

/// Reads what `import` names. The parser itself touches no file.
pub trait Loader {
    /// The text of a file. Bytes that are not UTF-8 come as U+FFFD.
    fn read(&self, path: &str) -> io::Result<String>;

    /// The files that fit a pattern with `*` and `?`, in the order of their names.
    fn glob(&self, pattern: &str) -> io::Result<Vec<String>>;
}

/// Texts by path, for embedded configurations and tests.
impl Loader for BTreeMap<String, String> {
    fn read(&self, path: &str) -> io::Result<String> {
        self.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&self, pattern: &str) -> io::Result<Vec<String>> {
        Ok(self.keys().filter(|path| fits(pattern, path)).cloned().collect())
    }
}

/// Whether a name fits a pattern, by the rules of Go's `filepath.Match` without classes and escapes: `*` is
/// any run of characters and `?` any single one, neither of them a slash.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else { return after(pattern, name) == Some("") };
    let Some(rest) = after(head, name) else { return false };
    let run = rest.find('/').unwrap_or(rest.len());
    (0..=run).any(|end| rest.is_char_boundary(end) && fits(tail, &rest[end..]))
}

/// What follows the characters of a starless pattern, if the name begins with them.
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
