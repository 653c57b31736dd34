//! Functions for hot paths do not allocate.

#[allow(dead_code)]
#[path = "../../../tests/counting_allocator.rs"]
mod counting_allocator;

use std::io::Write;
use std::sync::mpsc;

use counting_allocator::allocations;
use telemetry::metrics::{Counter, Registry};
use telemetry::{LogWriter, ThreadSlot};

#[test]
fn allocations_are_counted() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1]))), 1);
}

#[test]
fn metrics_allocate_only_at_a_threads_first_use() {
    // The first counter of a process allocates the table of all threads.
    Counter::default().inc();
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
    // The rows are in one block or in two; with a slot, in a segment of their own.
    assert!(allocations(work) <= 3, "first use, without a slot");
    assert_eq!(allocations(work), 0, "without a slot");
    let slot = ThreadSlot::claim();
    assert!(allocations(work) <= 3, "first use, with a slot");
    assert_eq!(allocations(work), 0, "with a slot");
    drop(slot);
    assert_eq!((counter.value(), histogram.count()), (400, 400));
}

/// Signals each write.
struct SignalOutput(mpsc::Sender<()>);

impl Write for SignalOutput {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.send(()).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn log_lines_do_not_allocate_once_the_buffers_have_grown() {
    let (written, batches) = mpsc::channel();
    let lines = LogWriter::new(SignalOutput(written), Counter::default());
    let line =
        b"10.244.0.7:40210 - 1 \"A IN kubernetes.default.svc.cluster.local. udp 54 false 512\" NOERROR";
    let some = || (0..50).for_each(|_| lines.write_line(|out| out.extend_from_slice(line)));
    // This thread's buffer and the spare one are exchanged; both have grown after a few batches.
    for _ in 0..6 {
        some();
        batches.recv().expect("the log is open");
    }
    assert_eq!(allocations(some), 0);
}
