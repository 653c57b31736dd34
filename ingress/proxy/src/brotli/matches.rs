//! Finds repetitions (LZ77) in a window of 64 KiB: a hash table of four bytes leads to the places where they occurred.

use super::BLOCK;

/// The longest distance (RFC 7932 §9.1).
const LONGEST_DISTANCE: usize = (1 << 16) - 16;
/// The shortest repetition that the hash table finds.
const SHORTEST: usize = 4;
const HASH_BITS: u32 = 15;
/// After this length no longer repetition is searched.
const LONG_ENOUGH: usize = 256;
/// By how much the next position must be better, so that this byte becomes a literal.
const BETTER: i32 = 175;
/// A repetition with a lower score costs more bits than it saves.
const LEAST_SCORE: i32 = 100;

/// Literals, and a copy of earlier bytes after them. The last command of a block may have no copy (length 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) insert: u32,
    pub(super) copy: u32,
    pub(super) distance: u32,
}

/// A repetition.
#[derive(Clone, Copy, Debug)]
struct Match {
    length: usize,
    distance: usize,
    score: i32,
}

/// The window and the table.
#[derive(Debug)]
pub(super) struct MatchFinder {
    /// Earlier bytes, and those of the block from `start`.
    window: Vec<u8>,
    start: usize,
    /// The position of `window[0]` in the stream.
    base: u32,
    /// The position after each hash's last occurrence, in the stream; 0 for none. Positions may wrap around: candidates are compared.
    heads: Box<[u32]>,
    /// The distance from a position, in its lowest 16 bits, to the one before with the same hash; 0 for none.
    chain: Box<[u16]>,
    /// How many candidates are compared.
    depth: usize,
    /// Whether the next position may be better.
    is_lazy: bool,
    pub(super) last_distance: u32,
}

impl MatchFinder {
    pub(super) fn new(level: u32) -> Self {
        Self {
            window: Vec::new(),
            start: 0,
            base: 0,
            heads: vec![0; 1 << HASH_BITS].into(),
            chain: vec![0; 1 << 16].into(),
            depth: 1 << (level.min(11) / 2),
            is_lazy: level >= 2,
            // The initial value of the RFC (§4).
            last_distance: 4,
        }
    }

    /// Appends to the block, which has [`BLOCK`] bytes at most.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.window.extend_from_slice(bytes);
    }

    /// The bytes of the block.
    pub(super) fn block(&self) -> &[u8] {
        &self.window[self.start..]
    }

    /// Makes the block a part of the window.
    pub(super) fn end_block(&mut self) {
        let excess = self.window.len().saturating_sub(BLOCK);
        self.window.drain(..excess);
        self.base = self.base.wrapping_add(excess as u32);
        self.start = self.window.len();
    }

    /// Splits the block into commands.
    pub(super) fn find(&mut self, commands: &mut Vec<Command>) {
        commands.clear();
        let end = self.window.len();
        let (mut at, mut literals) = (self.start, self.start);
        while at < end {
            let Some(mut found) = self.best(at) else {
                at += 1;
                continue;
            };
            while self.is_lazy && at + 1 < end {
                match self.best(at + 1) {
                    Some(next) if next.score >= found.score + BETTER => (found, at) = (next, at + 1),
                    _ => break,
                }
            }
            commands.push(Command {
                insert: (at - literals) as u32,
                copy: found.length as u32,
                distance: found.distance as u32,
            });
            self.last_distance = found.distance as u32;
            let next = at + found.length;
            // The positions up to the next one were entered by `best` already.
            for position in at + 1 + usize::from(self.is_lazy)..next {
                self.enter(position);
            }
            (at, literals) = (next, next);
        }
        if literals < end {
            commands.push(Command { insert: (end - literals) as u32, copy: 0, distance: 0 });
        }
    }

    /// The best repetition at a position, which is entered into the table.
    fn best(&mut self, at: usize) -> Option<Match> {
        let most = (self.window.len() - at).min(1 << 16);
        let mut best: Option<Match> = None;
        let last = self.last_distance as usize;
        let length = self.length(at, last, most);
        if length >= 3 {
            best = Some(Match { length, distance: last, score: 135 * length as i32 + 15 });
        }
        let position = self.base.wrapping_add(at as u32);
        let mut candidate = self.enter(at);
        for _ in 0..self.depth {
            let distance = candidate as usize;
            if distance == 0
                || distance > LONGEST_DISTANCE.min(at)
                || best.is_some_and(|best| best.length >= LONG_ENOUGH)
            {
                break;
            }
            let longest = best.map_or(0, |best| best.length);
            // A longer repetition has this byte, too.
            let may_be_longer =
                longest >= most || self.window[at + longest] == self.window[at + longest - distance];
            let length = if longest < most && may_be_longer { self.length(at, distance, most) } else { 0 };
            if length >= SHORTEST {
                let score = 135 * length as i32 - 30 * distance.ilog2() as i32;
                if best.is_none_or(|best| score > best.score) {
                    best = Some(Match { length, distance, score });
                }
            }
            match self.chain[usize::from(position.wrapping_sub(distance as u32) as u16)] {
                0 => break,
                step => candidate += u32::from(step),
            }
        }
        best.filter(|best| best.score > LEAST_SCORE)
    }

    /// How many bytes repeat those at a distance.
    fn length(&self, at: usize, distance: usize, most: usize) -> usize {
        if distance > LONGEST_DISTANCE.min(at) {
            return 0;
        }
        let (now, before) = (&self.window[at..at + most], &self.window[at - distance..]);
        let (words, words_before) = (now.chunks_exact(8), before.chunks_exact(8));
        let same = words.zip(words_before).take_while(|(one, other)| one == other).count() * 8;
        same + now[same..].iter().zip(&before[same..]).take_while(|(one, other)| one == other).count()
    }

    /// Enters a position into the table. Returns the distance to the last one with the same hash; 0 for none.
    fn enter(&mut self, at: usize) -> u32 {
        let Some(four) = self.window[at..].first_chunk::<SHORTEST>() else { return 0 };
        let hash = u32::from_le_bytes(*four).wrapping_mul(0x9E37_79B1) >> (u32::BITS - HASH_BITS);
        let position = self.base.wrapping_add(at as u32);
        let head = std::mem::replace(&mut self.heads[hash as usize], position.wrapping_add(1));
        let distance = if head == 0 { 0 } else { position.wrapping_add(1).wrapping_sub(head) };
        self.chain[usize::from(position as u16)] = u16::try_from(distance).unwrap_or_default();
        distance
    }
}
