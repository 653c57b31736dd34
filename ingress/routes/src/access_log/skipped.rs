//! `skip-access-log-urls`: requests without a line.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::pattern::{Pattern, PatternError, StepBudget};

/// The request targets that are not logged. They are the keys of an nginx `map` of `$request_uri`: the whole target with its
/// query in any case of letters, or a regular expression after `~` (or `~*`, which ignores case).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SkippedUrls {
    /// In lower case, sorted.
    exact: Vec<Box<str>>,
    patterns: Vec<Arc<Pattern>>,
}

impl SkippedUrls {
    /// Adds an entry.
    pub(crate) fn add(&mut self, entry: &str) -> Result<(), PatternError> {
        if let Some(pattern) = entry.strip_prefix('~') {
            let insensitive = pattern.strip_prefix('*');
            let pattern = Pattern::new(insensitive.unwrap_or(pattern), insensitive.is_some())?;
            self.patterns.push(Arc::new(pattern));
            return Ok(());
        }
        // A backslash keeps the next character from having a meaning.
        let exact = entry.strip_prefix('\\').unwrap_or(entry).to_ascii_lowercase().into_boxed_str();
        if let Err(at) = self.exact.binary_search(&exact) {
            self.exact.insert(at, exact);
        }
        Ok(())
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    /// Whether requests to a target are not logged. Hot: no allocation for exact entries. A pattern for which the request has not
    /// enough steps left does not match.
    pub fn contains(&self, target: &str, budget: &mut StepBudget) -> bool {
        if !self.exact.is_empty() && self.exact.binary_search_by(|known| compare(known, target)).is_ok() {
            return true;
        }
        self.patterns.iter().any(|pattern| pattern.is_match(target, budget) == Ok(true))
    }
}

/// Compares a text in lower case with one in any case.
fn compare(lower: &str, other: &str) -> Ordering {
    lower.bytes().cmp(other.bytes().map(|byte| byte.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_compared_as_by_a_map_of_nginx() {
        let mut skipped = SkippedUrls::default();
        let mut budget = StepBudget::default();
        assert!(!skipped.contains("/health", &mut budget));
        for entry in ["/ping", "/Health", "~^/live[0-9]$", "~*^/READY", r"\~x", "/health"] {
            skipped.add(entry).unwrap();
        }
        assert_eq!(skipped.exact.len(), 3, "{skipped:?}");
        for (target, is_skipped) in [
            ("/health", true),
            ("/HEALTH", true),
            ("/health?full", false),
            ("/health/x", false),
            ("/ping", true),
            ("/pin", false),
            ("/live1", true),
            ("/LIVE1", false),
            ("/ready/now", true),
            ("~x", true),
            ("", false),
        ] {
            assert_eq!(skipped.contains(target, &mut budget), is_skipped, "{target}");
        }
        assert!(skipped.add("~(").is_err());
    }
}
