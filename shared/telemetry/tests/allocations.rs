//! What hot paths call allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;
use std::sync::mpsc;

use telemetry::metrics::{Counter, Registry};
use telemetry::{LogWriter, ThreadSlot};

/// The system's allocator, counting what each thread asks of it.
struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ASKED.set(ASKED.get() + 1);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ASKED.get();
    work();
    ASKED.get() - before
}

#[test]
fn the_allocations_are_seen() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1]))), 1);
}

#[test]
fn counting_and_observing_allocate_nothing_once_a_thread_has_its_numbers() {
    let registry = Registry::new();
    let counter = registry.counters("requests_total", "Requests.", ["zone"]).with(["."]);
    let histogram = registry.histogram("seconds", "Durations.", &[0.1, 1.0]);
    let gauge = registry.gauge("open", "Connections.");
    let work = || {
        for number in 0..100 {
            counter.inc();
            histogram.observe(f64::from(number) / 50.0);
            gauge.set(f64::from(number));
        }
    };
    // The numbers lie in one block, or in two.
    assert!(allocations(work) <= 3, "the first of a thread");
    assert_eq!(allocations(work), 0, "without a seat");
    let seat = ThreadSlot::claim();
    assert!(allocations(work) <= 3, "the first of a seat");
    assert_eq!(allocations(work), 0, "with a seat");
    drop(seat);
    assert_eq!((counter.value(), histogram.count()), (400, 400));
}

/// Tells of each batch.
struct Told(mpsc::Sender<()>);

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(()).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_allocates_nothing_once_the_buffers_have_grown() {
    let (told, batches) = mpsc::channel();
    let lines = LogWriter::new(Told(told), Counter::default());
    let line =
        b"10.244.0.7:40210 - 1 \"A IN kubernetes.default.svc.cluster.local. udp 54 false 512\" NOERROR";
    let some = || (0..50).for_each(|_| lines.write_line(|out| out.extend_from_slice(line)));
    // This thread's buffer and the spare one take turns; both have grown after a few batches.
    for _ in 0..6 {
        some();
        batches.recv().expect("the log is open");
    }
    assert_eq!(allocations(some), 0);
}
