//! The outcome of rules: the question so far, and what is left to do for its answer.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use dns_wire::{Name, Query};

/// The rules that were applied to a query, attached to it until its answer comes back.
#[derive(Default)]
pub(super) struct AppliedRules {
    /// In order.
    pub rules: Vec<Applied>,
    /// Whether records of the question become records of the one before without a rule. See [`RuleQuestion::is_alias`].
    pub is_alias: bool,
}

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
    /// The query has an OPT record that the client did not send.
    Edns,
    /// The query has this local EDNS option.
    Option(u16),
    /// The query has this EDNS option; the reply has it as it was before. `is_local`: it is a local one.
    Revert { code: u16, before: Option<Vec<u8>>, is_local: bool },
}

impl AppliedRules {
    /// Whether the query has an OPT record that the client did not send.
    pub(super) fn add_edns(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule, Applied::Edns))
    }
}

/// The question as the rules so far have changed it.
pub(super) struct RuleQuestion<'r> {
    /// The name that a rule has given to it.
    pub renamed: Option<Cow<'r, HashedName>>,
    pub qtype: u16,
    pub qclass: u16,
    /// The hash of the name in lower case.
    pub hash: u64,
    /// Whether a single rule has renamed it, and turns the names of the answers back by itself.
    pub is_alias: bool,
}

/// A name with what the rules compare.
#[derive(Clone)]
pub(super) struct HashedName {
    pub name: Name,
    pub lower: Name,
    /// The hash of the name in lower case.
    pub hash: u64,
}

impl From<Name> for HashedName {
    fn from(name: Name) -> Self {
        let lower = name.lower();
        Self { name, lower, hash: dns_wire::hash(lower.wire()) }
    }
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
    pub(super) fn attach(&mut self, is_alias: bool) -> Arc<AppliedRules> {
        let Self { applied, attached, .. } = self;
        match Arc::get_mut(attached) {
            Some(free) => {
                std::mem::swap(&mut free.rules, applied);
                free.is_alias = is_alias;
            }
            // The last query waits for an upstream.
            None => *attached = Arc::new(AppliedRules { rules: std::mem::take(applied), is_alias }),
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

    /// The text of a name in lower case and wire form, which is the same one until [`clear`](Self::clear). No name has an empty text.
    // Hot: 0 allocations once the buffer has grown.
    pub(super) fn of(&mut self, name: &[u8]) -> &str {
        if self.0.is_empty() {
            // Writing into a String cannot fail.
            let _ = write!(self.0, "{}", Name::from_wire(name).unwrap_or(Name::ROOT));
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

impl<'r> RuleQuestion<'r> {
    /// The question of a query whose name has this hash.
    pub(super) fn new(query: &Query, hash: u64) -> Self {
        Self { renamed: None, qtype: query.qtype, qclass: query.qclass, hash, is_alias: false }
    }

    /// The name; `query` is the query that the rules are applied to.
    pub(super) fn name(&self, query: &Query) -> Name {
        self.renamed.as_ref().map_or_else(|| query.to_name(), |renamed| renamed.name)
    }

    /// The name in lower case and wire form.
    pub(super) fn lower<'a>(&'a self, query: &'a Query) -> &'a [u8] {
        self.renamed.as_ref().map_or_else(|| query.lower(), |renamed| renamed.lower.wire())
    }

    /// Replaces the name. `turns_back`: the names of the answers are turned back by themselves.
    pub(super) fn rename(&mut self, name: Cow<'r, HashedName>, turns_back: bool) {
        self.hash = name.hash;
        self.is_alias = turns_back && self.renamed.is_none();
        self.renamed = Some(name);
    }

    /// Whether it differs from the question of the query.
    pub(super) fn is_changed(&self, query: &Query) -> bool {
        self.renamed.as_ref().is_some_and(|renamed| renamed.name.wire() != query.name())
            || self.qtype != query.qtype
            || self.qclass != query.qclass
    }
}
