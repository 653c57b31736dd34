//! A table that many threads read without a lock: sets of slots, as many as there may be entries.
//!
//! A set is searched by tags that lie together, so a miss touches a few cache lines and no entry. CoreDNS's default,
//! 256 shards of 39 entries, is 256 sets of 39 slots here, with the same random eviction in a full one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arc_swap::{ArcSwapOption, Guard};

use crate::random;

/// Sets of a table of CoreDNS's default size, and the most slots of a set before there are more sets.
const SETS: usize = 256;
const MOST_WAYS: usize = 64;

pub(super) struct Table<E> {
    sets: usize,
    ways: usize,
    /// Part of the hash of what is in a slot; 0 for an empty one.
    tags: Box<[AtomicU32]>,
    slots: Box<[ArcSwapOption<E>]>,
    used: AtomicUsize,
    /// Writers take turns. They come with answers from the network, so they are few.
    writing: Mutex<()>,
}

/// An entry held while it is read.
pub(super) type Held<E> = Guard<Option<Arc<E>>>;

/// What happened to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// Nothing had to go.
    Added,
    /// Another entry, picked at random, had to go.
    Evicted,
}

impl<E> Table<E> {
    /// A table of about so many entries, rounded down to a multiple of 256 and at least 1024.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(4 * SETS) / SETS * SETS;
        let sets = SETS * capacity.div_ceil(SETS * MOST_WAYS);
        let ways = capacity / sets;
        let tags = (0..sets * ways).map(|_| AtomicU32::new(0)).collect();
        let slots = (0..sets * ways).map(|_| ArcSwapOption::empty()).collect();
        Self { sets, ways, tags, slots, used: AtomicUsize::new(0), writing: Mutex::default() }
    }

    /// The entry of that hash which `is_it` recognises.
    // Hot: 0 allocations, no lock.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<Held<E>> {
        let tag = tag(hash);
        let set = self.set(hash);
        for at in set {
            if self.tags[at].load(Ordering::Relaxed) != tag {
                continue;
            }
            // The tag is a hint: what counts is the entry.
            let held = self.slots[at].load();
            if held.as_ref().is_some_and(|entry| is_it(entry)) {
                return Some(held);
            }
        }
        None
    }

    /// Puts an entry in: in place of the one `is_it` recognises, else in an empty slot, else in that of one that
    /// `is_over`, else of any.
    pub(super) fn store(
        &self,
        hash: u64,
        entry: Arc<E>,
        is_it: impl Fn(&E) -> bool,
        is_over: impl Fn(&E) -> bool,
    ) -> Stored {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut empty, mut over) = (None, None);
        let mut same = None;
        for at in self.set(hash) {
            match &*self.slots[at].load() {
                None => {
                    empty.get_or_insert(at);
                }
                Some(known) if is_it(known) => {
                    same = Some(at);
                    break;
                }
                Some(known) if is_over(known) => {
                    over.get_or_insert(at);
                }
                Some(_) => {}
            }
        }
        let (at, stored) = match (same.or(empty), over) {
            (Some(at), _) | (None, Some(at)) => (at, Stored::Added),
            (None, None) => (self.set(hash).start + random::below(self.ways), Stored::Evicted),
        };
        if self.slots[at].swap(Some(entry)).is_none() {
            self.used.fetch_add(1, Ordering::Relaxed);
        }
        self.tags[at].store(tag(hash), Ordering::Relaxed);
        stored
    }

    /// Takes out the entry that `is_it` recognises.
    pub(super) fn remove(&self, hash: u64, is_it: impl Fn(&E) -> bool) {
        if self.find(hash, &is_it).is_none() {
            return;
        }
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        for at in self.set(hash) {
            if self.slots[at].load().as_ref().is_some_and(|known| is_it(known)) {
                self.tags[at].store(0, Ordering::Relaxed);
                self.slots[at].store(None);
                self.used.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// How many entries there are, those that are over included.
    pub(super) fn len(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn set(&self, hash: u64) -> std::ops::Range<usize> {
        let first = ((u128::from(hash) * self.sets as u128) >> 64) as usize * self.ways;
        first..first + self.ways
    }
}

fn tag(hash: u64) -> u32 {
    hash as u32 | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_those_of_coredns() {
        for (wanted, capacity) in [(0, 1024), (1024, 1024), (9984, 9984), (10_000, 9984), (100_000, 99_840)] {
            let table = Table::<u32>::new(wanted);
            let slots = table.slots.len();
            assert!(slots <= capacity && slots * 100 >= capacity * 97, "{wanted}: {slots}");
        }
    }

    #[test]
    fn a_full_set_gives_up_what_is_over_and_then_anything() {
        let table = Table::new(1024);
        let store =
            |number: u32| table.store(7, Arc::new(number), |known| *known == number, |known| *known == 2);
        for number in 0..4 {
            assert_eq!(store(number), Stored::Added);
        }
        assert_eq!((store(3), table.len()), (Stored::Added, 4), "the same again");
        assert_eq!(store(4), Stored::Added, "in place of 2, which is over");
        assert!(table.find(7, |known| *known == 2).is_none());
        assert_eq!((store(5), table.len()), (Stored::Evicted, 4));
        table.remove(7, |known| *known == 5);
        assert_eq!((table.find(7, |known| *known == 5).is_none(), table.len()), (true, 3));
    }

    #[test]
    fn readers_see_whole_entries_while_writers_replace_them() {
        let table = Table::new(1024);
        std::thread::scope(|scope| {
            for writer in 0..2_u64 {
                let table = &table;
                scope.spawn(move || {
                    for round in 0..20_000_u64 {
                        let hash = (round % 64) << 58 | round;
                        table.store(hash, Arc::new((hash, writer)), |known| known.0 == hash, |_| false);
                    }
                });
            }
            scope.spawn(|| {
                for round in 0..20_000_u64 {
                    let hash = (round % 64) << 58 | round;
                    if let Some(held) = table.find(hash, |known| known.0 == hash) {
                        assert_eq!(held.as_ref().map(|known| known.0), Some(hash));
                    }
                }
            });
        });
        assert!(table.len() <= 1024);
    }
}
