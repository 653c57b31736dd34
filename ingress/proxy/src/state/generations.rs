//! A bounded map that forgets what was not used lately.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Two generations of entries. When the young one has reached its share of the limit, it becomes the old one, and what was not used
/// since the last time is forgotten. Looking an entry up makes it young again.
#[derive(Debug)]
pub(crate) struct Generations<K, V> {
    young: Generation<K, V>,
    old: Generation<K, V>,
    /// Of the costs of one generation.
    limit: usize,
}

#[derive(Debug)]
struct Generation<K, V> {
    entries: HashMap<K, (V, usize)>,
    cost: usize,
}

impl<K, V> Default for Generation<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), cost: 0 }
    }
}

impl<K: Hash + Eq, V> Generations<K, V> {
    /// A map whose entries cost no more than `limit` together.
    pub(crate) fn new(limit: usize) -> Self {
        Self { young: Generation::default(), old: Generation::default(), limit: limit / 2 }
    }

    /// The value of a key.
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if let Some((key, (value, cost))) = self.old.entries.remove_entry(key) {
            self.old.cost -= cost;
            self.insert(key, value, cost);
        }
        self.young.entries.get(key).map(|(value, _)| value)
    }

    /// Removes a key.
    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        for generation in [&mut self.young, &mut self.old] {
            if let Some((_, cost)) = generation.entries.remove(key) {
                generation.cost -= cost;
            }
        }
    }

    /// Stores a value, and returns how many others were forgotten for it. One that costs more than a generation may is not stored.
    pub(crate) fn insert(&mut self, key: K, value: V, cost: usize) -> usize {
        self.remove(&key);
        if cost > self.limit {
            return 0;
        }
        let mut forgotten = 0;
        if self.young.cost + cost > self.limit {
            forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young)).entries.len();
        }
        self.young.cost += cost;
        self.young.entries.insert(key, (value, cost));
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
            assert_eq!(map.insert(number, number, 1), 0);
        }
        map.insert(4, 4, 1);
        assert_eq!(map.get(&0), Some(&0), "the old generation is still there");
        for number in 5..8 {
            map.insert(number, number, 1);
        }
        let known: Vec<i32> = (0..8).filter(|number| map.get(number).is_some()).collect();
        assert_eq!(known, [0, 4, 5, 6, 7]);
        map.insert(9, 9, 5);
        assert_eq!(map.get(&9), None, "it costs too much");
        map.remove(&7);
        assert_eq!(map.get(&7), None);
    }

    #[test]
    fn the_costs_never_exceed_the_limit() {
        let mut map = Generations::new(100);
        for number in 0..1000_usize {
            map.insert(number % 77, number, number % 60);
            map.get(&(number % 13));
            assert!(map.young.cost <= 50 && map.old.cost <= 50, "{number}");
            let sum = |generation: &Generation<usize, usize>| -> usize {
                generation.entries.values().map(|(_, cost)| cost).sum()
            };
            assert_eq!((sum(&map.young), sum(&map.old)), (map.young.cost, map.old.cost), "{number}");
        }
    }
}
