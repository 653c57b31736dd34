//! One `rewrite` line: what it does to a query.

use super::edns::EdnsRule;
use super::matching::TextRewrite;
use super::name::NameRule;
use super::outcome::{Applied, NameText, RuleOutcome, RuleQuestion};
use crate::request::Request;

/// A rule, and whether no further one is looked at once it has been applied.
pub(super) struct RewriteRule {
    pub stop: bool,
    pub change: RuleChange,
}

/// The part of a query that a rule changes.
pub(super) enum RuleChange {
    Name(Box<NameRule>),
    Type {
        from: u16,
        to: u16,
    },
    Class {
        from: u16,
        to: u16,
    },
    Edns(EdnsRule),
    /// TTLs of the answers to matching names, within these bounds.
    Ttl {
        names: TextRewrite,
        least: u32,
        most: u32,
    },
    /// The response code of the answers to matching names.
    Rcode {
        names: TextRewrite,
        from: u16,
        to: u16,
    },
    /// Targets of CNAMEs, whatever the queried name.
    Cname(TextRewrite),
}

impl RewriteRule {
    /// Applies the rule to a question, with its name as text.
    pub(super) fn apply<'r>(
        &'r self,
        index: usize,
        request: &mut Request,
        question: &mut RuleQuestion<'r>,
        text: &mut NameText<'_>,
        applied: &mut Vec<Applied>,
    ) -> RuleOutcome {
        let is_applied = match &self.change {
            RuleChange::Name(rule) => return rule.apply(index, request, question, text, applied),
            RuleChange::Type { from, to } => replace(&mut question.qtype, *from, *to),
            RuleChange::Class { from, to } => replace(&mut question.qclass, *from, *to),
            RuleChange::Edns(rule) => rule.apply(request, applied),
            RuleChange::Ttl { names, .. } | RuleChange::Rcode { names, .. } => {
                let matches = names.matches(text.of(question.lower(&request.query)));
                applied.extend(matches.then_some(Applied::RewriteRule(index)));
                matches
            }
            RuleChange::Cname(_) => {
                applied.push(Applied::RewriteRule(index));
                true
            }
        };
        if is_applied { RuleOutcome::Applied } else { RuleOutcome::Ignored }
    }

    /// The hash of the only name that it may match, if it is known.
    pub(super) fn only_name(&self) -> Option<u64> {
        match &self.change {
            RuleChange::Name(rule) => rule.only_name(),
            _ => None,
        }
    }

    pub(super) fn changes_cnames(&self) -> bool {
        matches!(self.change, RuleChange::Cname(_))
    }
}

/// Replaces a value if it is `from`.
fn replace(value: &mut u16, from: u16, to: u16) -> bool {
    let is = *value == from;
    if is {
        *value = to;
    }
    is
}
