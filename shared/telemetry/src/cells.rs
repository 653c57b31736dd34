//! Storage of counters that many threads increment: a row for each counter, a column for each thread.
//!
//! A column consists of blocks of rows. A block is allocated when its thread first adds to one of its rows, so counters that a
//! thread never uses cost it no memory. A block belongs to one column; threads never share a cache line.
//!
//! Measured on two cores: an addition takes 1.6 ns; an observation of a histogram 2.5 ns, or 50 ns if 140,000 histograms are
//! used in turn. A plain atomic addition takes 7.6 ns, or 14 ns while the other core adds to the same number. 20,000 Ingresses
//! with 86 rows each take 9 MiB, and 17 MiB for each thread that has counted for all of them.
//!
//! What counts is always inlined: the `dist` profile compiles this crate for size, and an addition would take a hundred instructions.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use crate::thread_slot;

const ROWS_OF_A_LINE: usize = 8;
const ROWS_OF_A_BLOCK: usize = 64;
/// Rows of the first segment; each further segment has twice as many as the one before.
const FIRST_SEGMENT: usize = 64 * ROWS_OF_A_BLOCK;
/// The last segments are larger than any memory.
const SEGMENTS: usize = 32;

/// A cache line.
#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; ROWS_OF_A_LINE]);

type Block = [Line; ROWS_OF_A_BLOCK / ROWS_OF_A_LINE];

/// Blocks, allocated one by one. An allocated block never moves, so adding takes no lock.
type Segment = [OnceLock<Box<Block>>];

struct Column([OnceLock<Box<Segment>>; SEGMENTS]);

/// The columns in use on this machine. An array of [`thread_slot::MAX_COLUMNS`] would add 0.8 MB to the binary, because an empty
/// `OnceLock` is not all zero.
static COLUMNS: LazyLock<Box<[Column]>> = LazyLock::new(|| {
    let columns = 0..thread_slot::columns();
    columns.map(|_| Column([const { OnceLock::new() }; SEGMENTS])).collect()
});

impl Column {
    #[inline(always)]
    fn segment(&self, segment: usize) -> &Segment {
        self.0[segment].get_or_init(|| {
            let blocks = 0..(FIRST_SEGMENT << segment) / ROWS_OF_A_BLOCK;
            blocks.map(|_| OnceLock::new()).collect()
        })
    }
}

#[inline(always)]
fn cell(block: &Block, row: usize) -> &AtomicU64 {
    &block[row % ROWS_OF_A_BLOCK / ROWS_OF_A_LINE].0[row % ROWS_OF_A_LINE]
}

/// Consecutive rows of one segment. Dropping them makes them available for the next request of the same count.
pub(crate) struct Rows {
    segment: usize,
    first: usize,
    count: usize,
}

impl Rows {
    /// Allocates `count` rows, all zero.
    pub(crate) fn new(count: usize) -> Self {
        let (segment, first) = store().lock().unwrap_or_else(PoisonError::into_inner).take(count);
        Self { segment, first, count }
    }

    /// These rows in the column of the calling thread.
    // Hot: no allocation except for the first use of a segment.
    #[inline(always)]
    pub(crate) fn of_thread(&self) -> ThreadRows {
        let column = thread_slot::column();
        let segment = COLUMNS[column].segment(self.segment);
        ThreadRows { segment, first: self.first, shared: column == thread_slot::SHARED }
    }

    pub(crate) fn total(&self, row: usize) -> u64 {
        self.cells(self.first + row).map(|cell| cell.load(Relaxed)).fold(0, u64::wrapping_add)
    }

    pub(crate) fn total_float(&self, row: usize) -> f64 {
        self.cells(self.first + row).map(|cell| f64::from_bits(cell.load(Relaxed))).sum()
    }

    /// The allocated cells of a row, one for each column that has it.
    fn cells(&self, row: usize) -> impl Iterator<Item = &'static AtomicU64> {
        let segments = COLUMNS.iter().filter_map(|column| column.0[self.segment].get());
        segments.filter_map(move |segment| Some(cell(segment[row / ROWS_OF_A_BLOCK].get()?, row)))
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        let rows = self.first..self.first + self.count;
        rows.flat_map(|row| self.cells(row)).for_each(|cell| cell.store(0, Relaxed));
        let mut store = store().lock().unwrap_or_else(PoisonError::into_inner);
        store.released.entry(self.count).or_default().push((self.segment, self.first));
    }
}

/// Rows in the column of one thread.
pub(crate) struct ThreadRows {
    segment: &'static Segment,
    first: usize,
    shared: bool,
}

impl ThreadRows {
    // Hot: no locked instruction on a thread with a slot, no allocation except for the first use of a block.
    #[inline(always)]
    pub(crate) fn add(&self, row: usize, amount: u64) {
        let cell = self.cell(row);
        if self.shared {
            cell.fetch_add(amount, Relaxed);
        } else {
            cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
        }
    }

    // Hot: as `add`. The row holds the bits of an f64.
    #[inline(always)]
    pub(crate) fn add_float(&self, row: usize, amount: f64) {
        let cell = self.cell(row);
        let sum = |bits| (f64::from_bits(bits) + amount).to_bits();
        if self.shared {
            let _always_some = cell.fetch_update(Relaxed, Relaxed, |bits| Some(sum(bits)));
        } else {
            cell.store(sum(cell.load(Relaxed)), Relaxed);
        }
    }

    #[inline(always)]
    fn cell(&self, row: usize) -> &'static AtomicU64 {
        let row = self.first + row;
        cell(self.segment[row / ROWS_OF_A_BLOCK].get_or_init(Box::default), row)
    }
}

/// Allocates rows: released ones first, then the rest of the last segment, then a new segment. Ingresses use rows of the same
/// few counts, so memory is bounded by the largest number that existed at one time.
#[derive(Default)]
struct Store {
    released: HashMap<usize, Vec<(usize, usize)>>,
    segment: usize,
    used: usize,
}

impl Store {
    fn take(&mut self, count: usize) -> (usize, usize) {
        if let Some(rows) = self.released.get_mut(&count).and_then(Vec::pop) {
            return rows;
        }
        // Rows that fill a line begin with one, so that they are in as few lines as possible.
        if count >= ROWS_OF_A_LINE {
            self.used = self.used.next_multiple_of(ROWS_OF_A_LINE);
        }
        while self.used + count > FIRST_SEGMENT << self.segment {
            (self.segment, self.used) = (self.segment + 1, 0);
        }
        self.used += count;
        (self.segment, self.used - count)
    }
}

fn store() -> &'static Mutex<Store> {
    static STORE: LazyLock<Mutex<Store>> = LazyLock::new(Mutex::default);
    &STORE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread_slot::ThreadSlot;
    use std::sync::Arc;

    #[test]
    fn no_addition_is_lost_on_threads_with_and_without_a_slot() {
        let rows = Arc::new(Rows::new(2));
        let threads: Vec<_> = (0..24)
            .map(|thread| {
                let rows = rows.clone();
                std::thread::spawn(move || {
                    let _slot = (thread % 3 != 0).then(ThreadSlot::claim);
                    for _ in 0..5_000 {
                        rows.of_thread().add(0, 1);
                        rows.of_thread().add_float(1, 0.5);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(rows.total(0), 24 * 5_000);
        assert_eq!(rows.total_float(1), 24.0 * 2_500.0);
    }

    #[test]
    fn reused_rows_are_zero_and_rows_do_not_overlap() {
        // The last count is larger than the first segment.
        for count in [1, 3, 17, 64, 100, FIRST_SEGMENT + 1] {
            let (one, two) = (Rows::new(count), Rows::new(count));
            (0..count).for_each(|row| one.of_thread().add(row, 7));
            assert!((0..count).all(|row| one.total(row) == 7), "{count} rows");
            assert!((0..count).all(|row| two.total(row) == 0), "{count} rows");
            drop(one);
            let again = Rows::new(count);
            assert!((0..count).all(|row| again.total(row) == 0), "{count} released rows");
        }
    }

    #[test]
    fn only_threads_that_add_to_a_block_allocate_it() {
        // Rows of other tests may share the first and the last block.
        let rows = Rows::new(4 * ROWS_OF_A_BLOCK);
        let allocated = |row: usize| rows.cells(rows.first + row).count();
        let (one, other) = (ROWS_OF_A_BLOCK, 2 * ROWS_OF_A_BLOCK);
        assert_eq!((allocated(one), allocated(other)), (0, 0));
        rows.of_thread().add(one, 1);
        assert_eq!((allocated(one), allocated(other)), (1, 0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Other tests may hold all slots for a while.
                let mut slot = ThreadSlot::claim();
                while thread_slot::column() == thread_slot::SHARED {
                    std::thread::yield_now();
                    slot = ThreadSlot::claim();
                }
                (0..2).for_each(|_| rows.of_thread().add(one, 1));
                drop(slot);
            });
        });
        assert_eq!((allocated(one), allocated(other), rows.total(one)), (2, 0, 3));
    }
}
