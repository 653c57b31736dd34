//! A replacement in the value of a header, as nginx's `proxy_redirect`, `proxy_cookie_domain` and `proxy_cookie_path` make it.

use std::sync::Arc;

use super::Rule;
use super::template::{RuleText, Template};
use crate::exchange::Exchange;
use crate::pattern::{Captures, Pattern};

/// Which part of a value a text without a pattern replaces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ReplacedPart {
    /// The beginning.
    Start,
    /// A whole domain, in any case and with or without a dot before it.
    Domain,
}

/// A text to replace, and its replacement.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Replacement {
    from: ReplacedText,
    to: Template,
}

#[derive(Clone, Debug, PartialEq)]
enum ReplacedText {
    Text(ReplacedPart, Template),
    Pattern { pattern: Arc<Pattern>, ignores_case: bool },
}

impl Replacement {
    /// `from` is a text, or after `~` a regular expression, which replaces the whole value; `~*` ignores case. `None` if one of
    /// the texts is not valid.
    pub(super) fn parse(part: ReplacedPart, from: &str, to: &str) -> Option<Self> {
        let without_dot = |text| match part {
            ReplacedPart::Start => text,
            ReplacedPart::Domain => str::strip_prefix(text, ".").unwrap_or(text),
        };
        let Some(pattern) = from.strip_prefix('~') else {
            let from = ReplacedText::Text(part, Template::parse(without_dot(from), None)?);
            return Some(Self { from, to: Template::parse(without_dot(to), None)? });
        };
        let insensitive = pattern.strip_prefix('*');
        let ignores_case = insensitive.is_some() || part == ReplacedPart::Domain;
        let pattern = Arc::new(Pattern::new(insensitive.unwrap_or(pattern), ignores_case).ok()?);
        let to = Template::parse(to, Some(&pattern))?;
        Some(Self { from: ReplacedText::Pattern { pattern, ignores_case }, to })
    }

    /// The replacement for the requests of a rule.
    pub(super) fn of_rule(&self, rule: &Rule<'_>) -> RuleReplacement {
        let (from, pattern) = match &self.from {
            ReplacedText::Text(part, text) => (RuleFrom::Text(*part, text.of_rule(rule, None)), None),
            ReplacedText::Pattern { pattern, .. } => (RuleFrom::Pattern(pattern.clone()), Some(&**pattern)),
        };
        RuleReplacement { from, to: self.to.of_rule(rule, pattern) }
    }
}

/// A replacement for the requests of a rule.
#[derive(Debug)]
pub(super) struct RuleReplacement {
    from: RuleFrom,
    to: RuleText,
}

#[derive(Debug)]
enum RuleFrom {
    Text(ReplacedPart, RuleText),
    Pattern(Arc<Pattern>),
}

impl RuleReplacement {
    /// The new value; `None` if it does not change. Hot: allocates only for a new value and for variables.
    pub(super) fn apply(&self, value: &str, exchange: &Exchange) -> Option<String> {
        match &self.from {
            RuleFrom::Text(ReplacedPart::Start, from) => {
                let rest = value.strip_prefix(&*from.value(exchange))?;
                Some(format!("{}{rest}", self.to.value(exchange)))
            }
            RuleFrom::Text(ReplacedPart::Domain, from) => {
                let domain = value.strip_prefix('.').unwrap_or(value);
                let dot = &value[..value.len() - domain.len()];
                let is_equal = domain.eq_ignore_ascii_case(&from.value(exchange));
                is_equal.then(|| format!("{dot}{}", self.to.value(exchange)))
            }
            RuleFrom::Pattern(pattern) => {
                let mut budget = exchange.step_budget.get();
                let captures: Option<Captures<'_>> = pattern.captures(value, &mut budget).ok().flatten();
                exchange.step_budget.set(budget);
                Some(self.to.value_with(exchange, &captures?).into_owned())
            }
        }
    }
}
