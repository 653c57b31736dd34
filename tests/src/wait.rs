//! Waiting for another process: polls a condition until it holds or a timeout expires.

use std::time::{Duration, Instant};

/// Time between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Calls `check` until it returns a value, and returns the value. Panics with the last error after `limit`.
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

/// Calls `check` repeatedly for `duration` and panics at its first error: for conditions that must not change.
#[track_caller]
pub fn throughout(what: &str, duration: Duration, mut check: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    while start.elapsed() < duration {
        if let Err(problem) = check() {
            panic!("{what} held only for {:?}: {problem}", start.elapsed());
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
