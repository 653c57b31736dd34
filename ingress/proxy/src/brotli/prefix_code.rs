//! Prefix codes (RFC 7932 §3): their lengths by Huffman's algorithm, and how they are written.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::bits::BitWriter;

/// The longest code of a symbol, and of a symbol for code lengths.
const LONGEST: u32 = 15;
const LONGEST_FOR_LENGTHS: u32 = 5;
/// The symbol for several zeros in a list of code lengths.
const ZEROS: usize = 17;

/// The code of each symbol: its bits, the first one lowest, and how many there are.
#[derive(Debug)]
pub(super) struct PrefixCode(Vec<(u16, u8)>);

impl PrefixCode {
    /// The best code for symbols of these numbers, which is written, too.
    pub(super) fn write(counts: &[u32], output: &mut BitWriter) -> Self {
        let used: Vec<usize> = (0..counts.len()).filter(|symbol| counts[*symbol] > 0).collect();
        match used.as_slice() {
            [] => Self::write_simple(counts.len(), &[0], output),
            [_] | [_, _] => Self::write_simple(counts.len(), &used, output),
            _ => {
                let lengths = code_lengths(counts, LONGEST);
                write_lengths(&lengths, output);
                Self::of(&lengths)
            }
        }
    }

    /// A code of one symbol, which has no bits, or of two (§3.4).
    fn write_simple(symbols: usize, used: &[usize], output: &mut BitWriter) -> Self {
        output.write(1, 2);
        output.write(used.len() as u64 - 1, 2);
        let width = usize::BITS - (symbols - 1).leading_zeros();
        let mut codes = vec![(0, 0); symbols];
        for (at, symbol) in used.iter().enumerate() {
            output.write(*symbol as u64, width);
            codes[*symbol] = (at as u16, used.len() as u8 - 1);
        }
        Self(codes)
    }

    /// The codes in the order of their lengths and symbols (§3.2).
    fn of(lengths: &[u8]) -> Self {
        let mut next = [0_u16; 17];
        for length in lengths.iter().filter(|length| **length > 0) {
            next[usize::from(*length) + 1] += 1;
        }
        for length in 1..next.len() {
            next[length] = (next[length] + next[length - 1]) << 1;
        }
        let code = |length: &u8| {
            let first = &mut next[usize::from(*length)];
            match *length {
                0 => (0, 0),
                length => {
                    *first += 1;
                    ((*first - 1).reverse_bits() >> (16 - length), length)
                }
            }
        };
        Self(lengths.iter().map(code).collect())
    }

    /// Writes a symbol.
    #[inline]
    pub(super) fn put(&self, symbol: usize, output: &mut BitWriter) {
        let (bits, length) = self.0[symbol];
        output.write(bits.into(), length.into());
    }
}

/// The lengths of the codes of symbols with these numbers, of which two at least are not 0.
fn code_lengths(counts: &[u32], longest: u32) -> Vec<u8> {
    let mut least = 1;
    loop {
        let lengths = huffman(counts, least);
        if lengths.iter().all(|length| u32::from(*length) <= longest) {
            return lengths;
        }
        // Rare symbols count as more frequent until no code is too long.
        least *= 2;
    }
}

/// Huffman's algorithm. Symbols that occur at all count `least` at least.
fn huffman(counts: &[u32], least: u32) -> Vec<u8> {
    let used = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let mut heap: BinaryHeap<_> = used.map(|(symbol, count)| Reverse((*count.max(&least), symbol))).collect();
    // The parent of each symbol, then of each inner node; a parent comes after its children.
    let mut parents = vec![0; counts.len()];
    while let (Some(Reverse(one)), Some(Reverse(other))) = (heap.pop(), heap.pop()) {
        let parent = parents.len();
        parents.push(0);
        (parents[one.1], parents[other.1]) = (parent, parent);
        heap.push(Reverse((one.0 + other.0, parent)));
        if heap.len() == 1 {
            break;
        }
    }
    let mut depths = vec![0_u8; parents.len()];
    for node in (0..parents.len() - 1).rev().filter(|node| parents[*node] > 0) {
        depths[node] = depths[parents[node]].saturating_add(1);
    }
    depths.truncate(counts.len());
    depths
}

/// Writes the lengths of the codes of three symbols or more (§3.5).
fn write_lengths(lengths: &[u8], output: &mut BitWriter) {
    let end = lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
    let items = length_items(&lengths[..end]);
    let mut counts = [0; 18];
    items.iter().for_each(|(symbol, _)| counts[*symbol] += 1);
    // The lengths of the codes for lengths, in this order.
    const ORDER: [usize; 18] = [1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const CODES: [(u64, u32); 6] = [(0, 2), (7, 4), (3, 3), (2, 2), (1, 2), (15, 4)];
    let is_single = counts.iter().filter(|count| **count > 0).count() == 1;
    // A single symbol has no bits, and any length in the list.
    let depths = if is_single {
        counts.map(|count| u8::from(count > 0)).to_vec()
    } else {
        code_lengths(&counts, LONGEST_FOR_LENGTHS)
    };
    let last = ORDER.iter().rposition(|symbol| depths[*symbol] > 0).unwrap_or_default();
    output.write(0, 2);
    for symbol in if is_single { &ORDER[..] } else { &ORDER[..=last] } {
        let (bits, count) = CODES[usize::from(depths[*symbol])];
        output.write(bits, count);
    }
    let code = if is_single { PrefixCode(vec![(0, 0); 18]) } else { PrefixCode::of(&depths) };
    for (symbol, extra) in items {
        code.put(symbol, output);
        if symbol == ZEROS {
            output.write(extra, 3);
        }
    }
}

/// The lengths as symbols, with three extra bits for [`ZEROS`]. Adjacent ones are the digits of one number (§3.5).
fn length_items(lengths: &[u8]) -> Vec<(usize, u64)> {
    let mut items = Vec::with_capacity(lengths.len());
    for run in lengths.chunk_by(|one, other| one == other) {
        if run[0] > 0 || run.len() < 3 {
            items.extend(run.iter().map(|length| (usize::from(*length), 0)));
            continue;
        }
        let start = items.len();
        let mut left = run.len() as u64 - 3;
        loop {
            items.push((ZEROS, left & 7));
            left >>= 3;
            if left == 0 {
                break;
            }
            left -= 1;
        }
        items[start..].reverse();
    }
    items
}
