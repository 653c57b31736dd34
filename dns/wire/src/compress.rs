//! Names written so far in a packet, for pointers to them (RFC 1035 §4.1.4).

use crate::name::MAX_LABELS;
use crate::query::{HEADER, Query};

/// Pointers reach no further (14 bits).
const REACH: usize = 0x4000;

/// Knows every suffix of every name in the packet. As Go's library it tells upper from lower case, so that a pointer
/// never changes a letter, and it learns also from names that must not be compressed themselves.
///
/// Most replies have no name but the question's and one more: suffixes are hashed only when a third one comes.
#[derive(Default)]
pub(crate) struct Compressor {
    /// Names other than the question's, in the order written.
    written: Vec<Written>,
    /// How many of them the table knows.
    learned: usize,
    /// Where to look first for a name that comes again: names of one section often follow those of another in order.
    next: usize,
    hashes: Vec<u32>,
    places: Vec<u16>,
}

/// Scratch only: a clone starts empty.
impl Clone for Compressor {
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// Where a name is stored in the reply and where it stands in the packet.
struct Written {
    stored: u32,
    len: u8,
    place: u16,
}

/// The packet so far.
pub(crate) struct Packet<'a> {
    /// Where the reply stores its names.
    pub(crate) bytes: &'a [u8],
    pub(crate) query: &'a Query,
    pub(crate) out: &'a mut [u8],
}

impl Compressor {
    /// Begins a packet.
    pub(crate) fn clear(&mut self) {
        self.written.clear();
        (self.learned, self.next) = (0, 0);
        self.hashes.clear();
        self.places.clear();
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
            true => self.again(stored).map(|place| (0, place)).or_else(|| self.find(packet, name)),
            false => None,
        };
        let (offset, pointer) = match known {
            Some((offset, place)) => (offset, Some(0xc000 | place)),
            None => (name.len(), None),
        };
        packet.out.get_mut(at..at + offset)?.copy_from_slice(&name[..offset]);
        if offset > 0 && at < REACH {
            self.written.push(Written { stored: stored as u32, len: name.len() as u8, place: at as u16 });
        }
        let Some(pointer) = pointer else { return Some(at + offset) };
        packet.out.get_mut(at + offset..at + offset + 2)?.copy_from_slice(&pointer.to_be_bytes());
        Some(at + offset + 2)
    }

    /// The place of this very name, if it was written already.
    fn again(&mut self, stored: usize) -> Option<u16> {
        let (before, after) = self.written.split_at(self.next);
        let is = |written: &Written| written.stored as usize == stored;
        let at = match after.iter().position(is) {
            Some(at) => before.len() + at,
            None => before.iter().position(is)?,
        };
        self.next = at + 1;
        Some(self.written[at].place)
    }

    /// The longest suffix of a name that stands in the packet: where it begins in the name, and in the packet.
    fn find(&mut self, packet: &Packet<'_>, name: &[u8]) -> Option<(usize, u16)> {
        if self.written.is_empty() {
            return starts(name).find_map(|offset| Some((offset, asked(packet, &name[offset..])?)));
        }
        for i in self.learned..self.written.len() {
            self.learn(packet, i);
        }
        self.learned = self.written.len();
        let suffixes = Suffixes::of(name);
        suffixes
            .iter()
            .find_map(|(offset, hash)| Some((offset, self.find_suffix(packet, &name[offset..], hash)?)))
    }

    fn learn(&mut self, packet: &Packet<'_>, i: usize) {
        let Written { stored, len, place } = self.written[i];
        let name = packet.bytes.get(stored as usize..stored as usize + usize::from(len)).unwrap_or_default();
        for (offset, hash) in Suffixes::of(name).iter() {
            let at = usize::from(place) + offset;
            // From the first suffix that is known on, there is a pointer in its stead, or might as well be.
            if at >= REACH || self.find_suffix(packet, &name[offset..], hash).is_some() {
                return;
            }
            self.hashes.push(hash);
            self.places.push(at as u16);
        }
    }

    fn find_suffix(&self, packet: &Packet<'_>, suffix: &[u8], hash: u32) -> Option<u16> {
        // A packet has few names: looking at all of them costs less than keeping a better table.
        let fits = |(known, place): (&u32, &u16)| {
            (*known == hash && is_at(packet.out, usize::from(*place), suffix)).then_some(*place)
        };
        asked(packet, suffix).or_else(|| self.hashes.iter().zip(&self.places).find_map(fits))
    }
}

/// The place of a name that the question ends in.
fn asked(packet: &Packet<'_>, name: &[u8]) -> Option<u16> {
    let question = packet.query.name();
    let offset = question.len().checked_sub(name.len())?;
    let starts = packet.query.offsets();
    // The last letters differ more often than the first.
    let ends = |name: &[u8]| name.len().checked_sub(3).map(|from| [name[from], name[from + 1]]);
    (ends(question) == ends(name)
        && starts.iter().any(|start| usize::from(*start) == offset)
        && question[offset..] == *name)
        .then_some((HEADER + offset) as u16)
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
        for (start, place) in starts(name).zip(&mut suffixes.offsets) {
            *place = start as u8;
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

/// Folds a label into the hash of what stands right of it, eight bytes at a time.
fn mix(mut hash: u64, label: &[u8]) -> u64 {
    let mut fold = |word: u64| hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    let (words, rest) = label.as_chunks::<8>();
    for word in words {
        fold(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(u64::from_le_bytes(last));
    hash
}
