//! A log writer for hot paths: writing a line copies it into a buffer of the calling thread, without a system call.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::metrics::Counter;
use crate::thread_slot;

/// Maximum delay of a line.
const MAX_DELAY: Duration = Duration::from_millis(100);
/// A buffer of this size is written without delay. Waking the writer thread takes as long as writing ten lines or more to the buffer.
const FLUSH_SIZE: usize = 64 << 10;
/// Size of a thread's buffer beyond which lines are dropped, while the output blocks.
const MAX_BUFFER: usize = 1 << 20;
/// How long closing waits for an output that blocks.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Collects lines in a buffer for each worker thread and writes them in batches on a separate thread. Within a batch, lines of
/// different threads may be reordered. Clones share the log; dropping the last one closes it.
#[derive(Clone)]
pub struct LogWriter(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    buffers: Box<[LineBuffer]>,
    state: Mutex<State>,
    /// Signals the writer thread that lines are due, and `close` that the writer thread has ended.
    changed: Condvar,
    /// The writer thread is ending or could not be started: lines are dropped.
    closed: AtomicBool,
    dropped: Counter,
}

/// The lines of one thread, on separate cache lines.
#[derive(Default)]
#[repr(align(64))]
struct LineBuffer(Mutex<Vec<u8>>);

#[derive(Clone, Copy, Default)]
struct State {
    /// When the writer thread looks at the buffers: no later than the oldest queued line must be written.
    due: Option<Instant>,
    closing: bool,
    closed: bool,
}

impl LogWriter {
    /// Starts the writer thread. `dropped` counts the lines that are not written.
    pub fn new(output: impl Write + Send + 'static, dropped: Counter) -> Self {
        let buffers = (0..thread_slot::columns()).map(|_| LineBuffer::default()).collect();
        let (state, changed, closed) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        let shared = Arc::new(Shared { buffers, state, changed, closed, dropped });
        let writing = shared.clone();
        let writer =
            std::thread::Builder::new().name("lines".to_owned()).spawn(move || writing.write_to(output));
        // Without a thread (for example at the process limit) every line is dropped and counted.
        shared.closed.store(writer.is_err(), Relaxed);
        let writer = Mutex::new(writer.ok());
        Self(Arc::new(Inner { shared, writer }))
    }

    /// Adds a line: the bytes that `write` appends to the buffer, and a newline. Hot: no allocation once the buffers have
    /// grown; no system call except to wake the writer thread for the first line of a batch.
    pub fn write_line(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let shared = &*self.0.shared;
        let mut buffer = shared.buffer(thread_slot::column());
        if buffer.len() > MAX_BUFFER || shared.closed.load(Relaxed) {
            return shared.dropped.inc();
        }
        let before = buffer.len();
        write(&mut buffer);
        buffer.push(b'\n');
        let after = buffer.len();
        drop(buffer);
        if before == 0 {
            shared.due_in(MAX_DELAY);
        } else if before < FLUSH_SIZE && after >= FLUSH_SIZE {
            shared.due_in(Duration::ZERO);
        }
    }

    /// Writes the queued lines and closes the log; later lines are dropped. Waits at most one second for an output that blocks.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Inner {
    fn close(&self) {
        let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let mut state = self.shared.state();
        state.closing = true;
        self.shared.closed.store(true, Relaxed);
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_timeout_while(state, CLOSE_TIMEOUT, |state| !state.closed);
        let closed = waited.unwrap_or_else(PoisonError::into_inner).0.closed;
        if closed {
            // The thread is about to return. If it panicked, its lines are lost.
            let _ = writer.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn buffer(&self, column: usize) -> MutexGuard<'_, Vec<u8>> {
        let buffer = &self.buffers[column].0;
        buffer.lock().unwrap_or_else(|poisoned| {
            // A caller panicked while it wrote a line: remove the incomplete line.
            buffer.clear_poison();
            let mut lines = poisoned.into_inner();
            let whole = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            lines.truncate(whole);
            lines
        })
    }

    fn due_in(&self, delay: Duration) {
        let due = Instant::now() + delay;
        let mut state = self.state();
        if state.due.is_none_or(|known| due < known) {
            state.due = Some(due);
            // The woken thread takes the lock.
            drop(state);
            self.changed.notify_all();
        }
    }

    /// The writer thread. Sleeps until the oldest line is due. After a batch it expects another one, whose first line need not wake it;
    /// it sleeps without a timer once there was none.
    fn write_to(&self, mut output: impl Write) {
        let mut spare = Vec::new();
        loop {
            let closing = self.wait();
            let mut has_lines = false;
            for column in 0..self.buffers.len() {
                let mut buffer = self.buffer(column);
                // Threads that write nothing keep an empty buffer; the others exchange theirs for the spare one.
                if buffer.is_empty() {
                    continue;
                }
                std::mem::swap(&mut *buffer, &mut spare);
                drop(buffer);
                has_lines = true;
                if output.write_all(&spare).and_then(|()| output.flush()).is_err() {
                    self.dropped.add(spare.iter().filter(|byte| **byte == b'\n').count() as u64);
                }
                spare.clear();
                spare.shrink_to(2 * FLUSH_SIZE);
            }
            if closing {
                self.state().closed = true;
                return self.changed.notify_all();
            }
            if has_lines {
                self.state().due.get_or_insert_with(|| Instant::now() + MAX_DELAY);
            }
        }
    }

    /// Waits until a line is due (returns false) or the log is closing (returns true).
    fn wait(&self) -> bool {
        let mut state = self.state();
        loop {
            if state.closing {
                return true;
            }
            let Some(due) = state.due else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.due = None;
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::mpsc;

    use super::*;
    use crate::thread_slot::ThreadSlot;

    const MANY: usize = 100_000;

    /// Sends each write to the test. Blocks while the channel is full.
    struct ChannelOutput(mpsc::SyncSender<Vec<u8>>);

    impl Write for ChannelOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A log, its writes and its counter of dropped lines. Its output blocks when `capacity` writes are queued.
    fn channel_log(capacity: usize) -> (LogWriter, mpsc::Receiver<Vec<u8>>, Counter) {
        let (sender, batches) = mpsc::sync_channel(capacity);
        let dropped = Counter::default();
        (LogWriter::new(ChannelOutput(sender), dropped.clone()), batches, dropped)
    }

    #[test]
    fn a_single_line_is_written_without_another_one() {
        let (lines, batches, _) = channel_log(MANY);
        lines.write_line(|out| out.extend_from_slice(b"one"));
        assert_eq!(batches.recv_timeout(Duration::from_secs(10)).unwrap(), b"one\n");
    }

    #[test]
    fn a_panic_while_writing_a_line_loses_that_line_only() {
        let (lines, batches, _) = channel_log(MANY);
        let broken = || {
            lines.write_line(|out| {
                out.extend_from_slice(b"half a ");
                panic!("while writing a line");
            });
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(broken)).is_err());
        lines.write_line(|out| out.extend_from_slice(b"whole"));
        assert_eq!(batches.recv_timeout(Duration::from_secs(10)).unwrap(), b"whole\n");
    }

    #[test]
    fn lines_of_all_threads_are_complete_in_order_and_batched() {
        let (lines, batches, _) = channel_log(MANY);
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let lines = lines.clone();
                std::thread::spawn(move || {
                    let _slot = (thread > 3).then(ThreadSlot::claim);
                    for number in 0..2_000 {
                        lines.write_line(|out| write!(out, "{thread} {number}").unwrap());
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        lines.close();
        let batches: Vec<_> = batches.try_iter().collect();
        let text = String::from_utf8(batches.concat()).unwrap();
        for thread in 0..8 {
            let of_thread = text.lines().filter_map(|line| line.strip_prefix(&format!("{thread} ")));
            let numbers: Vec<usize> = of_thread.map(|number| number.parse().unwrap()).collect();
            assert_eq!(numbers, (0..2_000).collect::<Vec<_>>(), "the lines of thread {thread}, in order");
        }
        assert!(batches.len() < 1_000, "{} writes for 16000 lines", batches.len());
    }

    #[test]
    fn lines_lost_to_an_error_or_written_after_closing_are_counted() {
        let (lines, batches, dropped) = channel_log(MANY);
        drop(batches);
        (0..3).for_each(|_| lines.write_line(|out| out.extend_from_slice(b"lost")));
        lines.close();
        assert_eq!(dropped.value(), 3);
        lines.write_line(|out| out.extend_from_slice(b"late"));
        assert_eq!(dropped.value(), 4);
    }

    #[test]
    fn lines_beyond_the_bound_of_a_blocked_output_are_dropped_and_counted() {
        let (lines, batches, dropped) = channel_log(0);
        let long = vec![b'x'; 64 << 10];
        (0..100).for_each(|_| lines.write_line(|out| out.extend_from_slice(&long)));
        let lost = dropped.value();
        // One buffer is being written and one is queued; each is bounded by the limit and one line.
        assert!(lost >= 100 - 2 * (MAX_BUFFER / long.len() + 2) as u64, "{lost} dropped");
        let reading = std::thread::spawn(move || batches.iter().map(|batch| batch.len()).sum::<usize>());
        drop(lines);
        assert_eq!(reading.join().unwrap() as u64 / (long.len() as u64 + 1), 100 - lost);
    }
}
