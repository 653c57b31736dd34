//! The directives of the rewrite phase: `set`, `if`, `rewrite`, `return`, `break`.

use std::sync::Arc;

use http::StatusCode;

use super::known_names::{KnownNames, group_names};
use super::text::{SnippetText, is_variable};
use crate::pattern::Pattern;

/// One directive.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RewriteCommand {
    /// `set $name value`.
    Set { name: Arc<str>, value: SnippetText },
    /// `set $args value`.
    SetArgs(SnippetText),
    /// `if (…) { … }`.
    If {
        condition: Condition,
        /// The number of the block's level.
        level: usize,
        steps: Vec<RewriteCommand>,
    },
    /// `rewrite`.
    Rewrite(RewriteStep),
    /// `return`.
    Return(ReturnStep),
    /// `break`.
    Break,
}

/// A condition of `if`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    /// The value is neither empty nor `0`.
    IsTrue(SnippetText),
    /// `=`, or `!=` if negated.
    Equals { left: SnippetText, right: SnippetText, negated: bool },
    /// `~` and `~*`, or `!~` and `!~*` if negated.
    Matches { left: SnippetText, pattern: SnippetPattern, negated: bool },
}

/// A regular expression and the variables that its named groups set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SnippetPattern {
    pub(crate) pattern: Arc<Pattern>,
    pub(crate) ignores_case: bool,
    pub(crate) groups: Vec<(usize, Arc<str>)>,
}

impl SnippetPattern {
    pub(crate) fn parse(text: &str, ignores_case: bool, known: &KnownNames) -> Result<Self, String> {
        let error = |error| format!("{text:?} is not a regular expression ({error})");
        let pattern = Pattern::new(text, ignores_case).map_err(error)?;
        if let Some(name) = group_names(text).find(|name| is_variable(name)) {
            return Err(format!("a group cannot have the name of the variable ${name}"));
        }
        let group = |name| Some((pattern.group_number(name)?, known.get(name)?));
        let groups = group_names(text).filter_map(group).collect();
        Ok(Self { pattern: Arc::new(pattern), ignores_case, groups })
    }
}

/// What follows a match of `rewrite`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RewriteFlag {
    /// The next directive; in the end the location of the new path is searched.
    None,
    /// The location of the new path is searched.
    Last,
    /// The request goes on in this location.
    Break,
    /// The client is redirected.
    Redirect(StatusCode),
}

/// `rewrite pattern replacement flag`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RewriteStep {
    pub(crate) pattern: SnippetPattern,
    pub(crate) path: SnippetText,
    pub(crate) query: Option<SnippetText>,
    /// A final `?` drops the query of the request.
    pub(crate) drops_query: bool,
    pub(crate) flag: RewriteFlag,
}

/// `return`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReturnStep {
    pub(crate) status: StatusCode,
    /// The URL of a redirect, or the body.
    pub(crate) text: Option<SnippetText>,
}

impl ReturnStep {
    /// Whether the text is a URL.
    pub(crate) fn is_redirect(&self) -> bool {
        matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308)
    }
}
