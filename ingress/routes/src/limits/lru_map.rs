//! A map from clients to values that knows which client was used longest ago.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::ClientKey;

/// No entry.
const NONE: u32 = u32::MAX;

/// The number of an entry. It is valid until the entry is removed.
pub(super) type EntryId = u32;

#[derive(Debug)]
struct Entry<V> {
    client: ClientKey,
    value: V,
    /// The neighbours in the order of use.
    newer: u32,
    older: u32,
}

/// Entries are kept in one vector and linked in the order of use. Removed ones are used again.
#[derive(Debug)]
pub(super) struct LruMap<V> {
    ids: HashMap<ClientKey, EntryId, RandomState>,
    entries: Vec<Entry<V>>,
    free: Vec<EntryId>,
    newest: u32,
    oldest: u32,
}

impl<V> Default for LruMap<V> {
    fn default() -> Self {
        let (ids, entries, free) = <(HashMap<_, _, _>, Vec<_>, Vec<_>)>::default();
        Self { ids, entries, free, newest: NONE, oldest: NONE }
    }
}

impl<V> LruMap<V> {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The entry of a client, which becomes the newest.
    pub(super) fn find(&mut self, client: ClientKey) -> Option<EntryId> {
        let id = *self.ids.get(&client)?;
        self.unlink(id);
        self.link(id);
        Some(id)
    }

    /// Adds a client that has no entry.
    pub(super) fn insert(&mut self, client: ClientKey, value: V) -> EntryId {
        let entry = Entry { client, value, newer: NONE, older: NONE };
        let id = match self.free.pop() {
            Some(id) => {
                self.entries[id as usize] = entry;
                id
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        self.ids.insert(client, id);
        self.link(id);
        id
    }

    /// The value of an entry.
    pub(super) fn value(&mut self, id: EntryId) -> &mut V {
        &mut self.entries[id as usize].value
    }

    /// The entry that was used longest ago.
    pub(super) fn oldest(&self) -> Option<(EntryId, &V)> {
        (self.oldest != NONE).then(|| (self.oldest, &self.entries[self.oldest as usize].value))
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, id: EntryId) {
        self.unlink(id);
        self.ids.remove(&self.entries[id as usize].client);
        self.free.push(id);
    }

    /// Makes an entry the newest.
    fn link(&mut self, id: EntryId) {
        let newest = std::mem::replace(&mut self.newest, id);
        let entry = &mut self.entries[id as usize];
        (entry.newer, entry.older) = (NONE, newest);
        match newest {
            NONE => self.oldest = id,
            newest => self.entries[newest as usize].newer = id,
        }
    }

    fn unlink(&mut self, id: EntryId) {
        let Entry { newer, older, .. } = self.entries[id as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn client(number: u8) -> ClientKey {
        IpAddr::from([192, 0, 2, number]).into()
    }

    /// Removes all, the oldest first.
    fn order(map: &mut LruMap<u8>) -> Vec<u8> {
        std::iter::from_fn(|| {
            let (id, value) = map.oldest().map(|(id, value)| (id, *value))?;
            map.remove(id);
            Some(value)
        })
        .collect()
    }

    #[test]
    fn entries_leave_in_the_order_of_use() {
        let mut map = LruMap::default();
        assert_eq!(order(&mut map), []);
        for number in 1..=4 {
            map.insert(client(number), number);
        }
        for used in [1, 3, 3, 4] {
            assert!(map.find(client(used)).is_some());
        }
        let second = map.find(client(2)).unwrap();
        *map.value(second) += 10;
        assert_eq!((map.len(), map.find(client(9))), (4, None));
        assert_eq!(order(&mut map), [1, 3, 4, 12]);
        assert_eq!(map.len(), 0);
    }

    #[test]
    fn removed_entries_are_used_again() {
        let mut map = LruMap::default();
        for round in 0..100 {
            let id = map.insert(client(round), round);
            map.insert(client(200), 200);
            map.remove(id);
            assert_eq!(order(&mut map), [200]);
        }
        assert_eq!(map.entries.len(), 2);
    }
}
