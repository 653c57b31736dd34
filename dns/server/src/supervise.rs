//! Keeps long-running loops alive: a panic is counted and logged, and the loop starts again.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use telemetry::metrics::Counter;

/// How long a loop pauses after a panic, so that one that always panics does not use a whole processor.
const PAUSE: Duration = Duration::from_millis(100);

/// Calls a thread's loop again until it returns without a panic.
pub(crate) fn restart_thread_on_panic(name: &str, panics: &Counter, mut work: impl FnMut()) {
    while let Err(panic) = catch_unwind(AssertUnwindSafe(&mut work)) {
        report(name, panics, &*panic);
        std::thread::sleep(PAUSE);
    }
}

/// Runs a task's loop again until it ends without a panic.
pub(crate) async fn restart_on_panic<F: Future>(name: &str, panics: &Counter, mut work: impl FnMut() -> F) {
    while let Err(panic) = AssertUnwindSafe(async { work().await }).catch_unwind().await {
        report(name, panics, &*panic);
        tokio::time::sleep(PAUSE).await;
    }
}

fn report(name: &str, panics: &Counter, panic: &(dyn Any + Send)) {
    panics.inc();
    let message = panic.downcast_ref::<&str>().copied();
    let message = message.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(target: "dns-server", "{name} panicked and is restarted: {}", message.unwrap_or("unknown reason"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_restarted_after_a_panic() {
        let (mut runs, panics) = (0, Counter::default());
        restart_thread_on_panic("a test", &panics, || {
            runs += 1;
            assert!(runs > 2, "deliberate panic in run {runs}");
        });
        assert_eq!((runs, panics.value()), (3, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_restarted_after_a_panic() {
        let (runs, panics) = (std::cell::Cell::new(0), Counter::default());
        let work = || {
            runs.set(runs.get() + 1);
            async { assert!(runs.get() > 2, "deliberate panic") }
        };
        restart_on_panic("a test", &panics, work).await;
        assert_eq!((runs.get(), panics.value()), (3, 2));
    }
}
