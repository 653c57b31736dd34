//! Keeps long-running loops alive: a panic is counted and logged, and the loop starts again.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use telemetry::metrics::Counter;

/// How long a loop pauses after a panic: one that panics each time must not burn a processor.
const PAUSE: Duration = Duration::from_millis(100);

/// Calls a loop of a thread again until it returns without a panic.
pub(crate) fn restart_thread_on_panic(what: &str, panics: &Counter, mut work: impl FnMut()) {
    while let Err(panic) = catch_unwind(AssertUnwindSafe(&mut work)) {
        report(what, panics, &*panic);
        std::thread::sleep(PAUSE);
    }
}

/// Runs a loop of a task again until it ends without a panic.
pub(crate) async fn restart_on_panic<F: Future>(what: &str, panics: &Counter, mut work: impl FnMut() -> F) {
    while let Err(panic) = AssertUnwindSafe(async { work().await }).catch_unwind().await {
        report(what, panics, &*panic);
        tokio::time::sleep(PAUSE).await;
    }
}

fn report(what: &str, panics: &Counter, panic: &(dyn Any + Send)) {
    panics.inc();
    let message = panic.downcast_ref::<&str>().copied();
    let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(target: "dns-server", "{what} panicked and is restarted: {}", message.unwrap_or("unknown reason"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_panics_goes_on() {
        let (mut runs, panics) = (0, Counter::default());
        restart_thread_on_panic("a test", &panics, || {
            runs += 1;
            assert!(runs > 2, "run {runs}, as the test wants it");
        });
        assert_eq!((runs, panics.value()), (3, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_goes_on() {
        let (runs, panics) = (std::cell::Cell::new(0), Counter::default());
        let work = || {
            runs.set(runs.get() + 1);
            async { assert!(runs.get() > 2, "as the test wants it") }
        };
        restart_on_panic("a test", &panics, work).await;
        assert_eq!((runs.get(), panics.value()), (3, 2));
    }
}
