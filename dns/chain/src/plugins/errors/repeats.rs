//! Limits how often the same failure is logged when no `consolidate` pattern matches it.
//!
//! CoreDNS logs every failure. A silent upstream would then write a line for every query, which fills disks and hides
//! other messages. Here each failure text gets a few lines per window; the others are counted and reported at its end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use telemetry::metrics::Counter;
use tokio::runtime::Handle;

/// Lines that a failure text may have per window.
const LINES: u32 = 10;
/// The length of a window, which begins with the first line.
pub(super) const WINDOW: Duration = Duration::from_secs(10);
/// Failure texts that are counted separately at a time. Further ones, which an upstream may choose freely, share a count.
const TEXTS: usize = 32;
/// The text under which further failure texts are counted.
const OTHER: &str = "(various)";

/// The failures of the current windows.
#[derive(Clone)]
pub(super) struct Repeats(Arc<Inner>);

struct Inner {
    recent: Mutex<Vec<Recent>>,
    suppressed: Counter,
    runtime: Handle,
    report: fn(&str),
}

/// A failure text in its window.
struct Recent {
    why: Box<str>,
    logged: u32,
    suppressed: u64,
}

impl Repeats {
    /// `report` logs the line at the end of a window.
    pub(super) fn new(suppressed: Counter, runtime: Handle, report: fn(&str)) -> Self {
        Self(Arc::new(Inner { recent: Mutex::default(), suppressed, runtime, report }))
    }

    /// Whether this failure is logged.
    pub(super) fn admit(&self, why: &str) -> bool {
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let known = recent.iter().position(|known| *known.why == *why).or_else(|| {
            // The last entry is reserved for the texts that share a count.
            let full = recent.len() >= TEXTS - 1;
            full.then(|| recent.iter().position(|known| *known.why == *OTHER)).flatten()
        });
        if let Some(known) = known {
            let known = &mut recent[known];
            if known.logged < LINES {
                known.logged += 1;
                return true;
            }
            known.suppressed += 1;
            self.0.suppressed.inc();
            return false;
        }
        let why = if recent.len() < TEXTS - 1 { why } else { OTHER };
        recent.push(Recent { why: why.into(), logged: 1, suppressed: 0 });
        self.close_later(why.into());
        true
    }

    /// Ends the window of a text, and reports what was not logged.
    fn close_later(&self, why: Box<str>) {
        let inner = self.0.clone();
        self.0.runtime.spawn(async move {
            tokio::time::sleep(WINDOW).await;
            let mut recent = inner.recent.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(at) = recent.iter().position(|known| known.why == why) else { return };
            let Recent { why, suppressed, .. } = recent.swap_remove(at);
            drop(recent);
            if suppressed > 0 {
                (inner.report)(&format!("{suppressed} more errors like '{why}' in the last 10s"));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeats() -> (Repeats, Counter) {
        let counter = Counter::default();
        (Repeats::new(counter.clone(), Handle::current(), |_| ()), counter)
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_repeats_gets_ten_lines_per_window() {
        let (repeats, suppressed) = repeats();
        for round in 1..=2 {
            let logged = (0..1000).filter(|_| repeats.admit("10.0.0.1:53: read: i/o timeout")).count();
            assert_eq!((logged, suppressed.value()), (10, round * 990));
            tokio::time::sleep(WINDOW * 2).await;
        }
        assert!(repeats.0.recent.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn different_texts_beyond_the_limit_are_counted_together() {
        let (repeats, _) = repeats();
        let logged = (0..1000).filter(|number| repeats.admit(&format!("HTTP status {number}"))).count();
        assert_eq!(logged, TEXTS - 1 + LINES as usize);
        assert_eq!(repeats.0.recent.lock().unwrap().len(), TEXTS);
    }
}
