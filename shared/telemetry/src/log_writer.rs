//! The log of queries and requests: a line costs its writer a copy into a buffer, and no system call.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::metrics::Counter;
use crate::thread_slot;

/// A line is at most this late.
const LATE: Duration = Duration::from_millis(100);
/// A buffer this full is written at once.
const FULL: usize = 32 << 10;
/// A sink that blocks costs at most this much memory for each thread with a seat; then lines are dropped.
const MOST: usize = 1 << 20;
/// How long closing waits for a sink that blocks.
const PATIENCE: Duration = Duration::from_secs(1);

/// Collects lines in a buffer for each worker thread and writes them in batches on a thread of its own. Lines of
/// different threads may change places within a batch. Copies are the same log; the last one closes it.
#[derive(Clone)]
pub struct LogWriter(Arc<Open>);

struct Open {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    pages: Box<[Page]>,
    state: Mutex<State>,
    /// The writer waits here for lines, `close` for the writer.
    changed: Condvar,
    /// Nobody writes any more: lines are dropped at once.
    closed: AtomicBool,
    dropped: Counter,
}

/// One thread's lines, on cache lines of its own.
#[derive(Default)]
#[repr(align(64))]
struct Page(Mutex<Vec<u8>>);

#[derive(Clone, Copy, Default)]
struct State {
    /// When the oldest line that is not written has to be.
    due: Option<Instant>,
    closing: bool,
    closed: bool,
}

impl LogWriter {
    /// Writes to a sink. `dropped` counts the lines that it did not take.
    pub fn new(sink: impl Write + Send + 'static, dropped: Counter) -> Self {
        let pages = (0..thread_slot::columns()).map(|_| Page::default()).collect();
        let (state, changed, closed) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        let shared = Arc::new(Shared { pages, state, changed, closed, dropped });
        let writing = shared.clone();
        let writer =
            std::thread::Builder::new().name("lines".to_owned()).spawn(move || writing.write_to(sink));
        // Without a thread (the process is at its limit) every line is dropped and counted.
        shared.closed.store(writer.is_err(), Relaxed);
        let writer = Mutex::new(writer.ok());
        Self(Arc::new(Open { shared, writer }))
    }

    /// Adds a line: what `write` puts into the buffer, and a newline. Hot: no allocation once the buffers have
    /// grown, no system call but to wake the writer for the first line of a batch.
    pub fn write_line(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let shared = &*self.0.shared;
        let mut page = shared.page(thread_slot::column());
        if page.len() > MOST || shared.closed.load(Relaxed) {
            return shared.dropped.inc();
        }
        let before = page.len();
        write(&mut page);
        page.push(b'\n');
        let after = page.len();
        drop(page);
        if before == 0 {
            shared.due_in(LATE);
        } else if before < FULL && after >= FULL {
            shared.due_in(Duration::ZERO);
        }
    }

    /// Writes what is left and ends. BoxFuture lines are dropped. Waits a second for a sink that blocks.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Open {
    fn close(&self) {
        let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        let mut state = self.shared.state();
        state.closing = true;
        self.shared.closed.store(true, Relaxed);
        self.shared.changed.notify_all();
        let waited = self.shared.changed.wait_timeout_while(state, PATIENCE, |state| !state.closed);
        let closed = waited.unwrap_or_else(PoisonError::into_inner).0.closed;
        if closed {
            // It has nothing left to do but return; should it have panicked, its lines are lost and no more.
            let _ = writer.join();
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, column: usize) -> MutexGuard<'_, Vec<u8>> {
        let page = &self.pages[column].0;
        page.lock().unwrap_or_else(|poisoned| {
            // Somebody panicked amid a line: what there is of it goes.
            page.clear_poison();
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
            self.changed.notify_all();
        }
    }

    /// The writer's thread: sleeps without a timer until there is a line, then until it is due.
    fn write_to(&self, mut sink: impl Write) {
        let mut spare = Vec::new();
        loop {
            let closing = self.wait();
            for column in 0..self.pages.len() {
                let mut page = self.page(column);
                // Threads that write nothing keep no buffer: those that do trade theirs with the spare one.
                if page.is_empty() {
                    continue;
                }
                std::mem::swap(&mut *page, &mut spare);
                drop(page);
                if sink.write_all(&spare).and_then(|()| sink.flush()).is_err() {
                    self.dropped.add(spare.iter().filter(|byte| **byte == b'\n').count() as u64);
                }
                spare.clear();
                spare.shrink_to(2 * FULL);
            }
            if closing {
                self.state().closed = true;
                return self.changed.notify_all();
            }
        }
    }

    /// Waits until a line is due, or the log closes.
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

    /// Hands each write over to the test, and blocks while the test has so many to take.
    struct Told(mpsc::SyncSender<Vec<u8>>);

    impl Write for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A log, what it writes, and what it drops; its sink blocks when so many writes wait.
    fn told(waiting: usize) -> (LogWriter, mpsc::Receiver<Vec<u8>>, Counter) {
        let (told, batches) = mpsc::sync_channel(waiting);
        let dropped = Counter::default();
        (LogWriter::new(Told(told), dropped.clone()), batches, dropped)
    }

    #[test]
    fn a_lone_line_comes_by_itself() {
        let (lines, batches, _) = told(MANY);
        lines.write_line(|out| out.extend_from_slice(b"one"));
        assert_eq!(batches.recv_timeout(Duration::from_secs(10)).unwrap(), b"one\n");
    }

    #[test]
    fn a_panic_amid_a_line_costs_that_line_only() {
        let (lines, batches, _) = told(MANY);
        let broken = || {
            lines.write_line(|out| {
                out.extend_from_slice(b"half a ");
                panic!("amid the line");
            });
        };
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(broken)).is_err());
        lines.write_line(|out| out.extend_from_slice(b"whole"));
        assert_eq!(batches.recv_timeout(Duration::from_secs(10)).unwrap(), b"whole\n");
    }

    #[test]
    fn every_line_of_every_thread_is_written_whole_and_in_few_batches() {
        let (lines, batches, _) = told(MANY);
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let lines = lines.clone();
                std::thread::spawn(move || {
                    let _seat = (thread > 3).then(ThreadSlot::claim);
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
    fn lines_that_the_sink_fails_to_take_and_lines_after_the_end_are_counted() {
        let (lines, batches, dropped) = told(MANY);
        drop(batches);
        (0..3).for_each(|_| lines.write_line(|out| out.extend_from_slice(b"lost")));
        lines.close();
        assert_eq!(dropped.value(), 3);
        lines.write_line(|out| out.extend_from_slice(b"late"));
        assert_eq!(dropped.value(), 4);
    }

    #[test]
    fn a_sink_that_blocks_costs_bounded_memory_and_the_rest_is_counted() {
        let (lines, batches, dropped) = told(0);
        let long = vec![b'x'; 64 << 10];
        (0..100).for_each(|_| lines.write_line(|out| out.extend_from_slice(&long)));
        let lost = dropped.value();
        // What the writer holds and what waits behind it: each at most the bound and a line.
        assert!(lost >= 100 - 2 * (MOST / long.len() + 2) as u64, "{lost} dropped");
        let reading = std::thread::spawn(move || batches.iter().map(|batch| batch.len()).sum::<usize>());
        drop(lines);
        assert_eq!(reading.join().unwrap() as u64 / (long.len() as u64 + 1), 100 - lost);
    }
}
