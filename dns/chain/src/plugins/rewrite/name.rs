//! `rewrite name`: the queried name, and the names of the answers on the way back.

use std::borrow::Cow;

use dns_wire::Name;

use super::matching::{MatchKind, TextRewrite};
use super::outcome::{Applied, HashedName, NameText, RuleOutcome, RuleQuestion};
use crate::request::Request;

/// A rule for the queried name.
pub(super) struct NameRule {
    /// For `exact`, compared without a text.
    exact: Option<ExactName>,
    rewrite: TextRewrite,
    /// Whether `{plugin/label}` in the replacement is metadata.
    has_metadata: bool,
    /// Whether the names of the answers are turned back into the queried one by themselves.
    auto: bool,
    pub answers: Vec<AnswerRule>,
}

/// The names of an `exact` rule.
struct ExactName {
    from: HashedName,
    /// The name that replaces it, unless that depends on the query or is none.
    to: Option<HashedName>,
}

/// `answer name` and `answer value`: names of the answers, or in their data.
pub(super) struct AnswerRule {
    pub in_data: bool,
    pub rewrite: TextRewrite,
}

impl NameRule {
    pub(super) fn new(
        (kind, from, to): (MatchKind, &str, &str),
        has_metadata: bool,
        auto: bool,
        answers: Vec<AnswerRule>,
    ) -> Result<Self, String> {
        let rewrite = TextRewrite::new(kind, from, to)?;
        let exact = match &rewrite {
            TextRewrite::Exact { from, to } => {
                let name = |text: &str| text.parse::<Name>().ok().map(HashedName::from);
                let to = if has_metadata { None } else { name(to) };
                name(from).map(|from| ExactName { from, to })
            }
            _ => None,
        };
        let reversed = || rewrite.reversed().filter(|_| auto);
        let is_reversible = reversed().is_some();
        // The rules run from the last to the first: those of the Corefile see the names before they are turned back.
        let turned_back = [false, true]
            .into_iter()
            .filter_map(|in_data| Some(AnswerRule { in_data, rewrite: reversed()? }));
        let answers = turned_back.chain(answers).collect();
        let auto = (auto || kind == MatchKind::Exact) && !is_reversible;
        Ok(Self { exact, rewrite, has_metadata, auto, answers })
    }

    /// The hash of the name of an `exact` rule.
    pub(super) fn only_name(&self) -> Option<u64> {
        self.exact.as_ref().map(|exact| exact.from.hash)
    }

    // Hot: 0 allocations if the name does not match, or the rule is `exact` without metadata.
    pub(super) fn apply<'r>(
        &'r self,
        index: usize,
        request: &Request,
        question: &mut RuleQuestion<'r>,
        text: &mut NameText<'_>,
        applied: &mut Vec<Applied>,
    ) -> RuleOutcome {
        let lower = question.lower(&request.query);
        let matches = match &self.exact {
            Some(exact) => exact.from.lower.wire() == lower,
            None => self.rewrite.matches(text.of(lower)),
        };
        if !matches {
            return RuleOutcome::Ignored;
        }
        if let Some(ExactName { to: Some(name), .. }) = &self.exact {
            return self.rename(index, request, question, Cow::Borrowed(name), applied);
        }
        let Some(mut renamed) = self.rewrite.apply(text.of(lower)) else {
            return RuleOutcome::Ignored;
        };
        if self.has_metadata {
            match with_metadata(&renamed, request) {
                Some(expanded) => renamed = expanded,
                None => return RuleOutcome::Ignored,
            }
        }
        let Ok(name) = renamed.parse::<Name>() else { return RuleOutcome::InvalidName(renamed) };
        self.rename(index, request, question, Cow::Owned(name.into()), applied)
    }

    fn rename<'r>(
        &self,
        index: usize,
        request: &Request,
        question: &mut RuleQuestion<'r>,
        name: Cow<'r, HashedName>,
        applied: &mut Vec<Applied>,
    ) -> RuleOutcome {
        if self.auto {
            applied.push(Applied::Remap([name.lower, question.name(&request.query)]));
        }
        if !self.answers.is_empty() {
            applied.push(Applied::RewriteRule(index));
        }
        question.rename(name, self.auto);
        RuleOutcome::Renamed
    }
}

/// The text with its metadata labels replaced; `None` if one has no value.
fn with_metadata(text: &str, request: &Request) -> Option<String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('{') {
        let (label, after) = after.split_once('}')?;
        out.push_str(before);
        out.push_str(&request.metadata(label).filter(|value| !value.is_empty())?);
        rest = after;
    }
    Some(out + rest)
}
