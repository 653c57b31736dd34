//! Regular expressions of users: rule paths, header patterns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Bound on the compiled size of a pattern, so that an Ingress cannot eat the memory of all.
const SIZE_LIMIT: usize = 1 << 20;
/// Bound on the steps of a pattern with look-around or back-references, as PCRE's match limit bounds nginx.
const BACKTRACK_LIMIT: usize = 100_000;

/// A compiled pattern. Linear in time where the pattern is regular; look-around and back-references, which PCRE
/// has, run on a backtracking engine with a limit.
pub struct Pattern {
    text: String,
    engine: Engine,
}

enum Engine {
    Linear(regex::Regex),
    Backtracking(Box<fancy_regex::Regex>),
}

/// The pattern ran into the limit of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfSteps;

impl Pattern {
    /// Compiles a pattern as PCRE reads it, unanchored. The error says what is wrong with it.
    pub fn new(text: &str, ignore_case: bool) -> Result<Self, String> {
        let linear =
            regex::RegexBuilder::new(text).case_insensitive(ignore_case).size_limit(SIZE_LIMIT).build();
        let engine = match linear {
            Ok(regex) => Engine::Linear(regex),
            Err(regex::Error::CompiledTooBig(_)) => return Err("it compiles to more than a mebibyte".into()),
            Err(_) => {
                let fancy = fancy_regex::RegexBuilder::new(text)
                    .case_insensitive(ignore_case)
                    .backtrack_limit(BACKTRACK_LIMIT)
                    .delegate_size_limit(SIZE_LIMIT)
                    .build();
                Engine::Backtracking(Box::new(fancy.map_err(|error| error.to_string())?))
            }
        };
        Ok(Self { text: text.into(), engine })
    }

    /// Whether the pattern is found in the text.
    pub fn is_match(&self, text: &str) -> Result<bool, OutOfSteps> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex.is_match(text)),
            Engine::Backtracking(regex) => regex.is_match(text).map_err(|_| OutOfSteps),
        }
    }

    /// Groups 1 to 9 of the leftmost match, absent ones empty; `None` where the pattern is not found.
    pub fn groups<'t>(&self, text: &'t str) -> Result<Option<[&'t str; 9]>, OutOfSteps> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex
                .captures(text)
                .map(|found| std::array::from_fn(|n| found.get(n + 1).map_or("", |group| group.as_str())))),
            Engine::Backtracking(regex) => Ok(regex
                .captures(text)
                .map_err(|_| OutOfSteps)?
                .map(|found| std::array::from_fn(|n| found.get(n + 1).map_or("", |group| group.as_str())))),
        }
    }
}

/// Two patterns are the same when their texts are.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

/// Patterns in use. Twenty thousand Ingresses that say `/(.*)` share one compiled pattern.
#[derive(Debug, Default)]
pub struct Patterns(Mutex<HashMap<String, Weak<Pattern>>>);

impl Patterns {
    /// The pattern of this text, ignoring case as rule paths do.
    pub fn path(&self, text: &str) -> Result<Arc<Pattern>, String> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = known.get(text).and_then(Weak::upgrade) {
            return Ok(pattern);
        }
        let pattern = Arc::new(Pattern::new(text, true)?);
        if known.len() == known.capacity() {
            known.retain(|_, pattern| pattern.strong_count() > 0);
        }
        known.insert(text.into(), Arc::downgrade(&pattern));
        Ok(pattern)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_pcre_does() {
        for (pattern, text, groups) in [
            ("/api/(.*)", "/API/v1", Some(["v1", ""])),
            ("/something(/|$)(.*)", "/something", Some(["", ""])),
            ("/something(/|$)(.*)", "/something/new", Some(["/", "new"])),
            ("/(?!private)(.*)", "/public", Some(["public", ""])),
            ("^/(?!private)(.*)", "/private", None),
            (r"/(a+)/\1$", "/aa/aa", Some(["aa", ""])),
            (r"/v\d++/(\w+)\/", "/v12/x/", Some(["x", ""])),
        ] {
            let pattern = Pattern::new(pattern, true).expect(pattern);
            let found = pattern.groups(text).expect("few steps").map(|groups| [groups[0], groups[1]]);
            assert_eq!(found, groups, "{pattern:?} on {text}");
            assert_eq!(pattern.is_match(text), Ok(groups.is_some()), "{pattern:?} on {text}");
        }
    }

    #[test]
    fn a_bad_pattern_says_what_is_wrong() {
        for text in ["/(", "[", "(?<n", "a{5000}{5000}"] {
            assert!(Pattern::new(text, true).is_err(), "{text}");
        }
    }

    #[test]
    fn backtracking_ends() {
        let pattern = Pattern::new(r"^(?:(?=a)a+)+$", true).expect("it compiles");
        assert_eq!(pattern.is_match(&("a".repeat(64) + "b")), Err(OutOfSteps));
    }

    #[test]
    fn equal_texts_share_one_pattern() {
        let patterns = Patterns::default();
        let (one, two) = (patterns.path("/(.*)"), patterns.path("/(.*)"));
        assert!(Arc::ptr_eq(&one.expect("it compiles"), &two.expect("it compiles")));
    }
}
