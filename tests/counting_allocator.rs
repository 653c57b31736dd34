//! The system allocator with counts, as the allocator of a test binary that bounds allocations. The binary includes this file with
//! `#[path]`, since crates on every floor have such tests.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// The allocator.
struct CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Allocations of all threads that are not excluded.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// Bytes in use.
static BYTES: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OF_THREAD: Cell<usize> = const { Cell::new(0) };
    static IS_EXCLUDED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    OF_THREAD.set(OF_THREAD.get() + 1);
    if !IS_EXCLUDED.get() {
        ALLOCATIONS.fetch_add(1, SeqCst);
    }
}

// SAFETY: every call is passed to the system allocator unchanged. The counters are atomics and thread-local cells without a destructor,
// and counting does not allocate.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        BYTES.fetch_add(layout.size(), SeqCst);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        BYTES.fetch_add(size, SeqCst);
        BYTES.fetch_sub(layout.size(), SeqCst);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(memory, layout, size) }
    }
}

/// The number of allocations of the current thread while it does this work.
pub(crate) fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    let before = OF_THREAD.get();
    std::hint::black_box(work());
    OF_THREAD.get() - before
}

/// The number of allocations so far of all threads that are not excluded.
pub(crate) fn allocations_of_process() -> usize {
    ALLOCATIONS.load(SeqCst)
}

/// Excludes the current thread, which is part of the test, from [`allocations_of_process`].
pub(crate) fn exclude_thread() {
    IS_EXCLUDED.set(true);
}

/// Bytes in use by the process.
pub(crate) fn allocated_bytes() -> usize {
    BYTES.load(SeqCst)
}
