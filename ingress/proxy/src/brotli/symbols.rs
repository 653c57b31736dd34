//! The symbols of lengths and distances (RFC 7932 §4 and §5).

/// How many symbols distances have, without direct codes and postfix.
pub(super) const DISTANCE_SYMBOLS: usize = 64;

/// A symbol and the bits that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) symbol: usize,
    pub(super) extra: u32,
    pub(super) extra_bits: u32,
}

/// The smallest length and the number of extra bits of each insert length code.
const INSERT: [(u32, u32); 24] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 1),
    (8, 1),
    (10, 2),
    (14, 2),
    (18, 3),
    (26, 3),
    (34, 4),
    (50, 4),
    (66, 5),
    (98, 5),
    (130, 6),
    (194, 7),
    (322, 8),
    (578, 9),
    (1090, 10),
    (2114, 12),
    (6210, 14),
    (22594, 24),
];

/// The same for copy length codes.
const COPY: [(u32, u32); 24] = [
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 1),
    (12, 1),
    (14, 2),
    (18, 2),
    (22, 3),
    (30, 3),
    (38, 4),
    (54, 4),
    (70, 5),
    (102, 5),
    (134, 6),
    (198, 7),
    (326, 8),
    (582, 9),
    (1094, 10),
    (2118, 24),
];

fn code(table: &[(u32, u32); 24], length: u32) -> Code {
    let symbol = table.partition_point(|(least, _)| *least <= length).saturating_sub(1);
    let (least, extra_bits) = table[symbol];
    Code { symbol, extra: length - least, extra_bits }
}

/// The code of a number of literals.
pub(super) fn insert_code(length: u32) -> Code {
    code(&INSERT, length)
}

/// The code of a copy length from 2.
pub(super) fn copy_code(length: u32) -> Code {
    code(&COPY, length)
}

/// The symbol of an insert and a copy length code. With `repeats`, the one that also means the last distance, which not all pairs have.
pub(super) fn command_symbol(insert: usize, copy: usize, repeats: bool) -> Option<usize> {
    const CELLS: [[usize; 3]; 3] = [[128, 192, 384], [256, 320, 512], [448, 576, 640]];
    let cell = match repeats {
        false => CELLS[insert >> 3][copy >> 3],
        true if insert < 8 && copy < 16 => (copy >> 3) * 64,
        true => return None,
    };
    Some(cell + ((insert & 7) << 3) + (copy & 7))
}

/// The code of a distance from 1, without direct codes and postfix.
pub(super) fn distance_code(distance: u32) -> Code {
    let shifted = distance + 3;
    let extra_bits = shifted.ilog2() - 1;
    let half = shifted >> extra_bits & 1;
    Code {
        symbol: (16 + 2 * (extra_bits - 1) + half) as usize,
        extra: shifted - ((2 + half) << extra_bits),
        extra_bits,
    }
}
