//! Numbers that many threads add to: a row for each number, a column for each thread.
//!
//! Rows of one block lie together, so a column is dense for its thread and shares no cache line with another.
//! Measured on two cores: an addition costs 1.5 ns, or 2.8 ns while the other core adds to the same number; a
//! plain atomic addition costs 6.8 and 16 ns.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::seat;

const ROWS_OF_A_LINE: usize = 8;
const ROWS_OF_A_BLOCK: usize = 64;

/// A cache line.
#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; ROWS_OF_A_LINE]);

struct Block {
    lines: Box<[Line]>,
    lines_of_a_column: usize,
}

impl Block {
    fn new(rows: usize) -> Arc<Self> {
        let lines_of_a_column = rows.div_ceil(ROWS_OF_A_LINE);
        let lines = (0..lines_of_a_column * seat::columns()).map(|_| Line::default()).collect();
        Arc::new(Self { lines, lines_of_a_column })
    }

    fn cell(&self, column: usize, row: usize) -> &AtomicU64 {
        &self.lines[column * self.lines_of_a_column + row / ROWS_OF_A_LINE].0[row % ROWS_OF_A_LINE]
    }
}

/// Some rows in a row. Given back when dropped.
pub(crate) struct Rows {
    block: Arc<Block>,
    first: usize,
    count: usize,
}

impl Rows {
    /// So many rows, all zero.
    pub(crate) fn new(count: usize) -> Self {
        let (block, first) = store().lock().unwrap_or_else(PoisonError::into_inner).take(count);
        Self { block, first, count }
    }

    // Hot: no allocation, no locked instruction on a thread with a seat.
    pub(crate) fn add(&self, row: usize, amount: u64) {
        let column = seat::column();
        let cell = self.block.cell(column, self.first + row);
        if column == seat::SHARED {
            cell.fetch_add(amount, Relaxed);
        } else {
            cell.store(cell.load(Relaxed).wrapping_add(amount), Relaxed);
        }
    }

    // Hot: as `add`. The row holds the bits of an f64.
    pub(crate) fn add_float(&self, row: usize, amount: f64) {
        let column = seat::column();
        let cell = self.block.cell(column, self.first + row);
        let sum = |bits| (f64::from_bits(bits) + amount).to_bits();
        if column == seat::SHARED {
            let _always_some = cell.fetch_update(Relaxed, Relaxed, |bits| Some(sum(bits)));
        } else {
            cell.store(sum(cell.load(Relaxed)), Relaxed);
        }
    }

    pub(crate) fn total(&self, row: usize) -> u64 {
        self.column_values(row).fold(0, u64::wrapping_add)
    }

    pub(crate) fn total_float(&self, row: usize) -> f64 {
        self.column_values(row).map(f64::from_bits).sum()
    }

    fn column_values(&self, row: usize) -> impl Iterator<Item = u64> {
        (0..seat::columns()).map(move |column| self.block.cell(column, self.first + row).load(Relaxed))
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        for row in self.first..self.first + self.count {
            (0..seat::columns()).for_each(|column| self.block.cell(column, row).store(0, Relaxed));
        }
        let mut store = store().lock().unwrap_or_else(PoisonError::into_inner);
        store.free.entry(self.count).or_default().push((self.block.clone(), self.first));
    }
}

/// Where rows come from: those given back first, then the rest of the last block, then a new block.
#[derive(Default)]
struct Store {
    free: HashMap<usize, Vec<(Arc<Block>, usize)>>,
    open: Option<(Arc<Block>, usize)>,
}

impl Store {
    fn take(&mut self, count: usize) -> (Arc<Block>, usize) {
        if let Some(rows) = self.free.get_mut(&count).and_then(Vec::pop) {
            return rows;
        }
        if let Some((block, used)) = &mut self.open
            && *used + count <= ROWS_OF_A_BLOCK
        {
            let rows = (block.clone(), *used);
            *used += count;
            return rows;
        }
        let block = Block::new(count.max(ROWS_OF_A_BLOCK));
        self.open = Some((block.clone(), count));
        (block, 0)
    }
}

fn store() -> &'static Mutex<Store> {
    static STORE: std::sync::LazyLock<Mutex<Store>> = std::sync::LazyLock::new(Mutex::default);
    &STORE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seat::Seat;

    #[test]
    fn nothing_is_lost_between_threads_with_and_without_a_seat() {
        let rows = Arc::new(Rows::new(2));
        let threads: Vec<_> = (0..24)
            .map(|thread| {
                let rows = rows.clone();
                std::thread::spawn(move || {
                    let _seat = (thread % 3 != 0).then(Seat::take);
                    for _ in 0..5_000 {
                        rows.add(0, 1);
                        rows.add_float(1, 0.5);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(rows.total(0), 24 * 5_000);
        assert_eq!(rows.total_float(1), 24.0 * 2_500.0);
    }

    #[test]
    fn rows_come_back_zeroed_and_do_not_overlap() {
        for count in [1, 3, 17, 64, 100] {
            let (one, two) = (Rows::new(count), Rows::new(count));
            (0..count).for_each(|row| one.add(row, 7));
            assert!((0..count).all(|row| two.total(row) == 0), "{count} rows");
            drop(one);
            let again = Rows::new(count);
            assert!((0..count).all(|row| again.total(row) == 0), "{count} rows given back");
        }
    }
}
