//! A table that many threads read without a lock: sets of slots, more of them as entries come.
//!
//! A set is searched by hashes that lie together, so a miss touches a few cache lines and no entry. CoreDNS's default,
//! 256 shards of 39 entries, is 256 sets of 39 slots here, with the same random eviction in a full one. A larger table
//! begins as small and doubles its sets when one is full, until it has its capacity: what is never used costs nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use crate::random;

/// Sets of a table of CoreDNS's default size, and the most slots of a set before there are more sets.
const SETS: usize = 256;
const MOST_WAYS: usize = 64;

pub(super) struct CacheTable<E> {
    /// Swapped for a larger one as a whole: readers see the one or the other.
    sets: ArcSwap<Sets<E>>,
    /// So many sets there are at most.
    most: usize,
    used: AtomicUsize,
    /// Writers take turns. They come with answers from the network, so they are few.
    writing: Mutex<()>,
}

struct Sets<E> {
    count: usize,
    ways: usize,
    /// The hash of what is in a slot; 0 for an empty one.
    hashes: Box<[AtomicU64]>,
    slots: Box<[ArcSwapOption<E>]>,
}

/// An entry held while it is read.
pub(super) type TableGuard<E> = Guard<Option<Arc<E>>>;

/// What happened to make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// Nothing had to go.
    Added,
    /// Another entry, picked at random, had to go.
    Evicted,
}

impl<E> CacheTable<E> {
    /// A table of about so many entries, rounded down to a multiple of 256 and at least 1024.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.max(4 * SETS) / SETS * SETS;
        let most = SETS * capacity.div_ceil(SETS * MOST_WAYS);
        let sets = ArcSwap::from_pointee(Sets::new(SETS, capacity / most));
        Self { sets, most, used: AtomicUsize::new(0), writing: Mutex::default() }
    }

    /// The entry of that hash which `is_it` recognises.
    // Hot: 0 allocations, no lock.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(&E) -> bool) -> Option<TableGuard<E>> {
        let sets = self.sets.load();
        let known = marked(hash);
        for at in sets.set(hash) {
            if sets.hashes[at].load(Ordering::Relaxed) != known {
                continue;
            }
            // The hash is a hint: what counts is the entry.
            let held = sets.slots[at].load();
            if held.as_ref().is_some_and(|entry| is_it(entry)) {
                return Some(held);
            }
        }
        None
    }

    /// Puts an entry in: in place of the one `is_it` recognises, else in an empty slot, else in that of one that
    /// `is_over`, else the table grows, and where it must not, in that of any.
    pub(super) fn store(
        &self,
        hash: u64,
        entry: Arc<E>,
        is_it: impl Fn(&E) -> bool,
        is_over: impl Fn(&E) -> bool,
    ) -> Stored {
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let sets = self.sets.load();
            let (at, stored) = match sets.place(hash, &is_it, &is_over) {
                Some(at) => (at, Stored::Added),
                None if sets.count < self.most => {
                    let (grown, used) = sets.grown((2 * sets.count).min(self.most));
                    self.sets.store(Arc::new(grown));
                    self.used.store(used, Ordering::Relaxed);
                    continue;
                }
                None => (sets.set(hash).start + random::below(sets.ways), Stored::Evicted),
            };
            if sets.slots[at].swap(Some(entry)).is_none() {
                self.used.fetch_add(1, Ordering::Relaxed);
            }
            sets.hashes[at].store(marked(hash), Ordering::Relaxed);
            return stored;
        }
    }

    /// Takes out the entry that `is_it` recognises.
    pub(super) fn remove(&self, hash: u64, is_it: impl Fn(&E) -> bool) {
        if self.find(hash, &is_it).is_none() {
            return;
        }
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = self.sets.load();
        for at in sets.set(hash) {
            if sets.slots[at].load().as_ref().is_some_and(|known| is_it(known)) {
                sets.hashes[at].store(0, Ordering::Relaxed);
                sets.slots[at].store(None);
                self.used.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// How many entries there are, those that are over included.
    pub(super) fn len(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

impl<E> Sets<E> {
    fn new(count: usize, ways: usize) -> Self {
        let hashes = (0..count * ways).map(|_| AtomicU64::new(0)).collect();
        let slots = (0..count * ways).map(|_| ArcSwapOption::empty()).collect();
        Self { count, ways, hashes, slots }
    }

    fn set(&self, hash: u64) -> std::ops::Range<usize> {
        let first = ((u128::from(hash) * self.count as u128) >> 64) as usize * self.ways;
        first..first + self.ways
    }

    /// The slot for an entry, if its set has one to give.
    fn place(&self, hash: u64, is_it: impl Fn(&E) -> bool, is_over: impl Fn(&E) -> bool) -> Option<usize> {
        let (mut empty, mut over) = (None, None);
        for at in self.set(hash) {
            match &*self.slots[at].load() {
                None => {
                    empty.get_or_insert(at);
                }
                Some(known) if is_it(known) => return Some(at),
                Some(known) if is_over(known) => {
                    over.get_or_insert(at);
                }
                Some(_) => {}
            }
        }
        empty.or(over)
    }

    /// The same entries in more sets, and how many they are: where sets are not just halved, the last step before the
    /// capacity may leave some out.
    fn grown(&self, count: usize) -> (Self, usize) {
        let grown = Self::new(count, self.ways);
        let mut filled = vec![0; count];
        for (hash, slot) in self.hashes.iter().zip(&self.slots) {
            let (hash, entry) = (hash.load(Ordering::Relaxed), slot.load_full());
            let set = grown.set(hash);
            let place = &mut filled[set.start / self.ways];
            if entry.is_some() && *place < self.ways {
                grown.hashes[set.start + *place].store(hash, Ordering::Relaxed);
                grown.slots[set.start + *place].store(entry);
                *place += 1;
            }
        }
        (grown, filled.iter().sum())
    }
}

/// The hash as it is kept: never 0. The lowest bit does not tell sets apart.
fn marked(hash: u64) -> u64 {
    hash | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_those_of_coredns() {
        for (wanted, capacity) in [(0, 1024), (1024, 1024), (9984, 9984), (10_000, 9984), (100_000, 99_840)] {
            let table = CacheTable::<u32>::new(wanted);
            let slots = table.most * table.sets.load().ways;
            assert!(slots <= capacity && slots * 100 >= capacity * 97, "{wanted}: {slots}");
        }
    }

    #[test]
    fn a_large_table_grows_with_its_entries_and_no_further_than_its_capacity() {
        let hash = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let store = |table: &CacheTable<u64>, number: u64| {
            table.store(hash(number), Arc::new(number), |known| *known == number, |_| false)
        };
        let table = CacheTable::new(2_000_000_000);
        assert_eq!(table.sets.load().count, SETS, "nothing is request for before it is needed");
        for number in 0..40_000 {
            assert_eq!(store(&table, number), Stored::Added);
        }
        assert!((0..40_000).all(|number| table.find(hash(number), |known| *known == number).is_some()));
        assert!(table.sets.load().slots.len() <= 4 * 40_000, "{} sets", table.sets.load().count);

        let table = CacheTable::new(20_000);
        let evicted = (0..40_000).filter(|number| store(&table, *number) == Stored::Evicted).count();
        assert_eq!((table.sets.load().count, table.len()), (512, 40_000 - evicted));
        assert!((19_000..=20_000).contains(&table.len()), "{}", table.len());
    }

    #[test]
    fn a_full_set_gives_up_what_is_over_and_then_anything() {
        let table = CacheTable::new(1024);
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
        let table = CacheTable::new(1024);
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
