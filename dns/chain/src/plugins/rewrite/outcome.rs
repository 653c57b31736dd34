//! The outcome of rules: the question so far, and what is left to do for its answer.

use std::fmt::Write as _;
use std::sync::Arc;

use dns_wire::{Name, Query};

/// The rules that were applied to a query, in order, attached to it until its answer comes back.
#[derive(Default)]
pub(super) struct AppliedRules(pub Vec<Applied>);

/// A rule that was applied.
#[allow(
    clippy::large_enum_variant,
    reason = "the list is used again for each query, so that its entries need no memory of their own"
)]
pub(super) enum Applied {
    /// The rule with this index changes answers.
    RewriteRule(usize),
    /// The first name, in lower case, was put in place of the second.
    Remap([Name; 2]),
    /// The reply has this EDNS option.
    Option(u16, Vec<u8>),
    /// The reply has this EDNS option only as the client sent it.
    Revert(u16, Option<Vec<u8>>),
}

/// The question as the rules so far have changed it.
pub(super) struct RuleQuestion {
    pub name: Name,
    pub qtype: u16,
    pub qclass: u16,
    /// The hash of the name in lower case.
    pub hash: u64,
}

/// Memory of a thread that all queries use.
#[derive(Default)]
pub(super) struct Scratch {
    /// The queried name as text.
    pub text: String,
    /// The rules that are applied to the current query.
    pub applied: Vec<Applied>,
    /// The list that the last query had attached, for the next one.
    attached: Arc<AppliedRules>,
}

impl Scratch {
    /// The applied rules as a value to attach to the query. Its memory is used again once the query has been answered.
    // Hot: 0 allocations if the last query has been answered.
    pub(super) fn attach(&mut self) -> Arc<AppliedRules> {
        let Self { applied, attached, .. } = self;
        match Arc::get_mut(attached) {
            Some(AppliedRules(free)) => std::mem::swap(free, applied),
            // The last query waits for an upstream.
            None => *attached = Arc::new(AppliedRules(std::mem::take(applied))),
        }
        attached.clone()
    }
}

/// The queried name as text in lower case, made for the first rule that looks at it.
pub(super) struct NameText<'b>(&'b mut String);

impl<'b> NameText<'b> {
    pub(super) fn new(buffer: &'b mut String) -> Self {
        buffer.clear();
        Self(buffer)
    }

    /// The text of a name, which is the same one until [`clear`](Self::clear). No name has an empty text.
    // Hot: 0 allocations once the buffer has grown.
    pub(super) fn of(&mut self, name: &Name) -> &str {
        if self.0.is_empty() {
            // Writing into a String cannot fail.
            let _ = write!(self.0, "{}", name.lower());
        }
        self.0
    }

    /// Another name follows.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
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
        let hash = dns_wire::hash(query.lower());
        Self { name: query.to_name(), qtype: query.qtype, qclass: query.qclass, hash }
    }

    /// Replaces the name.
    pub(super) fn rename(&mut self, name: Name) {
        self.name = name;
        self.hash = dns_wire::hash(name.lower().wire());
    }

    /// Whether it differs from the question of the query.
    pub(super) fn is_changed(&self, query: &Query) -> bool {
        self.name.wire() != query.name() || self.qtype != query.qtype || self.qclass != query.qclass
    }
}
