//! Logs and counts panics.

use std::any::Any;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::metrics::Registry;

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Installs a panic hook that logs each panic of a thread or task as one line with its source location. If no log is set up,
/// the default hook prints it.
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

/// Registers `portolan_panics_total`, the number of panics.
pub fn register(registry: &Registry) {
    let help = "Panics of threads and tasks; each is a bug and is logged with its source location.";
    registry.callback_counters("portolan_panics_total", help, [], |samples| {
        samples([], PANICS.load(Relaxed) as f64);
    });
}

fn line(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let location = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line()));
    format!("thread {name:?} panicked{}: {}", location.unwrap_or_default(), message(panic.payload()))
}

fn message(payload: &dyn Any) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text =
        text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)");
    text.replace(char::is_control, " ")
}
