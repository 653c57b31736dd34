//! Which thread writes into which column of the counters and buffers.
//!
//! A worker thread takes a seat and from then on is the only writer of its column, so it needs no locked
//! instruction. Every other thread writes into column 0, which is shared.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::available_parallelism;

/// The column of those who have no seat.
pub(crate) const SHARED: usize = 0;

/// The most columns there can be. Threads beyond them have no seat.
pub(crate) const MOST: usize = 1 + 2 * 512;

thread_local! {
    static COLUMN: Cell<usize> = const { Cell::new(SHARED) };
}

/// A thread's own column, for as long as this lives. Taken once at the start of a worker thread.
#[derive(Debug)]
pub struct ThreadSlot {
    column: usize,
    /// A seat belongs to the thread that took it.
    _thread: PhantomData<*const ()>,
}

impl ThreadSlot {
    /// Takes a free seat for this thread. Without one (all taken, or this thread has one) it writes where it
    /// wrote before, which is slower and as correct.
    pub fn claim() -> Self {
        let mut seats = seats().lock().unwrap_or_else(PoisonError::into_inner);
        let free = if column() == SHARED { seats.pop() } else { None };
        let column = free.unwrap_or(SHARED);
        if column != SHARED {
            COLUMN.set(column);
        }
        Self { column, _thread: PhantomData }
    }
}

impl Drop for ThreadSlot {
    fn drop(&mut self) {
        if self.column != SHARED {
            COLUMN.set(SHARED);
            // The lock orders this thread's last writes before the next owner's first.
            seats().lock().unwrap_or_else(PoisonError::into_inner).push(self.column);
        }
    }
}

/// This thread's column.
pub(crate) fn column() -> usize {
    COLUMN.get()
}

/// How many columns there are: two seats for each processor (DNS and HTTP workers) and the shared one.
pub(crate) fn columns() -> usize {
    static COLUMNS: OnceLock<usize> = OnceLock::new();
    *COLUMNS.get_or_init(|| (1 + 2 * available_parallelism().map_or(1, usize::from)).min(MOST))
}

/// The columns that nobody owns, the lowest last.
fn seats() -> &'static Mutex<Vec<usize>> {
    static FREE: OnceLock<Mutex<Vec<usize>>> = OnceLock::new();
    FREE.get_or_init(|| Mutex::new((SHARED + 1..columns()).rev().collect()))
}
