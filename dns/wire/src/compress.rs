//! Names written so far in a packet, for pointers to them (RFC 1035 §4.1.4).

use crate::name::MAX_LABELS;
use crate::query::{HEADER, Query};

/// Pointers reach no further (14 bits).
const REACH: usize = 0x4000;

/// Knows every suffix of every name in the packet. As Go's library it tells upper from lower case, so that a pointer
/// never changes a letter, and it learns also from names that must not be compressed themselves.
#[derive(Default)]
pub(crate) struct Compressor {
    hashes: Vec<u32>,
    places: Vec<u16>,
}

/// Scratch only: a clone starts empty.
impl Clone for Compressor {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Compressor {
    /// Begins a packet.
    pub(crate) fn clear(&mut self) {
        self.hashes.clear();
        self.places.clear();
    }

    /// How much is known, to go back to with [`Compressor::forget`].
    pub(crate) fn mark(&self) -> usize {
        self.hashes.len()
    }

    /// Forgets what was learned since the mark: the record that it came from did not fit.
    pub(crate) fn forget(&mut self, mark: usize) {
        self.hashes.truncate(mark);
        self.places.truncate(mark);
    }

    /// Writes a whole name at `at`, as short as it may be. Returns where it ends; `None` if it does not fit.
    pub(crate) fn write(
        &mut self,
        name: &[u8],
        compress: bool,
        query: &Query,
        out: &mut [u8],
        at: usize,
    ) -> Option<usize> {
        if name.len() <= 1 {
            *out.get_mut(at)? = 0;
            return Some(at + 1);
        }
        if self.hashes.is_empty() {
            self.learn(query.name(), HEADER);
        }
        let mut suffixes = Suffixes::of(name);
        let known = suffixes.iter().find_map(|(offset, hash)| {
            let place = self.find(out, &name[offset..], hash)?;
            Some((offset, place))
        });
        let (end, pointer) = match known {
            Some((offset, place)) if compress => (offset, Some(place)),
            _ => (name.len(), None),
        };
        out.get_mut(at..at + end)?.copy_from_slice(&name[..end]);
        let new = known.map_or(name.len(), |(offset, _)| offset);
        for (offset, hash) in suffixes.iter().take_while(|(offset, _)| *offset < new) {
            self.insert(hash, at + offset);
        }
        let Some(place) = pointer else { return Some(at + end) };
        out.get_mut(at + end..at + end + 2)?.copy_from_slice(&(0xc000 | place).to_be_bytes());
        Some(at + end + 2)
    }

    fn learn(&mut self, name: &[u8], at: usize) {
        for (offset, hash) in Suffixes::of(name).iter() {
            self.insert(hash, at + offset);
        }
    }

    fn insert(&mut self, hash: u32, at: usize) {
        if at < REACH {
            self.hashes.push(hash);
            self.places.push(at as u16);
        }
    }

    fn find(&self, out: &[u8], suffix: &[u8], hash: u32) -> Option<u16> {
        // A packet of this size has few names: looking at all of them costs less than keeping a table.
        let fits = |(known, place): (&u32, &u16)| {
            (*known == hash && is_at(out, usize::from(*place), suffix)).then_some(*place)
        };
        self.hashes.iter().zip(&self.places).find_map(fits)
    }
}

/// Whether the name at `at` of the packet, followed through its pointers, is exactly `name`.
fn is_at(out: &[u8], mut at: usize, mut name: &[u8]) -> bool {
    // Pointers in what we wrote go backwards only, so this ends.
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

/// Where the suffixes of a name begin, with a hash of each, the longest first.
struct Suffixes {
    count: usize,
    offsets: [u8; MAX_LABELS],
    hashes: [u32; MAX_LABELS],
}

impl Suffixes {
    fn of(name: &[u8]) -> Self {
        let mut suffixes = Self { count: 0, offsets: [0; MAX_LABELS], hashes: [0; MAX_LABELS] };
        let mut at = 0;
        while let Some(&len) = name.get(at)
            && len != 0
            && suffixes.count < MAX_LABELS
        {
            suffixes.offsets[suffixes.count] = at as u8;
            suffixes.count += 1;
            at += 1 + usize::from(len);
        }
        let (mut hash, mut end) = (0x9e37_79b9_u32, at);
        for i in (0..suffixes.count).rev() {
            let start = usize::from(suffixes.offsets[i]);
            for &byte in name.get(start..end).unwrap_or_default() {
                hash = (hash.rotate_left(5) ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            }
            suffixes.hashes[i] = hash;
            end = start;
        }
        suffixes
    }

    fn iter(&mut self) -> impl Iterator<Item = (usize, u32)> {
        let offsets = self.offsets[..self.count].iter().map(|offset| usize::from(*offset));
        offsets.zip(self.hashes[..self.count].iter().copied())
    }
}
