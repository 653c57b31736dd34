//! A persistent sorted list: a changed copy shares all unchanged chunks with the list it was made from.

use std::cmp::Ordering;
use std::fmt::{Debug, Formatter};
use std::sync::Arc;

use smallvec::SmallVec;

/// The largest number of items in a chunk. Small in tests, so that small clusters have many chunks.
const CHUNK: usize = if cfg!(test) { 4 } else { 128 };

/// An item of a sorted list.
pub(crate) trait Ordered: Clone {
    /// Compares two items. A new item replaces an equal one.
    fn compare(&self, other: &Self) -> Ordering;
}

/// A sorted list in chunks. A clone costs a reference count for each chunk; a change copies one chunk.
#[derive(Clone)]
pub(crate) struct SortedList<T> {
    /// No chunk is empty.
    chunks: SmallVec<[Arc<[T]>; 1]>,
}

/// A position between two items of a list.
#[derive(Clone)]
pub(crate) struct Cursor<'l, T> {
    chunks: &'l [Arc<[T]>],
    /// The chunk, and how many of its items are before the position.
    at: (usize, usize),
}

impl<T> Default for SortedList<T> {
    fn default() -> Self {
        Self { chunks: SmallVec::new() }
    }
}

impl<T> SortedList<T> {
    /// Whether it has no items.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many items there are.
    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.len()).sum()
    }

    /// Every item, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The position after all items for which `before` holds. The list must be partitioned by `before`. Hot: no allocation.
    pub(crate) fn seek(&self, before: impl Fn(&T) -> bool) -> Cursor<'_, T> {
        let chunk = self.chunks.partition_point(|chunk| before(&chunk[0])).saturating_sub(1);
        let items = self.chunks.get(chunk).map_or(0, |chunk| chunk.partition_point(before));
        Cursor { chunks: &self.chunks, at: (chunk, items) }
    }

    /// The item for which `rank` returns `Equal`.
    pub(crate) fn get(&self, rank: impl Fn(&T) -> Ordering) -> Option<&T> {
        self.seek(|item| rank(item).is_lt()).next().filter(|item| rank(item).is_eq())
    }
}

impl<T: Ordered> SortedList<T> {
    /// The list with some items removed and others added. An item in both is in the result.
    pub(crate) fn with(&self, mut removed: Vec<T>, mut added: Vec<T>) -> Self {
        removed.sort_by(T::compare);
        added.sort_by(T::compare);
        added.dedup_by(|later, earlier| {
            let same = later.compare(earlier).is_eq();
            if same {
                std::mem::swap(later, earlier);
            }
            same
        });
        let (mut removed, mut added) = (removed.into_iter().peekable(), added.into_iter().peekable());
        let mut next = Self::default();
        let mut open: Vec<T> = Vec::new();
        for (n, chunk) in self.chunks.iter().enumerate() {
            let end = self.chunks.get(n + 1).map(|chunk| &chunk[0]);
            let here = |item: &T| end.is_none_or(|end| item.compare(end).is_lt());
            if open.is_empty() && !added.peek().is_some_and(here) && !removed.peek().is_some_and(here) {
                next.chunks.push(chunk.clone());
                continue;
            }
            for item in chunk.iter() {
                while let Some(new) = added.next_if(|new| new.compare(item).is_lt()) {
                    open.push(new);
                }
                while removed.next_if(|old| old.compare(item).is_lt()).is_some() {}
                let replaced = added.peek().is_some_and(|new| new.compare(item).is_eq());
                let removed = removed.peek().is_some_and(|old| old.compare(item).is_eq());
                if !replaced && !removed {
                    open.push(item.clone());
                }
            }
            while let Some(new) = added.next_if(here) {
                open.push(new);
            }
            while removed.next_if(here).is_some() {}
            // A chunk that has become small is merged with the next one.
            if open.len() >= CHUNK / 2 {
                next.close(&mut open);
            }
        }
        open.extend(added);
        next.close(&mut open);
        next
    }

    /// Appends items in as few chunks as possible.
    fn close(&mut self, open: &mut Vec<T>) {
        for pieces in (1..=open.len().div_ceil(CHUNK)).rev() {
            let rest = open.split_off(open.len().div_ceil(pieces));
            self.chunks.push(std::mem::replace(open, rest).into());
        }
    }
}

impl<'l, T> Cursor<'l, T> {
    /// The item before this position.
    pub(crate) fn previous(&self) -> Option<&'l T> {
        let (chunk, items) = self.at;
        match items.checked_sub(1) {
            Some(item) => self.chunks.get(chunk)?.get(item),
            None => self.chunks.get(chunk.checked_sub(1)?)?.last(),
        }
    }

    /// The item after this position.
    pub(crate) fn next(&self) -> Option<&'l T> {
        let (chunk, items) = self.at;
        self.chunks.get(chunk)?.get(items).or_else(|| self.chunks.get(chunk + 1)?.first())
    }

    /// Moves one item forwards.
    pub(crate) fn advance(&mut self) {
        let (chunk, items) = self.at;
        match self.chunks.get(chunk) {
            Some(known) if items < known.len() => self.at = (chunk, items + 1),
            Some(_) if chunk + 1 < self.chunks.len() => self.at = (chunk + 1, 1),
            _ => {}
        }
    }

    /// Moves one item backwards.
    pub(crate) fn retreat(&mut self) {
        self.at = match self.at {
            (0, 0) => return,
            (chunk, 0) => (chunk - 1, self.chunks[chunk - 1].len() - 1),
            (chunk, items) => (chunk, items - 1),
        };
    }
}

/// Compares the items, not the chunks.
impl<T: PartialEq> PartialEq for SortedList<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T: Debug> Debug for SortedList<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::{any, proptest};

    use super::*;

    /// A key and a value.
    type Item = (u8, bool);

    impl Ordered for Item {
        fn compare(&self, other: &Self) -> Ordering {
            self.0.cmp(&other.0)
        }
    }

    proptest! {
        #[test]
        fn a_list_is_what_a_map_would_be(
            batches in proptest::collection::vec(proptest::collection::vec((any::<u8>(), 0..3_u8), 0..40), 0..12),
        ) {
            let (mut list, mut map) = (SortedList::<Item>::default(), BTreeMap::new());
            for batch in batches {
                let item = |(n, what): &(u8, u8)| (n % 64, *what == 1);
                let removed: Vec<Item> = batch.iter().filter(|(_, what)| *what == 2).map(item).collect();
                let added: Vec<Item> = batch.iter().filter(|(_, what)| *what < 2).map(item).collect();
                map.retain(|n, _| !removed.iter().any(|(removed, _)| removed == n));
                map.extend(added.iter().copied());
                let next = list.with(removed, added);
                assert!(next.iter().copied().eq(map.iter().map(|(n, what)| (*n, *what))), "{next:?} is not {map:?}");
                assert!(next.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())), "{next:?}");
                let slim = next.chunks.iter().rev().skip(1).filter(|chunk| chunk.len() < CHUNK / 2);
                assert_eq!(slim.count(), 0, "only the last chunk may be slim: {next:?}");
                list = next;
                for n in 0..64 {
                    let cursor = list.seek(|item| item.0 < n);
                    assert_eq!(cursor.previous().map(|item| item.0), map.range(..n).next_back().map(|(n, _)| *n));
                    assert_eq!(cursor.next().map(|item| item.0), map.range(n..).next().map(|(n, _)| *n));
                    assert_eq!(list.get(|item| item.0.cmp(&n)).map(|item| item.1), map.get(&n).copied());
                }
                let mut cursor = list.seek(|_| true);
                let mut back = Vec::new();
                while let Some(item) = cursor.previous() {
                    back.push(*item);
                    cursor.retreat();
                }
                assert!(list.iter().copied().eq(back.into_iter().rev()), "backwards");
                let forth = std::iter::from_fn(|| {
                    let item = cursor.next().copied();
                    cursor.advance();
                    item
                });
                assert!(list.iter().copied().eq(forth.take(1000)), "forwards");
            }
        }
    }

    #[test]
    fn a_change_copies_one_chunk() {
        let list = SortedList::default().with(vec![], (0..64).map(|n| (n, false)).collect());
        let next = list.with(vec![], vec![(20, true)]);
        let shared = |chunk: &&Arc<[Item]>| list.chunks.iter().any(|known| Arc::ptr_eq(known, chunk));
        assert_eq!(next.chunks.iter().filter(|chunk| !shared(chunk)).count(), 1);
        assert_eq!(
            (list.get(|item| item.0.cmp(&20)), next.get(|item| item.0.cmp(&20))),
            (Some(&(20, false)), Some(&(20, true)))
        );
    }
}
