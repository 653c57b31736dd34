//! The path of a rule as a pattern.

use std::sync::Arc;

use cluster::CompactString;
use smallvec::smallvec;

use super::{Captures, Pattern, PatternCache, PatternError, StepBudget, StepLimitExceeded};

/// The path of a rule as a pattern: literal text at its start, and a pattern for what follows.
///
/// Many paths, such as `/shop-17(/|$)(.*)`, differ only in their literal prefix. The prefix is compared as text, so that they
/// share one compiled pattern; 20,000 compiled patterns would take 450 MiB.
#[derive(Clone, Debug, PartialEq)]
pub struct PathPattern {
    prefix: CompactString,
    pub(super) rest: Option<Arc<Pattern>>,
}

impl PathPattern {
    /// The pattern of a rule's path, found at the start of a request path only. Case is ignored.
    pub fn anchored(text: &str, patterns: &PatternCache) -> Result<Self, PatternError> {
        Self::new(text, "^", patterns)
    }

    /// The same, but found anywhere in a path: nginx's `rewrite` does not anchor it.
    pub fn anywhere(text: &str, patterns: &PatternCache) -> Result<Self, PatternError> {
        Self::new(text, "", patterns)
    }

    /// A pattern of literal text only, whatever characters it has.
    pub(crate) fn literal(text: &str) -> Self {
        Self { prefix: text.into(), rest: None }
    }

    /// Literal text at the start of every matching path, ignoring case.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    fn new(text: &str, anchor: &str, patterns: &PatternCache) -> Result<Self, PatternError> {
        const GROUP: [&str; 2] = ["^(?:", ")"];
        let prefix = separable_prefix(text);
        let (before, pattern) = match (prefix, &text[prefix.len()..]) {
            (_, "") => return Ok(Self::literal(text)),
            ("", whole) => (anchor, format!("{anchor}{whole}")),
            // The leftmost match of the rest begins where the prefix ends.
            (_, rest) => (GROUP[0], format!("{}{rest}{}", GROUP[0], GROUP[1])),
        };
        let rest = patterns.get(&pattern).map_err(|mut error| {
            let moved = |at: usize| (at + prefix.chars().count()).saturating_sub(before.len());
            error.character = error.character.map(|at| moved(at).clamp(1, text.chars().count()));
            error
        })?;
        Ok(Self { prefix: prefix.into(), rest: Some(rest) })
    }

    /// What follows the prefix.
    fn strip_prefix<'t>(&self, path: &'t str) -> Option<&'t str> {
        let (start, rest) = path.split_at_checked(self.prefix.len())?;
        // PCRE without its Unicode mode ignores the case of ASCII letters only.
        start.eq_ignore_ascii_case(&self.prefix).then_some(rest)
    }

    /// Whether a path matches.
    pub fn is_match(&self, path: &str, budget: &mut StepBudget) -> Result<bool, StepLimitExceeded> {
        match (self.strip_prefix(path), &self.rest) {
            (None, _) => Ok(false),
            (Some(_), None) => Ok(true),
            (Some(after), Some(rest)) => rest.is_match(after, budget),
        }
    }

    /// The groups of a match; `None` where the path does not match.
    pub fn captures<'t>(
        &self,
        path: &'t str,
        budget: &mut StepBudget,
    ) -> Result<Option<Captures<'t>>, StepLimitExceeded> {
        match (self.strip_prefix(path), &self.rest) {
            (None, _) => Ok(None),
            (Some(_), None) => Ok(Some(smallvec![&path[..self.prefix.len()]])),
            (Some(after), Some(rest)) => rest.captures(after, budget),
        }
    }

    /// The number of the group `(?<name>…)`.
    pub fn group_number(&self, name: &str) -> Option<usize> {
        self.rest.as_ref()?.group_number(name)
    }
}

/// The literal prefix of a pattern, if the rest means the same without it: the rest has no alternative at its top level and
/// nothing that looks back. Otherwise empty.
pub(super) fn separable_prefix(text: &str) -> &str {
    let prefix = literal_prefix(text);
    let rest = &text[prefix.len()..];
    if depends_on_prefix(rest) {
        return "";
    }
    match rest.chars().next() {
        // The quantifier applies to the last character.
        Some('?' | '*' | '+' | '{') => {
            prefix.char_indices().next_back().map_or("", |(last, _)| &prefix[..last])
        }
        _ => prefix,
    }
}

/// The text before the first character that has a meaning in patterns.
pub(crate) fn literal_prefix(text: &str) -> &str {
    let special = |c: char| r"\^$.|?*+()[]{}".contains(c);
    text.find(special).map_or(text, |end| &text[..end])
}

/// Whether a pattern has an alternative at its top level, or something that depends on the text before it.
fn depends_on_prefix(pattern: &str) -> bool {
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
            // Flags apply to the rest of their group, and look-behind looks back.
            '?' if last == '(' && !matches!(chars.peek(), Some(':' | '=' | '!')) => return true,
            _ => {}
        }
        last = c;
    }
    false
}

/// Skips a character class whose opening bracket is consumed. A closing bracket at its very start is a member.
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
