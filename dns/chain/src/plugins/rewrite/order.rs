//! Which rule is tried next.

use super::rule::RewriteRule;

/// The order of the rules. Of those for a single name, only the ones of the queried name are tried.
pub(super) struct RuleOrder {
    /// The hash of the name and the index of each rule for a single name, sorted.
    exact: Box<[(u64, usize)]>,
    /// The indexes of the other rules, in order.
    others: Box<[usize]>,
}

impl RuleOrder {
    pub(super) fn new(rules: &[RewriteRule]) -> Self {
        let names = || rules.iter().map(RewriteRule::only_name).enumerate();
        let mut exact: Box<[_]> = names().filter_map(|(index, name)| Some((name?, index))).collect();
        exact.sort_unstable();
        let others = names().filter(|(_, name)| name.is_none()).map(|(index, _)| index).collect();
        Self { exact, others }
    }

    /// The index of the first rule from `first` on that may match a name with this hash.
    // Hot: 0 allocations.
    pub(super) fn next(&self, first: usize, hash: u64) -> Option<usize> {
        let exact = self.exact.partition_point(|entry| *entry < (hash, first));
        let exact = self.exact.get(exact).filter(|(known, _)| *known == hash).map(|(_, index)| *index);
        let other = self.others.get(self.others.partition_point(|index| *index < first)).copied();
        match (exact, other) {
            (Some(exact), Some(other)) => Some(exact.min(other)),
            (one, other) => one.or(other),
        }
    }
}
