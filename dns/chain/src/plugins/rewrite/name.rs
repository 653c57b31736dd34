//! `rewrite name`: the queried name, and the names of the answers on the way back.

use dns_wire::Name;

use super::matching::{MatchKind, TextRewrite};
use super::outcome::{Applied, NameText, RuleOutcome, RuleQuestion};
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

/// The name of an `exact` rule in lower case.
struct ExactName {
    name: Name,
    hash: u64,
    /// The name that replaces it, unless that depends on the query or is none.
    to: Option<Name>,
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
                let to = if has_metadata { None } else { to.parse().ok() };
                let exact = from.parse().ok().map(Name::lower);
                exact.map(|name| ExactName { name, hash: dns_wire::hash(name.wire()), to })
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

    // Hot: 0 allocations if the name does not match, or the rule is `exact` without metadata.
    pub(super) fn apply(
        &self,
        index: usize,
        request: &Request,
        question: &mut RuleQuestion,
        text: &mut NameText<'_>,
        applied: &mut Vec<Applied>,
    ) -> RuleOutcome {
        let matches = match &self.exact {
            Some(exact) => {
                exact.hash == question.hash && question.name.wire().eq_ignore_ascii_case(exact.name.wire())
            }
            None => self.rewrite.matches(text.of(&question.name)),
        };
        if !matches {
            return RuleOutcome::Ignored;
        }
        if let Some(ExactName { to: Some(name), .. }) = &self.exact {
            return self.rename(index, question, *name, applied);
        }
        let Some(mut renamed) = self.rewrite.apply(text.of(&question.name)) else {
            return RuleOutcome::Ignored;
        };
        if self.has_metadata {
            match with_metadata(&renamed, request) {
                Some(expanded) => renamed = expanded,
                None => return RuleOutcome::Ignored,
            }
        }
        let Ok(name) = renamed.parse::<Name>() else { return RuleOutcome::InvalidName(renamed) };
        self.rename(index, question, name, applied)
    }

    fn rename(
        &self,
        index: usize,
        question: &mut RuleQuestion,
        name: Name,
        applied: &mut Vec<Applied>,
    ) -> RuleOutcome {
        if self.auto {
            applied.push(Applied::Remap([name.lower(), question.name]));
        }
        if !self.answers.is_empty() {
            applied.push(Applied::RewriteRule(index));
        }
        question.rename(name);
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
