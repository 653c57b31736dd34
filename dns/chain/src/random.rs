//! Numbers to shuffle and choose with. For choices that nobody gains from guessing; IDs of queries are drawn elsewhere.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = Cell::new(rand::random());
}

/// A number below `bound`, which is not 0. Hot: a few instructions, 0 allocations.
pub(crate) fn below(bound: usize) -> usize {
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    // SplitMix64's output function; the high product maps it onto the range without a division.
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((u128::from(mixed ^ (mixed >> 31)) * bound as u128) >> 64) as usize
}

/// Brings things into a random order.
pub(crate) fn shuffle<T>(things: &mut [T]) {
    for at in (1..things.len()).rev() {
        things.swap(at, below(at + 1));
    }
}
