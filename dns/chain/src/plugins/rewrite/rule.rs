//! One `rewrite` line: what it does to a query.

use dns_wire::{Name, Query};

use super::edns::EdnsRule;
use super::matching::TextRewrite;
use super::name::NameRule;
use super::reply::Applied;
use crate::request::Request;

/// A rule, and whether no further one is looked at once it has been applied.
pub(super) struct RewriteRule {
    pub stop: bool,
    pub change: RuleChange,
}

/// What a rule changes.
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

/// The question as the rules so far have changed it.
pub(super) struct RuleQuestion {
    pub name: Name,
    pub qtype: u16,
    pub qclass: u16,
}

/// The result of a rule.
pub(super) enum RuleOutcome {
    /// It does not match.
    Ignored,
    /// It has been applied.
    Applied,
    /// It has been applied, and the name is another one.
    Renamed,
    /// The new name is none.
    InvalidName(String),
}

impl RuleQuestion {
    pub(super) fn of(query: &Query) -> Self {
        Self { name: query.to_name(), qtype: query.qtype, qclass: query.qclass }
    }

    /// Whether it differs from the question of the query.
    pub(super) fn is_changed(&self, query: &Query) -> bool {
        self.name.wire() != query.name() || self.qtype != query.qtype || self.qclass != query.qclass
    }
}

impl RewriteRule {
    /// Applies the rule to a question with this name as text.
    pub(super) fn apply(
        &self,
        index: usize,
        request: &mut Request,
        question: &mut RuleQuestion,
        text: &str,
        applied: &mut Vec<Applied>,
    ) -> RuleOutcome {
        let is_applied = match &self.change {
            RuleChange::Name(rule) => return rule.apply(index, request, question, text, applied),
            RuleChange::Type { from, to } => replace(&mut question.qtype, *from, *to),
            RuleChange::Class { from, to } => replace(&mut question.qclass, *from, *to),
            RuleChange::Edns(rule) => rule.apply(request, applied),
            RuleChange::Ttl { names, .. } | RuleChange::Rcode { names, .. } => {
                let matches = names.matches(text);
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
