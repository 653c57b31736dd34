//! Waiting for what another process does: look again until it is there or the time is up.

use std::time::{Duration, Instant};

/// Time between two looks: short against everything waited for here, long against the look itself.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Looks until `look` gives a value, and returns it; when `limit` is over, panics with what the last look said.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        let problem = match check() {
            Ok(value) => return value,
            Err(problem) => problem,
        };
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}: {problem}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Looks for the whole of `span` and panics at the first look that fails: for what must not change.
#[track_caller]
pub fn throughout(what: &str, duration: Duration, mut check: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while start.elapsed() < duration {
        if let Err(problem) = check() {
            panic!("{what} held for {:?} only: {problem}", start.elapsed());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
