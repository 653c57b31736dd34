//! A set-associative table that many threads read without a lock.
//!
//! The hashes of a set lie together, so a miss touches a few cache lines and no entry. CoreDNS's default, 256 shards of 39
//! entries, is 256 sets of 39 slots here, with the same random eviction in a full set. A larger table begins as small and
//! doubles its sets when one is full, until it has its capacity. The entries' weights are bounded as well as their number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

/// The number of sets in a table of CoreDNS's default size.
const SETS: usize = 256;
/// The most slots of a set; a larger table has more sets.
const MAX_WAYS: usize = 64;
/// The largest weight of an entry, as a share of all.
const MAX_SHARE: usize = 16;

/// See the module.
pub(super) struct CacheTable<E> {
    /// Swapped for a larger one as a whole: readers see the old or the new one.
    sets: ArcSwap<Sets<E>>,
    max_sets: usize,
    used: AtomicUsize,
    /// Sum of the entries' weights, in bytes.
    bytes: AtomicUsize,
    max_bytes: usize,
    weight: fn(&E) -> usize,
    /// Held by a writer, with the slot where the search for an entry to evict continues. Writes are rare: each follows an
    /// answer from the network.
    writing: Mutex<usize>,
}

struct Sets<E> {
    count: usize,
    ways: usize,
    /// The hash of the entry in each slot; 0 for an empty slot.
    hashes: Box<[AtomicU64]>,
    slots: Box<[ArcSwapOption<E>]>,
}

/// An entry while it is read.
pub(super) type TableGuard<E> = Guard<Option<Arc<E>>>;

/// The entry that was evicted to store another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// Nothing.
    Added,
    /// An entry of the same set, picked at random: there were too many entries.
    Evicted,
    /// This many entries: together they weighed too much.
    EvictedForBytes(u64),
    /// The entry is too large to be stored.
    TooLarge,
}

impl<E> CacheTable<E> {
    /// A table of about `capacity` entries, rounded down to a multiple of 256 and at least 1024, whose weights add up to
    /// `max_bytes` at most.
    pub(super) fn new(capacity: usize, max_bytes: usize, weight: fn(&E) -> usize) -> Self {
        let capacity = capacity.max(4 * SETS) / SETS * SETS;
        let max_sets = SETS * capacity.div_ceil(SETS * MAX_WAYS);
        Self {
            sets: ArcSwap::from_pointee(Sets::new(SETS, capacity / max_sets)),
            max_sets,
            used: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_bytes,
            weight,
            writing: Mutex::default(),
        }
    }

    /// The entry with this hash for which `matches_key` holds.
    // Hot: 0 allocations, no lock.
    pub(super) fn find(&self, hash: u64, matches_key: impl Fn(&E) -> bool) -> Option<TableGuard<E>> {
        let sets = self.sets.load();
        let known = stored_hash(hash);
        for at in sets.set(hash) {
            if sets.hashes[at].load(Ordering::Relaxed) != known {
                continue;
            }
            let guard = sets.slots[at].load();
            if guard.as_ref().is_some_and(|entry| matches_key(entry)) {
                return Some(guard);
            }
        }
        None
    }

    /// Stores an entry: in the slot of the one for which `matches_key` holds, else in an empty slot, else in that of an
    /// expired one (`is_expired`). If there is none, the table grows; at its capacity a random entry of the set is evicted.
    /// Then evicts other entries until the weights fit.
    pub(super) fn store(
        &self,
        hash: u64,
        entry: Arc<E>,
        matches_key: impl Fn(&E) -> bool,
        is_expired: impl Fn(&E) -> bool,
    ) -> Stored {
        let weight = (self.weight)(&entry);
        if weight > self.max_bytes / MAX_SHARE {
            self.remove(hash, matches_key);
            return Stored::TooLarge;
        }
        let mut next = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (sets, at, stored) = loop {
            let sets = self.sets.load();
            let (at, stored) = match sets.place(hash, &matches_key, &is_expired) {
                Some(at) => (at, Stored::Added),
                None if sets.count < self.max_sets => {
                    let (grown, used) = sets.grown((2 * sets.count).min(self.max_sets));
                    let weights =
                        grown.slots.iter().filter_map(|slot| slot.load().as_deref().map(self.weight));
                    self.bytes.store(weights.sum(), Ordering::Relaxed);
                    self.used.store(used, Ordering::Relaxed);
                    self.sets.store(Arc::new(grown));
                    continue;
                }
                None => (sets.set(hash).start + fastrand::usize(..sets.ways), Stored::Evicted),
            };
            break (sets, at, stored);
        };
        self.put(&sets, at, Some(entry), stored_hash(hash));
        let mut evicted = 0;
        while self.bytes() > self.max_bytes {
            *next = (*next + 1) % sets.slots.len();
            if *next != at && sets.hashes[*next].load(Ordering::Relaxed) != 0 {
                self.put(&sets, *next, None, 0);
                evicted += 1;
            }
        }
        if evicted > 0 { Stored::EvictedForBytes(evicted) } else { stored }
    }

    /// Fills or empties a slot and updates the counts. Called only by the writer.
    fn put(&self, sets: &Sets<E>, at: usize, entry: Option<Arc<E>>, hash: u64) {
        let weigh =
            |entry: &Option<Arc<E>>| entry.as_deref().map_or((0, 0), |entry| (1, (self.weight)(entry)));
        let (added, weight) = weigh(&entry);
        if entry.is_none() {
            sets.hashes[at].store(hash, Ordering::Relaxed);
        }
        let before = sets.slots[at].swap(entry);
        sets.hashes[at].store(hash, Ordering::Relaxed);
        let (removed, lighter) = weigh(&before);
        self.used.store(self.len() + added - removed, Ordering::Relaxed);
        self.bytes.store(self.bytes() + weight - lighter, Ordering::Relaxed);
    }

    /// Removes the entry for which `matches_key` holds.
    pub(super) fn remove(&self, hash: u64, matches_key: impl Fn(&E) -> bool) {
        if self.find(hash, &matches_key).is_none() {
            return;
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let sets = self.sets.load();
        for at in sets.set(hash) {
            if sets.slots[at].load().as_ref().is_some_and(|known| matches_key(known)) {
                self.put(&sets, at, None, 0);
            }
        }
    }

    /// The sum of the entries' weights.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many entries there are, including expired ones.
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

    /// The slot for an entry, if its set has one without an eviction.
    fn place(
        &self,
        hash: u64,
        matches_key: impl Fn(&E) -> bool,
        is_expired: impl Fn(&E) -> bool,
    ) -> Option<usize> {
        let (mut empty, mut expired) = (None, None);
        for at in self.set(hash) {
            match &*self.slots[at].load() {
                None => {
                    empty.get_or_insert(at);
                }
                Some(known) if matches_key(known) => return Some(at),
                Some(known) if is_expired(known) => {
                    expired.get_or_insert(at);
                }
                Some(_) => {}
            }
        }
        empty.or(expired)
    }

    /// The same entries in more sets, and their number. In the last step before the capacity a set may be split unevenly;
    /// then entries that do not fit are left out.
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

/// The hash as stored: never 0, which marks an empty slot. The lowest bit is not used to select a set.
fn stored_hash(hash: u64) -> u64 {
    hash | 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_those_of_coredns() {
        for (wanted, capacity) in [(0, 1024), (1024, 1024), (9984, 9984), (10_000, 9984), (100_000, 99_840)] {
            let table = CacheTable::<u32>::new(wanted, usize::MAX, |_| 1);
            let slots = table.max_sets * table.sets.load().ways;
            assert!(slots <= capacity && slots * 100 >= capacity * 97, "{wanted}: {slots}");
        }
    }

    #[test]
    fn a_large_table_grows_with_its_entries_and_no_further_than_its_capacity() {
        let hash = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let store = |table: &CacheTable<u64>, number: u64| {
            table.store(hash(number), Arc::new(number), |known| *known == number, |_| false)
        };
        let table = CacheTable::new(2_000_000_000, usize::MAX, |_| 1);
        assert_eq!(table.sets.load().count, SETS, "nothing is allocated before it is needed");
        for number in 0..40_000 {
            assert_eq!(store(&table, number), Stored::Added);
        }
        assert!((0..40_000).all(|number| table.find(hash(number), |known| *known == number).is_some()));
        assert!(table.sets.load().slots.len() <= 4 * 40_000, "{} sets", table.sets.load().count);

        let table = CacheTable::new(20_000, usize::MAX, |_| 1);
        let evicted = (0..40_000).filter(|number| store(&table, *number) == Stored::Evicted).count();
        assert_eq!((table.sets.load().count, table.len()), (512, 40_000 - evicted));
        assert!((19_000..=20_000).contains(&table.len()), "{}", table.len());
    }

    #[test]
    fn a_full_set_evicts_an_expired_entry_first_and_then_any() {
        let table = CacheTable::new(1024, usize::MAX, |_| 1);
        let store =
            |number: u32| table.store(7, Arc::new(number), |known| *known == number, |known| *known == 2);
        for number in 0..4 {
            assert_eq!(store(number), Stored::Added);
        }
        assert_eq!((store(3), table.len()), (Stored::Added, 4), "the same again");
        assert_eq!(store(4), Stored::Added, "in place of 2, which has expired");
        assert!(table.find(7, |known| *known == 2).is_none());
        assert_eq!((store(5), table.len()), (Stored::Evicted, 4));
        table.remove(7, |known| *known == 5);
        assert_eq!((table.find(7, |known| *known == 5).is_none(), table.len()), (true, 3));
    }

    #[test]
    fn readers_see_whole_entries_while_writers_replace_them() {
        let table = CacheTable::new(1024, usize::MAX, |_| 1);
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
                    if let Some(guard) = table.find(hash, |known| known.0 == hash) {
                        assert_eq!(guard.as_ref().map(|known| known.0), Some(hash));
                    }
                }
            });
        });
        assert!(table.len() <= 1024);
    }

    #[test]
    fn the_total_weight_of_the_entries_is_bounded() {
        let table = CacheTable::new(9984, 1600, |weight: &usize| *weight);
        let hash = |number: usize| (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let store = |number, weight: usize| table.store(hash(number), Arc::new(weight), |_| false, |_| false);
        assert_eq!(store(0, 101), Stored::TooLarge);
        assert!((0..32).all(|number| store(number, 50) == Stored::Added));
        assert_eq!((table.len(), table.bytes()), (32, 1600));
        assert_eq!((store(32, 90), table.len(), table.bytes()), (Stored::EvictedForBytes(2), 31, 1590));
        assert!(table.find(hash(32), |weight| *weight == 90).is_some(), "the new one stays");
        for number in 33..1000 {
            store(number, number % 100);
            assert!(table.bytes() <= 1600);
        }
        table.remove(hash(999), |weight| *weight == 99);
        let slots = table.sets.load();
        let left = slots.slots.iter().filter_map(|slot| slot.load().as_deref().copied());
        assert_eq!((table.bytes(), table.len()), (left.clone().sum(), left.count()));
    }
}
