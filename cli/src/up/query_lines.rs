//! Limits the query log lines on the terminal: a few per second are shown, the rest is counted.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use telemetry::LogWriter;

/// Maximum number of queries shown per second. A Pod that resolves a name through a search list sends about ten.
const MAX_PER_SECOND: usize = 20;
const SECOND: Duration = Duration::from_secs(1);

/// Forwards query lines to the log of requests and changes.
pub struct QueryLines {
    lines: LogWriter,
    limit: Limit,
}

impl QueryLines {
    /// Forwards queries to `lines`.
    pub fn new(lines: LogWriter) -> Self {
        Self { lines, limit: Limit { since: Instant::now(), shown: 0, skipped: 0 } }
    }
}

impl Write for QueryLines {
    fn write(&mut self, batch: &[u8]) -> io::Result<usize> {
        let shown = self.limit.pass(batch, Instant::now());
        for line in shown.split_inclusive(|byte| *byte == b'\n') {
            self.lines.write_line(|out| out.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line)));
        }
        Ok(batch.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Limit {
    /// When the current second began.
    since: Instant,
    shown: usize,
    skipped: usize,
}

impl Limit {
    /// The lines of a batch that are shown, after the count of lines that were skipped in the previous second.
    fn pass(&mut self, batch: &[u8], now: Instant) -> Vec<u8> {
        let mut shown = Vec::new();
        if now.duration_since(self.since) >= SECOND {
            if self.skipped > 0 {
                // Writing into a Vec cannot fail.
                let _ = writeln!(shown, "  … and {} more queries", self.skipped);
            }
            *self = Self { since: now, shown: 0, skipped: 0 };
        }
        for line in batch.split_inclusive(|byte| *byte == b'\n') {
            if self.shown < MAX_PER_SECOND {
                self.shown += 1;
                shown.extend_from_slice(line);
            } else {
                self.skipped += 1;
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_beyond_the_limit_are_counted() {
        let start = Instant::now();
        let mut limit = Limit { since: start, shown: 0, skipped: 0 };
        let batch = b"query\n".repeat(15);
        let lines =
            |shown: Vec<u8>| String::from_utf8(shown).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(limit.pass(&batch, start)).len(), 15);
        assert_eq!(lines(limit.pass(&batch, start)).len(), 5);
        assert_eq!(lines(limit.pass(&batch, start)).len(), 0);
        let next = lines(limit.pass(b"query\n", start + SECOND));
        assert_eq!(next, ["  … and 25 more queries", "query"]);
        assert_eq!(lines(limit.pass(b"query\n", start + 2 * SECOND)), ["query"]);
    }
}
