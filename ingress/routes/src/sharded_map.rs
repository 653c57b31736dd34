//! A persistent hash map: a changed copy shares all unchanged shards with the map it was made from.

use std::borrow::Borrow;
use std::fmt::{Debug, Formatter};
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, LazyLock};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, OccupiedEntry};

/// Two levels of this many branches: 1,024 shards.
const WIDTH: usize = 32;

/// One seed for every map of the process, so that a key has the same shard in all of them.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

/// A table to which the hash is passed in: one hash of a key chooses the shard and the bucket.
type Shard<K, V> = HashTable<(K, V)>;
type Branch<K, V> = [Arc<Shard<K, V>>; WIDTH];

/// A hash map whose clone costs one reference count and whose change copies a shard (a thousandth of it) and two branches.
pub(crate) struct ShardedMap<K, V> {
    seed: RandomState,
    root: Arc<[Arc<Branch<K, V>>; WIDTH]>,
}

impl<K, V> Default for ShardedMap<K, V> {
    fn default() -> Self {
        let seed = SEED.clone();
        let shard = Arc::new(Shard::new());
        let branch = Arc::new(std::array::from_fn(|_| shard.clone()));
        Self { seed, root: Arc::new(std::array::from_fn(|_| branch.clone())) }
    }
}

impl<K, V> Clone for ShardedMap<K, V> {
    fn clone(&self) -> Self {
        Self { seed: self.seed.clone(), root: self.root.clone() }
    }
}

impl<K: Hash + Eq, V> ShardedMap<K, V> {
    /// The value under a key. Hot: no allocation.
    pub(crate) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = self.seed.hash_one(key);
        let (branch, shard) = shard_of(hash);
        let found = self.root[branch][shard].find(hash, |(known, _)| known.borrow() == key);
        found.map(|(_, value)| value)
    }

    /// Every key and value, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards().flat_map(|shard| shard.iter()).map(|(key, value)| (key, value))
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.shards().map(|shard| shard.len()).sum()
    }

    fn shards(&self) -> impl Iterator<Item = &Shard<K, V>> {
        self.root.iter().flat_map(|branch| branch.iter()).map(|shard| &**shard)
    }
}

/// The shard of a key, chosen by bits of the hash that do not choose the bucket within the shard.
fn shard_of(hash: u64) -> (usize, usize) {
    let hash = hash as usize;
    ((hash >> 32) % WIDTH, (hash >> 40) % WIDTH)
}

impl<K: Hash + Eq + Clone, V: Clone> ShardedMap<K, V> {
    /// Sets a value.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let (seed, hash) = (self.seed.clone(), self.seed.hash_one(&key));
        let hasher = |(known, _): &(K, V)| seed.hash_one(known);
        match self.shard_mut(hash).entry(hash, |(known, _)| *known == key, hasher) {
            Entry::Occupied(mut entry) => entry.get_mut().1 = value,
            Entry::Vacant(entry) => drop(entry.insert((key, value))),
        }
    }

    /// Removes a value.
    pub(crate) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if self.get(key).is_some() {
            let hash = self.seed.hash_one(key);
            let found = self.shard_mut(hash).find_entry(hash, |(known, _)| known.borrow() == key);
            found.map(OccupiedEntry::remove).ok();
        }
    }

    /// Sets the value under a key, or removes it.
    pub(crate) fn set(&mut self, key: K, value: Option<V>) {
        match value {
            Some(value) => self.insert(key, value),
            None => self.remove(&key),
        }
    }

    fn shard_mut(&mut self, hash: u64) -> &mut Shard<K, V> {
        let (branch, shard) = shard_of(hash);
        Arc::make_mut(&mut Arc::make_mut(&mut Arc::make_mut(&mut self.root)[branch])[shard])
    }
}

impl<K: Hash + Eq, V: PartialEq> PartialEq for ShardedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|(key, value)| other.get(key) == Some(value))
    }
}

impl<K: Hash + Eq + Debug, V: Debug> Debug for ShardedMap<K, V> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_a_clone_does_not_change_the_original() {
        let mut before = ShardedMap::default();
        for n in 0..5000 {
            before.insert(n, n);
        }
        let mut after = before.clone();
        after.insert(7, 70);
        after.remove(&8);
        assert_eq!((before.get(&7), before.get(&8), before.len()), (Some(&7), Some(&8), 5000));
        assert_eq!((after.get(&7), after.get(&8), after.len()), (Some(&70), None, 4999));
        let shards = before.shards().zip(after.shards());
        assert!(
            shards.filter(|(before, after)| !std::ptr::eq(*before, *after)).count() <= 2,
            "others are shared"
        );
        after.insert(7, 7);
        after.insert(8, 8);
        assert_eq!(after, before);
    }
}
