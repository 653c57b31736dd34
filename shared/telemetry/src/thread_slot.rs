//! Assigns threads to columns of the counters and log buffers.
//!
//! A worker thread claims a slot and is then the only writer of its column, so its writes need no locked instruction. All
//! threads without a slot write to column 0, which is shared.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::available_parallelism;

/// The column of threads without a slot.
pub(crate) const SHARED: usize = 0;

/// Maximum number of columns. Further threads get no slot.
pub(crate) const MAX_COLUMNS: usize = 1 + 2 * 512;

thread_local! {
    static COLUMN: Cell<usize> = const { Cell::new(SHARED) };
}

/// Guard of a thread's own column. Claimed once at the start of a worker thread and held until its end.
#[derive(Debug)]
pub struct ThreadSlot {
    column: usize,
    /// A slot belongs to the thread that claimed it.
    _thread: PhantomData<*const ()>,
}

impl ThreadSlot {
    /// Claims a free slot for the calling thread. If none is free, or the thread already has one, its column does not change:
    /// the shared column is slower but equally correct.
    pub fn claim() -> Self {
        let mut slots = free_slots().lock().unwrap_or_else(PoisonError::into_inner);
        let free = if column() == SHARED { slots.pop() } else { None };
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
            free_slots().lock().unwrap_or_else(PoisonError::into_inner).push(self.column);
        }
    }
}

/// The column of the calling thread.
#[inline(always)]
pub(crate) fn column() -> usize {
    COLUMN.get()
}

/// The number of columns: two slots for each processor (a DNS and an HTTP worker), and the shared column.
pub(crate) fn columns() -> usize {
    static COLUMNS: OnceLock<usize> = OnceLock::new();
    *COLUMNS.get_or_init(|| (1 + 2 * available_parallelism().map_or(1, usize::from)).min(MAX_COLUMNS))
}

/// Columns without an owner, the lowest last.
fn free_slots() -> &'static Mutex<Vec<usize>> {
    static FREE: OnceLock<Mutex<Vec<usize>>> = OnceLock::new();
    FREE.get_or_init(|| Mutex::new((SHARED + 1..columns()).rev().collect()))
}
