//! Support for tests: a projection without a view, and a log.

use cluster::{Kinds, ObjectChange, Projection, Snapshot};

/// A projection that reads kinds and has no view.
pub(crate) struct Reads(pub(crate) Kinds);

impl Projection for Reads {
    type View = ();

    fn kinds(&self) -> Kinds {
        self.0
    }

    fn build(&self, _: &Snapshot) {}

    fn advance(&self, (): &(), _: &Snapshot, _: &[ObjectChange]) {}
}

/// The lines that this thread logs.
#[cfg(feature = "kube")]
#[derive(Clone, Default)]
pub(crate) struct Log(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

#[cfg(feature = "kube")]
impl Log {
    /// Collects lines until the returned guard is dropped.
    pub(crate) fn start(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || log.clone()).with_ansi(false).finish();
        let guard = tracing::subscriber::set_default(subscriber);
        // Enables callsites that another test has reached before without a subscriber.
        tracing::callsite::rebuild_interest_cache();
        guard
    }

    /// The lines since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

#[cfg(feature = "kube")]
impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
