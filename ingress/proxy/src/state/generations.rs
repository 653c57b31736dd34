//! A bounded map that forgets what was not used lately.

use std::borrow::Borrow;
use std::collections::HashMap;

use foldhash::fast::RandomState;

/// Two generations of entries. When the young one has reached its share of the limit, it becomes the old one, and what was not used
/// since the last time is forgotten. Looking an entry up makes it young again.
///
/// The caller hashes keys, so that it can do so before it takes a lock. The hash must not be predictable for clients. Of two keys with
/// the same hash the later one stays.
#[derive(Debug)]
pub(crate) struct Generations<K, V> {
    young: Generation<K, V>,
    old: Generation<K, V>,
    /// Of the costs of one generation.
    limit: usize,
}

/// Entries by the hash of their key.
#[derive(Debug)]
pub(crate) struct Generation<K, V> {
    entries: HashMap<u64, GenerationEntry<K, V>, RandomState>,
    cost: usize,
}

#[derive(Debug)]
struct GenerationEntry<K, V> {
    key: K,
    value: V,
    cost: usize,
}

impl<K, V> Default for Generation<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::default(), cost: 0 }
    }
}

impl<K, V> Generation<K, V> {
    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn add(&mut self, hash: u64, entry: GenerationEntry<K, V>) {
        self.cost += entry.cost;
        if let Some(before) = self.entries.insert(hash, entry) {
            self.cost -= before.cost;
        }
    }

    fn remove(&mut self, hash: u64) -> Option<GenerationEntry<K, V>> {
        let entry = self.entries.remove(&hash)?;
        self.cost -= entry.cost;
        Some(entry)
    }
}

impl<K, V> Generations<K, V> {
    /// A map whose entries cost no more than `limit` together.
    pub(crate) fn new(limit: usize) -> Self {
        Self { young: Generation::default(), old: Generation::default(), limit: limit / 2 }
    }

    /// The value of a key with this hash.
    pub(crate) fn get<Q: Eq + ?Sized>(&mut self, hash: u64, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if !self.young.entries.contains_key(&hash) {
            let entry = self.old.remove(hash)?;
            self.make_young(hash, entry);
        }
        self.young.entries.get(&hash).filter(|entry| entry.key.borrow() == key).map(|entry| &entry.value)
    }

    /// Removes the key with this hash.
    pub(crate) fn remove(&mut self, hash: u64) {
        self.young.remove(hash);
        self.old.remove(hash);
    }

    /// Stores a value, and returns the entries that were forgotten for it, which should be dropped after the lock. One that costs more
    /// than a generation may is not stored.
    pub(crate) fn insert(&mut self, hash: u64, key: K, value: V, cost: usize) -> Generation<K, V> {
        self.remove(hash);
        if cost > self.limit {
            return Generation::default();
        }
        self.make_young(hash, GenerationEntry { key, value, cost })
    }

    fn make_young(&mut self, hash: u64, entry: GenerationEntry<K, V>) -> Generation<K, V> {
        let mut forgotten = Generation::default();
        if self.young.cost + entry.cost > self.limit {
            forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
        }
        self.young.add(hash, entry);
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_lately_is_forgotten() {
        let mut map = Generations::new(8);
        for number in 0..4 {
            assert_eq!(map.insert(number, number, number, 1).len(), 0);
        }
        assert_eq!(map.insert(4, 4, 4, 1).len(), 0);
        assert_eq!(map.get(0, &0), Some(&0), "the old generation is still there");
        for number in 5..8 {
            map.insert(number, number, number, 1);
        }
        let known: Vec<u64> = (0..8).filter(|number| map.get(*number, number).is_some()).collect();
        assert_eq!(known, [0, 4, 5, 6, 7]);
        map.insert(9, 9, 9, 5);
        assert_eq!(map.get(9, &9), None, "it costs too much");
        map.remove(7);
        assert_eq!(map.get(7, &7), None);
        map.insert(4, 44, 44, 1);
        assert_eq!(map.get(4, &44), Some(&44));
        assert_eq!(map.get(4, &4), None, "its place was taken by a key with the same hash");
    }

    #[test]
    fn the_costs_never_exceed_the_limit() {
        let mut map = Generations::new(100);
        for number in 0..1000_usize {
            let key = number % 77;
            map.insert(key as u64, key, number, number % 60);
            map.get(number as u64 % 13, &(number % 13));
            assert!(map.young.cost <= 50 && map.old.cost <= 50, "{number}");
            let sum = |generation: &Generation<usize, usize>| -> usize {
                generation.entries.values().map(|entry| entry.cost).sum()
            };
            assert_eq!((sum(&map.young), sum(&map.old)), (map.young.cost, map.old.cost), "{number}");
        }
    }
}
