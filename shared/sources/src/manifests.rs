//! Objects from YAML and JSON: a folder or files, watched, or text that is built in.

mod documents;
mod node;

mod decode;
mod scanner;

mod inventory;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use cluster::Event;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use telemetry::{Problem, Reports};

pub use decode::{DecodedFile, decode};

use crate::source::{EventSink, Source, WriterStopped};
use crate::watch_status::WatchStatus;
use inventory::Inventory;
use scanner::FileScanner;

/// Between two looks at the files.
const PERIOD: Duration = Duration::from_millis(300);

/// Between two looks where the first left a doubt.
const SOON: Duration = Duration::from_millis(60);

/// The scope of its reports.
const SCOPE: &str = "manifests";

/// A cluster written down in manifests.
///
/// Of folders all `.yaml`, `.yml` and `.json` files are read, in the folders below too (`kubectl apply -R -f`); a changed
/// file is seen within half a second. A bad document is reported with file and line, and everything else stays served,
/// the last good version of what the file held included. The defaults of the API server are applied, but no addresses
/// are made up: a Service without `clusterIP` has none. A namespace exists when it is declared or anything is in it.
pub struct ManifestSource {
    scanner: FileScanner,
    inventory: Inventory,
    /// Files and folders that could not be read at the last look.
    unreadable: Vec<Problem>,
    reports: Reports,
}

impl ManifestSource {
    /// Watches these files and folders. Fails when one of them is not there to begin with; problems with what is in them
    /// are reported as they come and go.
    pub fn new(
        paths: impl IntoIterator<Item = impl Into<PathBuf>>,
        reports: &Reports,
    ) -> Result<Self, MissingPath> {
        let paths: Vec<PathBuf> = paths.into_iter().map(Into::into).collect();
        for path in &paths {
            std::fs::metadata(path).map_err(|error| MissingPath { path: path.clone(), error })?;
        }
        let (scanner, inventory) = (FileScanner::new(paths), Inventory::default());
        Ok(Self { scanner, inventory, unreadable: Vec::new(), reports: reports.clone() })
    }

    /// Text that is built in, by names that stand for files. It never changes.
    pub fn embedded<T: AsRef<str>>(
        files: impl IntoIterator<Item = (&'static str, T)>,
        reports: &Reports,
    ) -> Self {
        let (scanner, inventory) = (FileScanner::new(Vec::new()), Inventory::default());
        let mut manifests = Self { scanner, inventory, unreadable: Vec::new(), reports: reports.clone() };
        for (name, text) in files {
            manifests.put(name, text.as_ref());
        }
        manifests
    }

    /// Looks once and takes in what has changed. Returns how long to wait before the next look.
    fn scan(&mut self) -> Duration {
        let look = self.scanner.scan(SystemTime::now());
        for (path, text) in look.changed {
            let name = path.display().to_string();
            match text {
                Some(text) => self.put(&name, &text),
                None => self.inventory.remove(&name),
            }
        }
        // Most looks see nothing new, and must cost no more than that.
        if self.inventory.changed() || self.unreadable != look.problems {
            self.unreadable = look.problems;
            self.reports.replace(SCOPE, self.unreadable.iter().cloned().chain(self.inventory.problems()));
        }
        match look.in_doubt {
            _ if self.scanner.is_empty() => Duration::MAX,
            true => SOON,
            false => PERIOD,
        }
    }

    fn put(&mut self, name: &str, text: &str) {
        for kind in self.inventory.put(name, decode(name, text)) {
            tracing::info!(file = name, "not read here, left out: {kind}");
        }
    }

    async fn follow(mut self, sink: EventSink) -> Result<(), WriterStopped> {
        let mut wanted = sink.wanted();
        loop {
            // Files may lie on a slow disk or a dead mount: not on a thread of the runtime.
            let looked = tokio::task::spawn_blocking(move || {
                let pause = self.scan();
                (self, pause)
            });
            let pause;
            (self, pause) = looked.await.map_err(|_| WriterStopped)?;
            let kinds = *wanted.borrow_and_update();
            for event in self.inventory.news(kinds) {
                let kind = event.kind();
                if matches!(event, Event::Forget(_)) {
                    sink.forget(kind).await?;
                } else {
                    sink.received(kind);
                    sink.send(event).await?;
                }
            }
            for kind in kinds.iter() {
                if sink.report(kind, WatchStatus::Synced) {
                    sink.set_connected(kind, true);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = wanted.changed() => {}
                () = sink.stopped() => return Err(WriterStopped),
            }
        }
    }
}

impl Source for ManifestSource {
    fn run(self: Box<Self>, sink: EventSink) -> BoxFuture<'static, ()> {
        self.follow(sink).map(|_stopped| ()).boxed()
    }
}

/// A path that cannot be watched because it is not there.
#[derive(Debug)]
pub struct MissingPath {
    /// The path as it was given.
    pub path: PathBuf,
    /// What the system says.
    pub error: io::Error,
}

impl std::fmt::Display for MissingPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; wanted a manifest file or a folder of them", self.path.display(), self.error)
    }
}

impl std::error::Error for MissingPath {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests;
