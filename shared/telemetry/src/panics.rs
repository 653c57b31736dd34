//! Panics, as log lines and a counter.

use std::any::Any;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::metrics::Registry;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Logs each panic of any thread or task, from now on, as one line with its place. Without a log it is printed as Rust
/// does by default.
pub fn log_panics() {
    let default_hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Relaxed);
        if tracing::dispatcher::has_been_set() {
            tracing::error!(target: "panic", "{}", line(panic));
        } else {
            default_hook(panic);
        }
    }));
}

/// Shows in `portolan_panics_total` how many panics there were.
pub fn register(registry: &Registry) {
    let help = "Panics of threads and tasks; each is a bug, and logged with its place.";
    registry.callback_counters("portolan_panics_total", help, [], |samples| {
        samples([], PANICS.load(Relaxed) as f64);
    });
}

fn line(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
    format!("thread {name:?} panicked{}: {}", place.unwrap_or_default(), message(panic.payload()))
}

fn message(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text =
        text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)");
    text.replace(char::is_control, " ")
}
