//! Regular expressions of users: rule paths, header patterns.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use cluster::CompactString;

mod pcre;

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
pub struct StepLimitExceeded;

impl Pattern {
    /// Compiles a pattern as PCRE reads it, unanchored. The error says what is wrong with it.
    pub fn new(text: &str, ignore_case: bool) -> Result<Self, String> {
        let rust = pcre::translate(text);
        let linear =
            regex::RegexBuilder::new(&rust).case_insensitive(ignore_case).size_limit(SIZE_LIMIT).build();
        let engine = match linear {
            Ok(regex) => Engine::Linear(regex),
            Err(regex::Error::CompiledTooBig(_)) => return Err("it compiles to more than a mebibyte".into()),
            Err(_) => {
                let fancy = fancy_regex::RegexBuilder::new(&rust)
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
    pub fn is_match(&self, text: &str) -> Result<bool, StepLimitExceeded> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex.is_match(text)),
            Engine::Backtracking(regex) => regex.is_match(text).map_err(|_| StepLimitExceeded),
        }
    }

    /// Groups 1 to 9 of the leftmost match, absent ones empty; `None` where the pattern is not found.
    pub fn groups<'t>(&self, text: &'t str) -> Result<Option<[&'t str; 9]>, StepLimitExceeded> {
        match &self.engine {
            Engine::Linear(regex) => Ok(regex
                .captures(text)
                .map(|found| std::array::from_fn(|n| found.get(n + 1).map_or("", |group| group.as_str())))),
            Engine::Backtracking(regex) => Ok(regex
                .captures(text)
                .map_err(|_| StepLimitExceeded)?
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

/// The path of a rule as a pattern: text that must stand at the start, and a pattern for what follows.
///
/// Paths such as `/shop-17(/|$)(.*)` differ in their first part only. Cut off, it is compared as text, and the rest
/// is one compiled pattern for all of them; 20,000 compiled ones would take 450 MiB.
#[derive(Clone, Debug, PartialEq)]
pub struct PathPattern {
    head: CompactString,
    rest: Option<Arc<Pattern>>,
}

impl PathPattern {
    /// The pattern of a rule's path from the start of a path, ignoring case. The error says what is wrong with it.
    pub fn anchored(text: &str, patterns: &PatternCache) -> Result<Self, String> {
        Self::new(text, "^", patterns)
    }

    /// The same anywhere in a path, for its groups: nginx's `rewrite` does not anchor it.
    pub fn anywhere(text: &str, patterns: &PatternCache) -> Result<Self, String> {
        Self::new(text, "", patterns)
    }

    /// The start of a path as text, whatever characters it has.
    pub(crate) fn text(text: &str) -> Self {
        Self { head: text.into(), rest: None }
    }

    /// What a path that matches begins with, whatever its case.
    pub(crate) fn head(&self) -> &str {
        &self.head
    }

    fn new(text: &str, anchor: &str, patterns: &PatternCache) -> Result<Self, String> {
        let head = head(text);
        let rest = &text[head.len()..];
        let rest = match (head, rest) {
            (_, "") => None,
            ("", whole) => Some(patterns.get(&format!("{anchor}{whole}"))?),
            // Where the head stands at the start, so does the leftmost match.
            (_, rest) => Some(patterns.get(&format!("^(?:{rest})"))?),
        };
        Ok(Self { head: head.into(), rest })
    }

    /// What follows the head.
    fn after<'t>(&self, path: &'t str) -> Option<&'t str> {
        let (head, rest) = path.split_at_checked(self.head.len())?;
        // PCRE without its Unicode mode ignores the case of ASCII letters.
        head.eq_ignore_ascii_case(&self.head).then_some(rest)
    }

    /// Whether a path matches.
    pub fn is_match(&self, path: &str) -> Result<bool, StepLimitExceeded> {
        match (self.after(path), &self.rest) {
            (None, _) => Ok(false),
            (Some(_), None) => Ok(true),
            (Some(after), Some(rest)) => rest.is_match(after),
        }
    }

    /// Groups 1 to 9, absent ones empty; `None` where the path does not match.
    pub fn groups<'t>(&self, path: &'t str) -> Result<Option<[&'t str; 9]>, StepLimitExceeded> {
        match (self.after(path), &self.rest) {
            (None, _) => Ok(None),
            (Some(_), None) => Ok(Some([""; 9])),
            (Some(after), Some(rest)) => rest.groups(after),
        }
    }
}

/// The text at the start of a pattern that stands for itself, where what follows means the same without it: no
/// alternative to it, and nothing that looks back.
fn head(text: &str) -> &str {
    let head = plain_head(text);
    let rest = &text[head.len()..];
    if looks_around(rest) {
        return "";
    }
    match rest.chars().next() {
        // The last character belongs to the quantifier.
        Some('?' | '*' | '+' | '{') => head.char_indices().next_back().map_or("", |(last, _)| &head[..last]),
        _ => head,
    }
}

/// The text before the first character with a meaning of its own.
pub(crate) fn plain_head(text: &str) -> &str {
    let special = |c: char| r"\^$.|?*+()[]{}".contains(c);
    text.find(special).map_or(text, |end| &text[..end])
}

/// Whether a pattern has an alternative at its top, or something that depends on what stands before it.
fn looks_around(pattern: &str) -> bool {
    let (mut depth, mut last) = (0_usize, ' ');
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('b' | 'B' | 'A' | 'G' | 'K' | 'Q') | None => return true,
                Some(_) => {}
            },
            '[' => skip_class(&mut chars),
            '^' => return true,
            '|' if depth == 0 => return true,
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            // Flags and comments reach to the end of their group; look-behind looks back.
            '?' if last == '(' && !matches!(chars.peek(), Some(':' | '=' | '!')) => return true,
            _ => {}
        }
        last = c;
    }
    false
}

/// Passes over a class whose bracket is open. A closing bracket at its very start stands for itself.
fn skip_class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    chars.next_if_eq(&'^');
    chars.next_if_eq(&']');
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            ']' => return,
            _ => {}
        }
    }
}

/// PatternCache in use. Twenty thousand Ingresses that say `/(.*)` share one compiled pattern.
#[derive(Debug, Default)]
pub struct PatternCache(Mutex<HashMap<String, Weak<Pattern>>>);

impl PatternCache {
    /// The pattern of this text, ignoring case as rule paths do.
    pub fn get(&self, text: &str) -> Result<Arc<Pattern>, String> {
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
            ("/a{b(.*)", "/a{bc", Some(["c", ""])),
            (r"^/(\w+)$", "/caf\u{e9}", None),
            (r"^/\d+$", "/\u{661}", None),
            (r"/x\Qa.b\E(.)", "/xa.bc", Some(["c", ""])),
        ] {
            let pattern = Pattern::new(pattern, true).expect(pattern);
            let found = pattern.groups(text).expect("few steps").map(|groups| [groups[0], groups[1]]);
            assert_eq!(found, groups, "{pattern:?} on {text}");
            assert_eq!(pattern.is_match(text), Ok(groups.is_some()), "{pattern:?} on {text}");
        }
    }

    #[test]
    fn a_path_pattern_means_what_the_whole_pattern_means() {
        let patterns = PatternCache::default();
        for (text, cut) in [
            ("/shop-17(/|$)(.*)", "/shop-17"),
            ("/plain", "/plain"),
            ("/api/?(.*)", "/api"),
            ("/api{1,2}/x", "/ap"),
            ("/[^/]+/x", "/"),
            ("/a(?:b|c)d", "/a"),
            ("/a(?!b).*", "/a"),
            ("/a(?<=/a)b", ""),
            (r"/a\b.*", ""),
            ("/a|/b", ""),
            ("/a(b|c)|/d", ""),
            ("/a[|]b", "/a"),
            (r"/a[\[\]|]b", "/a"),
            (r"/a[\[]|/b", ""),
            ("/a[^]|]b", "/a"),
            ("/a(?i)b", ""),
            ("/a^b", ""),
            ("(.*)", ""),
            ("/caf\u{e9}?x", "/caf"),
        ] {
            assert_eq!(head(text), cut, "{text}");
            let anchored = PathPattern::anchored(text, &patterns).expect(text);
            let anywhere = PathPattern::anywhere(text, &patterns).expect(text);
            let whole = Pattern::new(&format!("^{text}"), true).expect(text);
            let loose = Pattern::new(text, true).expect(text);
            for path in [
                "/",
                "/shop-17",
                "/SHOP-17/x/y",
                "/shop-17x",
                "/plain/x",
                "/api",
                "/api/x",
                "/apii/x",
                "/ab",
                "/acd",
                "/a",
                "/b",
                "/x/b",
                "/abc/x",
                "/x/y/x",
                "/a|b",
                "/caf\u{e9}x",
                "/cafx",
                "/d",
                "/aab",
                "",
            ] {
                assert_eq!(anchored.is_match(path), whole.is_match(path), "{text} on {path}");
                if whole.is_match(path) == Ok(true) {
                    assert_eq!(anywhere.groups(path), loose.groups(path), "{text} on {path}");
                }
            }
        }
        let shared = |text: &str| PathPattern::anchored(text, &patterns).expect(text).rest.expect(text);
        assert!(Arc::ptr_eq(&shared("/shop-1(/|$)(.*)"), &shared("/shop-2(/|$)(.*)")));
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
        assert_eq!(pattern.is_match(&("a".repeat(64) + "b")), Err(StepLimitExceeded));
    }

    #[test]
    fn equal_texts_share_one_pattern() {
        let patterns = PatternCache::default();
        let (one, two) = (patterns.get("/(.*)"), patterns.get("/(.*)"));
        assert!(Arc::ptr_eq(&one.expect("it compiles"), &two.expect("it compiles")));
    }
}
