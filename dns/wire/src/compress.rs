//! Name compression: stores the names of a packet, so that later names can point to them (RFC 1035 §4.1.4).

use crate::name::MAX_LABELS;
use crate::query::{HEADER, Query};

/// Pointers have 14 bits.
const MAX_POINTER_TARGET: usize = 0x4000;
/// Up to this many suffixes are compared one by one, which costs less than a table.
const LINEAR_SEARCH: usize = 64;
/// Chains of the table beyond that. There are at most 8,192 suffixes within reach.
const CHAINS: usize = 4096;
/// Stored names that are compared to find one that occurs again.
const SEARCH_WINDOW: usize = 64;

/// Holds every suffix of every name in the packet. Like Go's library it compares case-sensitively, so that a pointer never
/// changes the case of a letter, and it also stores names that must not be compressed themselves.
///
/// Most replies have only the question's name and one more, so suffixes are hashed only from the third name on.
#[derive(Default)]
pub(crate) struct Compressor {
    /// Names other than the question's, in the order written.
    written: Vec<Written>,
    /// How many of them are in the table.
    indexed: usize,
    /// Where the search for a repeated name begins: names of one section often repeat those of another in the same order.
    next: usize,
    hashes: Vec<u32>,
    positions: Vec<u16>,
    /// The last suffix of each chain, counted from 1; empty while there are few.
    chains: Vec<u16>,
    /// The suffix before each in its chain, likewise; 0 for none.
    before: Vec<u16>,
}

/// Holds no state between packets, so a clone starts empty.
impl Clone for Compressor {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// The position of a name in the reply's storage and in the packet.
struct Written {
    stored: u32,
    len: u8,
    position: u16,
}

/// The packet so far.
pub(crate) struct Packet<'a> {
    /// Where the reply stores its names.
    pub(crate) bytes: &'a [u8],
    pub(crate) query: &'a Query,
    pub(crate) out: &'a mut [u8],
}

impl Compressor {
    /// Prepares for a new packet.
    pub(crate) fn clear(&mut self) {
        self.written.clear();
        (self.indexed, self.next) = (0, 0);
        self.hashes.clear();
        self.positions.clear();
        self.chains.clear();
        self.before.clear();
    }

    /// Writes the whole name stored at `stored..end` of the reply at `at` of the packet, as short as it may be. Returns
    /// where it ends; `None` if it does not fit.
    pub(crate) fn write(
        &mut self,
        packet: &mut Packet<'_>,
        (stored, end): (usize, usize),
        compress: bool,
        at: usize,
    ) -> Option<usize> {
        let name = packet.bytes.get(stored..end)?;
        if name.len() <= 1 {
            *packet.out.get_mut(at)? = 0;
            return Some(at + 1);
        }
        let known = match compress {
            true => self.find_same(stored).map(|position| (0, position)).or_else(|| self.find(packet, name)),
            false => None,
        };
        let (offset, pointer) = match known {
            Some((offset, position)) => (offset, Some(0xc000 | position)),
            None => (name.len(), None),
        };
        packet.out.get_mut(at..at + offset)?.copy_from_slice(&name[..offset]);
        if offset > 0 && at < MAX_POINTER_TARGET {
            self.written.push(Written { stored: stored as u32, len: name.len() as u8, position: at as u16 });
        }
        let Some(pointer) = pointer else { return Some(at + offset) };
        packet.out.get_mut(at + offset..at + offset + 2)?.copy_from_slice(&pointer.to_be_bytes());
        Some(at + offset + 2)
    }

    /// The position of this very name, if it was written already and is found near where it should be.
    fn find_same(&mut self, stored: usize) -> Option<u16> {
        let (before, after) = self.written.split_at(self.next);
        let is = |written: &Written| written.stored as usize == stored;
        let at = match after.iter().take(SEARCH_WINDOW).position(is) {
            Some(at) => before.len() + at,
            None => before.iter().take(SEARCH_WINDOW).position(is)?,
        };
        self.next = at + 1;
        Some(self.written[at].position)
    }

    /// The longest suffix of a name that is in the packet: its offset in the name, and its position in the packet.
    fn find(&mut self, packet: &Packet<'_>, name: &[u8]) -> Option<(usize, u16)> {
        if self.written.is_empty() {
            return starts(name)
                .find_map(|offset| Some((offset, find_in_question(packet, &name[offset..])?)));
        }
        for i in self.indexed..self.written.len() {
            self.index(packet, i);
        }
        self.indexed = self.written.len();
        let suffixes = Suffixes::of(name);
        suffixes
            .iter()
            .find_map(|(offset, hash)| Some((offset, self.find_suffix(packet, &name[offset..], hash)?)))
    }

    fn index(&mut self, packet: &Packet<'_>, i: usize) {
        let Written { stored, len, position } = self.written[i];
        let name = packet.bytes.get(stored as usize..stored as usize + usize::from(len)).unwrap_or_default();
        for (offset, hash) in Suffixes::of(name).iter() {
            let at = usize::from(position) + offset;
            // This suffix and the shorter ones are already stored.
            if at >= MAX_POINTER_TARGET || self.find_suffix(packet, &name[offset..], hash).is_some() {
                return;
            }
            self.hashes.push(hash);
            self.positions.push(at as u16);
            self.chain();
        }
    }

    /// Adds new suffixes to the table. An upstream can send a thousand names of many labels, which a client can query
    /// repeatedly; comparing them one by one would take quadratic time.
    fn chain(&mut self) {
        if self.hashes.len() <= LINEAR_SEARCH {
            return;
        }
        self.chains.resize(CHAINS, 0);
        for at in self.before.len()..self.hashes.len() {
            let chain = &mut self.chains[self.hashes[at] as usize % CHAINS];
            self.before.push(*chain);
            *chain = at as u16 + 1;
        }
    }

    fn find_suffix(&self, packet: &Packet<'_>, suffix: &[u8], hash: u32) -> Option<u16> {
        let fits = |at: usize| {
            let position = self.positions[at];
            (self.hashes[at] == hash && is_at(packet.out, usize::from(position), suffix)).then_some(position)
        };
        find_in_question(packet, suffix).or_else(|| match self.chains.is_empty() {
            true => (0..self.hashes.len()).find_map(fits),
            false => self.chained(hash).find_map(fits),
        })
    }

    /// The suffixes of a hash's chain.
    fn chained(&self, hash: u32) -> impl Iterator<Item = usize> {
        let last = usize::from(self.chains[hash as usize % CHAINS]).checked_sub(1);
        std::iter::successors(last, |at| usize::from(self.before[*at]).checked_sub(1))
    }
}

/// The position of a name that the question ends in.
fn find_in_question(packet: &Packet<'_>, name: &[u8]) -> Option<u16> {
    let question = packet.query.name();
    let offset = question.len().checked_sub(name.len())?;
    let starts = packet.query.offsets();
    // The last letters differ more often than the first.
    let ends = |name: &[u8]| name.len().checked_sub(3).map(|from| [name[from], name[from + 1]]);
    (ends(question) == ends(name)
        && starts.binary_search_by_key(&offset, |start| usize::from(*start)).is_ok()
        && question[offset..] == *name)
        .then_some((HEADER + offset) as u16)
}

/// Whether the name at `at` of the packet, followed through its pointers, is exactly `name`.
fn is_at(out: &[u8], mut at: usize, mut name: &[u8]) -> bool {
    // All pointers in the packet point backwards, so the loop ends.
    loop {
        let Some(&len) = out.get(at) else { return false };
        if len >= 0xc0 {
            let Some(&low) = out.get(at + 1) else { return false };
            at = usize::from(len & 0x3f) << 8 | usize::from(low);
            continue;
        }
        let end = 1 + usize::from(len);
        match (out.get(at..at + end), name.split_at_checked(end)) {
            (Some(written), Some((label, rest))) if written == label => (at, name) = (at + end, rest),
            _ => return false,
        }
        if len == 0 {
            return true;
        }
    }
}

/// Where the labels of a whole name begin.
fn starts(name: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at;
        let len = *name.get(at)?;
        at += 1 + usize::from(len);
        (len != 0).then_some(start)
    })
}

/// Where the suffixes of a name begin, with a hash of each, the longest first.
struct Suffixes {
    count: usize,
    offsets: [u8; MAX_LABELS],
    hashes: [u32; MAX_LABELS],
}

impl Suffixes {
    fn of(name: &[u8]) -> Self {
        let mut suffixes = Self { count: 0, offsets: [0; MAX_LABELS], hashes: [0; MAX_LABELS] };
        for (start, position) in starts(name).zip(&mut suffixes.offsets) {
            *position = start as u8;
            suffixes.count += 1;
        }
        let (mut hash, mut end) = (0, name.len().saturating_sub(1));
        for i in (0..suffixes.count).rev() {
            let start = usize::from(suffixes.offsets[i]);
            hash = mix(hash, name.get(start..end).unwrap_or_default());
            suffixes.hashes[i] = (hash >> 32) as u32;
            end = start;
        }
        suffixes
    }

    fn iter(&self) -> impl Iterator<Item = (usize, u32)> {
        let offsets = self.offsets[..self.count].iter().map(|offset| usize::from(*offset));
        offsets.zip(self.hashes[..self.count].iter().copied())
    }
}

/// Combines the hash of a label with that of the labels to its right. Keyed, because names come from the network.
fn mix(hash: u64, label: &[u8]) -> u64 {
    (hash.rotate_left(5) ^ crate::hash(label)).wrapping_mul(0x517c_c1b7_2722_0a95)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Name;
    use crate::codes::rtype;

    #[test]
    fn a_thousand_names_of_many_labels_are_found_in_few_steps() {
        let query = Query::new(7, &"example.org".parse().unwrap(), rtype::MX);
        let label = |i: usize, k: usize| format!("{}.", (i * 7 + k * (1 + i / 26)) % 36);
        let text = |i| (0..16).map(|k| label(i, k)).collect::<String>() + "example";
        let names: Vec<Name> = (0..1000).map(|i| text(i).parse().unwrap()).collect();
        let bytes: Vec<u8> = names.iter().flat_map(|name| name.wire()).copied().collect();
        let mut packet = Packet { bytes: &bytes, query: &query, out: &mut vec![0; 65_535] };
        let (mut compressor, mut stored, mut at) = (Compressor::default(), 0, 100);
        for name in &names {
            let (start, end) = (stored, stored + name.wire().len());
            let next = compressor.write(&mut packet, (start, end), true, at).expect("there is room");
            assert!(is_at(packet.out, at, name.wire()), "{name} at {at}");
            (stored, at) = (end, next);
        }
        assert!(compressor.hashes.len() > 1000, "{} suffixes", compressor.hashes.len());
        let longest = compressor.hashes.iter().map(|hash| compressor.chained(*hash).count()).max();
        assert!(longest < Some(32), "{longest:?} steps");
    }
}
