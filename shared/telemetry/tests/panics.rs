//! A panic is logged as one line with its source location, and counted. In a test binary of its own, since the panic hook is global.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use telemetry::metrics::Registry;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("the test does not panic with the lock").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_panic_is_counted_and_logged_as_one_line_with_its_location() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    telemetry::panics::log_panics();
    let registry = Registry::new();
    telemetry::panics::register(&registry);
    let worker = std::thread::Builder::new().name("worker-3".to_owned());
    let ended = worker.spawn(|| panic!("index {}\nout of bounds", 7)).unwrap().join();
    assert!(ended.is_err());
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("thread \"worker-3\" panicked at "), "{log}");
    assert!(log.contains("panics.rs:") && log.trim_end().ends_with(": index 7 out of bounds"), "{log}");
    assert!(registry.text().ends_with("portolan_panics_total 1\n"), "{}", registry.text());
}
