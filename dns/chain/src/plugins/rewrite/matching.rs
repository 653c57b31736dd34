//! How names are matched and replaced: `exact`, `prefix`, `suffix`, `substring` and `regex`.

use regex::Regex;

/// Texts that match, and what replaces them.
#[derive(Debug)]
pub(super) enum TextRewrite {
    Exact {
        from: String,
        to: String,
    },
    Prefix {
        from: String,
        to: String,
    },
    Suffix {
        from: String,
        to: String,
    },
    Substring {
        from: String,
        to: String,
    },
    /// The whole text is replaced; `{1}` is a group of the pattern.
    Regex {
        pattern: Regex,
        to: String,
    },
}

/// The words of the Corefile, in the order of their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatchKind {
    Exact,
    Prefix,
    Suffix,
    Substring,
    Regex,
}

impl MatchKind {
    /// The kind with this name, in any letter case.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "exact" => Self::Exact,
            "prefix" => Self::Prefix,
            "suffix" => Self::Suffix,
            "substring" => Self::Substring,
            "regex" => Self::Regex,
            _ => return None,
        })
    }
}

impl TextRewrite {
    /// Texts are in lower case and end in a dot, unless `from` is a pattern.
    pub(super) fn new(kind: MatchKind, from: &str, to: &str) -> Result<Self, String> {
        let from = if kind == MatchKind::Regex { from.to_owned() } else { absolute(from) };
        Self::of_texts(kind, from, absolute(to))
    }

    /// For `cname`, whose texts get a final dot only if they are whole names (coredns, plugin/rewrite/cname_target.go).
    pub(super) fn of_targets(kind: MatchKind, from: &str, to: &str) -> Result<Self, String> {
        match kind {
            MatchKind::Exact => Self::new(kind, from, to),
            MatchKind::Regex => Self::of_texts(kind, from.to_owned(), to.to_lowercase()),
            _ => Self::of_texts(kind, from.to_lowercase(), to.to_lowercase()),
        }
    }

    fn of_texts(kind: MatchKind, from: String, to: String) -> Result<Self, String> {
        if kind != MatchKind::Regex {
            return Ok(match kind {
                MatchKind::Exact => Self::Exact { from, to },
                MatchKind::Prefix => Self::Prefix { from, to },
                MatchKind::Suffix => Self::Suffix { from, to },
                _ => Self::Substring { from, to },
            });
        }
        let pattern =
            Regex::new(&from).map_err(|error| format!("invalid regex pattern {from:?}: {error}"))?;
        let groups = pattern.captures_len();
        if let Some(missing) = referred_groups(&to).find(|group| *group >= groups) {
            return Err(format!("{to:?} refers to group {missing}, and the pattern has {}", groups - 1));
        }
        Ok(Self::Regex { pattern, to })
    }

    // Hot: 0 allocations.
    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact { from, .. } => text == from,
            Self::Prefix { from, .. } => text.starts_with(from.as_str()),
            Self::Suffix { from, .. } => text.ends_with(from.as_str()),
            Self::Substring { from, .. } => text.contains(from.as_str()),
            Self::Regex { pattern, .. } => pattern.is_match(text),
        }
    }

    /// The text that replaces a matching one.
    pub(super) fn apply(&self, text: &str) -> Option<String> {
        match self {
            Self::Exact { from, to } => (text == from).then(|| to.clone()),
            Self::Prefix { from, to } => text.strip_prefix(from.as_str()).map(|rest| format!("{to}{rest}")),
            Self::Suffix { from, to } => text.strip_suffix(from.as_str()).map(|start| format!("{start}{to}")),
            Self::Substring { from, to } => {
                text.contains(from.as_str()).then(|| text.replace(from.as_str(), to))
            }
            Self::Regex { pattern, to } => {
                let groups = pattern.captures(text)?;
                let mut replaced = to.clone();
                for (index, group) in groups.iter().enumerate() {
                    let value = group.map_or("", |group| group.as_str());
                    replaced = replaced.replace(&format!("{{{index}}}"), value);
                }
                Some(replaced)
            }
        }
    }

    /// The rewrite back, if it follows from the texts alone: of `suffix`, as in CoreDNS.
    pub(super) fn reversed(&self) -> Option<Self> {
        match self {
            Self::Suffix { from, to } => Some(Self::Suffix { from: to.clone(), to: from.clone() }),
            _ => None,
        }
    }
}

/// A name as CoreDNS normalizes it: in lower case, with a final dot.
pub(super) fn absolute(name: &str) -> String {
    let name = name.to_lowercase();
    if name.ends_with('.') { name } else { name + "." }
}

/// The numbers in braces.
fn referred_groups(text: &str) -> impl Iterator<Item = usize> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')?.0.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_replaced_by_the_kind_of_its_match() {
        for (kind, from, to, text, wanted) in [
            (MatchKind::Exact, "A.test", "b.test", "a.test.", Some("b.test.")),
            (MatchKind::Exact, "a.test", "b.test", "x.a.test.", None),
            (MatchKind::Prefix, "a", "b.c", "a.test.", Some("b.c.test.")),
            (MatchKind::Prefix, "a", "b", "ab.test.", None),
            (MatchKind::Suffix, ".test", ".org", "a.test.", Some("a.org.")),
            (MatchKind::Substring, "b.c", "x", "a.b.c.b.c.d.", Some("a.x.x.d.")),
            (MatchKind::Regex, r"(a)\.(b)", "{2}.{1}.{0}", "a.b.", Some("b.a.a.b.")),
        ] {
            let rewrite = TextRewrite::new(kind, from, to).unwrap();
            assert_eq!(rewrite.apply(text).as_deref(), wanted, "{from} {to} {text}");
            assert_eq!(rewrite.matches(text), wanted.is_some(), "{from} {text}");
        }
        assert!(TextRewrite::new(MatchKind::Regex, "(a)", "{2}").is_err());
        assert!(TextRewrite::new(MatchKind::Regex, "(a", "b").is_err());
    }
}
