//! The variables that a snippet may refer to besides those of requests and routes.

use std::sync::Arc;

use super::statement::Statement;
use crate::geo::GeoSettings;

/// Names without their dollar sign.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KnownNames {
    names: Vec<Arc<str>>,
    /// There is a regular expression, whose groups are `$1` to `$9`.
    pub(crate) has_pattern: bool,
    /// Which variables about the client's address there are.
    pub(crate) geo: GeoSettings,
}

impl KnownNames {
    /// The variables about the client's address, and no others.
    pub fn with_geo(geo: &GeoSettings) -> Self {
        Self { geo: geo.clone(), ..Self::default() }
    }

    /// The names that the directives set, and those that outer snippets set.
    pub(crate) fn of(statements: &[Statement], outer: &Self) -> Self {
        let mut names = outer.clone();
        names.collect(statements);
        names
    }

    fn collect(&mut self, statements: &[Statement]) {
        for Statement { name, arguments, block } in statements {
            let words = arguments.iter().map(|word| word.text.as_str());
            match name.text.as_str() {
                "set" | "auth_request_set" => {
                    words.take(1).filter_map(|word| word.strip_prefix('$')).for_each(|it| self.add(it))
                }
                "rewrite" => {
                    self.has_pattern = true;
                    words.take(1).flat_map(group_names).for_each(|name| self.add(name));
                }
                "if" => {
                    for word in words {
                        self.has_pattern |= matches!(word, "~" | "~*" | "!~" | "!~*");
                        group_names(word).for_each(|name| self.add(name));
                    }
                }
                _ => {}
            }
            self.collect(block.as_deref().unwrap_or_default());
        }
    }

    fn add(&mut self, name: &str) {
        if self.get(name).is_none() {
            self.names.push(name.into());
        }
    }

    /// The shared name, if it is known.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<str>> {
        self.names.iter().find(|known| ***known == *name).cloned()
    }

    /// The names of both.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        other.names.iter().for_each(|name| self.add(name));
        self.has_pattern |= other.has_pattern;
        self
    }
}

/// The names of the groups `(?<name>…)` and `(?P<name>…)` of a pattern.
pub(crate) fn group_names(pattern: &str) -> impl Iterator<Item = &str> {
    pattern.split("(?").skip(1).filter_map(|group| {
        let (name, _) = group.strip_prefix('P').unwrap_or(group).strip_prefix('<')?.split_once('>')?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        (!name.is_empty() && name.bytes().all(is_name)).then_some(name)
    })
}
