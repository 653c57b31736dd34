//! A persistent table made of small shards: a new version shares all unchanged shards with the previous one.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Number of shards. With 10,000 services a shard holds ten entries, with a million endpoints a thousand. A change copies those of its
/// shard and the pointers of one group, and of all groups: a microsecond or two.
const SHARDS: usize = GROUP * GROUP;
/// Number of groups, and of shards in a group.
const GROUP: usize = 32;
/// Shards with more entries are searched by bisection.
const LINEAR_SEARCH: usize = 16;

/// An entry of a [`ShardedTable`].
pub(crate) trait TableEntry: Clone {
    /// The hash that selects the shard; not necessarily unique.
    fn hash(&self) -> u32;
    /// A total order that compares the hash first.
    fn order(&self, other: &Self) -> Ordering;
}

/// A sorted multiset of entries that is cheap to clone and to change in a few shards.
pub(crate) struct ShardedTable<T> {
    groups: Arc<[ShardGroup<T>; GROUP]>,
}

/// Some shards; `None` is an empty one.
type ShardGroup<T> = Arc<[Option<Arc<[T]>>; GROUP]>;

impl<T: TableEntry> ShardedTable<T> {
    /// Creates a table with these entries.
    pub(crate) fn new(entries: impl IntoIterator<Item = T>) -> Self {
        let empty: ShardGroup<T> = Arc::new([const { None }; GROUP]);
        let groups = Arc::new([(); GROUP].map(|()| empty.clone()));
        Self { groups }.change(Vec::new(), entries.into_iter().collect())
    }

    /// The entries with exactly this hash.
    // Hot: 0 allocations.
    pub(crate) fn at(&self, hash: u32) -> impl Iterator<Item = &T> {
        let (group, shard) = shard_of(hash);
        let shard = self.groups[group][shard].as_deref().unwrap_or_default();
        let start = match shard.len() {
            ..=LINEAR_SEARCH => shard.iter().position(|entry| entry.hash() >= hash).unwrap_or(shard.len()),
            _ => shard.partition_point(|entry| entry.hash() < hash),
        };
        shard[start..].iter().take_while(move |entry| entry.hash() == hash)
    }

    /// All entries.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.groups.iter().flat_map(|group| group.iter()).flatten().flat_map(|shard| shard.iter())
    }

    /// The next version: each entry of `gone` removes one equal entry, then those of `came` are added.
    pub(crate) fn change(&self, mut gone: Vec<T>, mut came: Vec<T>) -> Self {
        gone.sort_unstable_by(T::order);
        came.sort_unstable_by(T::order);
        let mut groups = (*self.groups).clone();
        let (mut gone, mut came) = (gone.as_slice(), came.as_slice());
        while let Some(next) =
            gone.first().into_iter().chain(came.first()).map(|entry| shard_of(entry.hash())).min()
        {
            let (leaving, later) = split(gone, next);
            let (coming, later_still) = split(came, next);
            (gone, came) = (later, later_still);
            let shard = &mut Arc::make_mut(&mut groups[next.0])[next.1];
            *shard = merge(shard.as_deref().unwrap_or_default(), leaving, coming);
        }
        Self { groups: Arc::new(groups) }
    }
}

/// The group and the shard in it.
fn shard_of(hash: u32) -> (usize, usize) {
    let shard = (hash >> (u32::BITS - SHARDS.trailing_zeros())) as usize;
    (shard / GROUP, shard % GROUP)
}

/// Splits sorted entries into those that belong to shards up to `shard`, and the rest.
fn split<T: TableEntry>(entries: &[T], shard: (usize, usize)) -> (&[T], &[T]) {
    entries.split_at(entries.partition_point(|entry| shard_of(entry.hash()) <= shard))
}

/// Merges sorted entries.
fn merge<T: TableEntry>(old: &[T], mut gone: &[T], mut came: &[T]) -> Option<Arc<[T]>> {
    let mut entries = Vec::with_capacity((old.len() + came.len()).saturating_sub(gone.len()));
    for entry in old {
        while gone.first().is_some_and(|first| first.order(entry) == Ordering::Less) {
            gone = &gone[1..];
        }
        if let Some((first, rest)) = gone.split_first()
            && first.order(entry) == Ordering::Equal
        {
            gone = rest;
            continue;
        }
        let before = came.iter().take_while(|came| came.order(entry) == Ordering::Less).count();
        entries.extend_from_slice(&came[..before]);
        came = &came[before..];
        entries.push(entry.clone());
    }
    entries.extend_from_slice(came);
    (!entries.is_empty()).then(|| entries.into())
}

impl<T: PartialEq> PartialEq for ShardedTable<T> {
    fn eq(&self, other: &Self) -> bool {
        self.groups == other.groups
    }
}

impl<T: fmt::Debug> fmt::Debug for ShardedTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shards = self.groups.iter().flat_map(|group| group.iter()).flatten();
        f.debug_list().entries(shards.flat_map(|shard| shard.iter())).finish()
    }
}

impl<T> Clone for ShardedTable<T> {
    fn clone(&self) -> Self {
        Self { groups: self.groups.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    struct Entry(u32);

    impl TableEntry for Entry {
        fn hash(&self) -> u32 {
            self.0
        }
        fn order(&self, other: &Self) -> Ordering {
            self.cmp(other)
        }
    }

    fn entry() -> impl Strategy<Value = Entry> {
        // Few shards and few values, so that equal entries occur.
        (0..3_u32, 0..4_u32).prop_map(|(shard, low)| Entry(shard << 22 | low))
    }

    proptest! {
        #[test]
        fn changing_equals_building_anew(
            steps in proptest::collection::vec((proptest::collection::vec(entry(), 0..6), 0..6_usize), 0..6),
        ) {
            let (mut sharded, mut bag) = (ShardedTable::new([]), Vec::new());
            for (came, leave) in steps {
                let gone: Vec<Entry> = bag.drain(..leave.min(bag.len())).collect();
                bag.extend_from_slice(&came);
                sharded = sharded.change(gone, came);
                prop_assert_eq!(&sharded, &ShardedTable::new(bag.iter().copied()));
                for hash in &bag {
                    let count = bag.iter().filter(|entry| *entry == hash).count();
                    prop_assert_eq!(sharded.at(hash.0).count(), count);
                }
            }
        }
    }
}
