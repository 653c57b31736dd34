//! Objects from YAML and JSON: files and folders, which are watched, or built-in text.

pub(crate) mod documents;
pub(crate) mod node;

mod object;
mod decode;

mod watcher;
mod walk;
mod scanner;

mod inventory;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use cluster::{Event, Kind, Kinds};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use telemetry::{Problem, Reports};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use decode::{DecodedFile, UndecodedObjects, decode, decode_objects};
pub use documents::with_large_stack;
pub use object::ManifestObject;

use crate::source::{EventSink, Source, WriterStopped};
use crate::watch_status::WatchStatus;
use inventory::Inventory;
use scanner::{FileScanner, Scan, ScanTime};

/// The pause after a scan that failed.
const RETRY: Duration = Duration::from_secs(1);

/// The scope of problem reports.
const SCOPE: &str = "manifests";

/// A cluster that is described by manifests.
///
/// Reads all `.yaml`, `.yml` and `.json` files of folders and of the folders below (as `kubectl apply -R -f`). The kernel names a
/// changed file at once; what it does not report, such as files behind links, is noticed within half a second. An invalid document is reported with file and line; everything else stays served,
/// including the last good version of the objects in that file. The defaults of the API server are applied, but no
/// addresses are assigned: a Service without `clusterIP` has none. A namespace exists when it is declared or when an
/// object is in it.
pub struct ManifestSource {
    scanner: FileScanner,
    inventory: Inventory,
    /// Files and folders that could not be read in the last scan.
    unreadable: Vec<Problem>,
    reports: Reports,
}

impl ManifestSource {
    /// Watches these files and folders. Fails when one of them does not exist; problems with their content are reported as
    /// they appear and disappear.
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

    /// Built-in text that never changes, by file names for reports.
    pub fn embedded<T: AsRef<str>>(
        files: impl IntoIterator<Item = (&'static str, T)>,
        reports: &Reports,
    ) -> Self {
        let (scanner, inventory) = (FileScanner::new(Vec::new()), Inventory::default());
        let mut manifests = Self { scanner, inventory, unreadable: Vec::new(), reports: reports.clone() };
        for (name, text) in files {
            put(&mut manifests.inventory, name, decode(name, text.as_ref()));
        }
        manifests
    }

    /// Holds the first list of these kinds back until no object of them may be missing: a missing one may protect what
    /// another one serves. The status of the kind names the file meanwhile.
    #[must_use]
    pub fn with_complete(mut self, kinds: Kinds) -> Self {
        self.inventory.require_complete(kinds);
        self
    }

    /// Why the first list of a kind is held back.
    fn missing(&self, kind: Kind) -> String {
        let unreadable = self.unreadable.first().map(|problem| format!("{} cannot be read", problem.key));
        let undecoded = || self.inventory.missing(kind).map(|object| format!("{object} cannot be decoded"));
        unreadable.or_else(undecoded).unwrap_or_default()
    }

    /// Scans once and applies the changed files. Returns the pause before the next scan.
    fn scan(&mut self) -> Duration {
        let Self { scanner, inventory, unreadable, reports } = self;
        let scanned = with_large_stack(|| {
            scanner.scan(ScanTime::now(), &mut |path, text| {
                let name = path.display().to_string();
                match text {
                    Some(text) => put(inventory, &name, decode(&name, text)),
                    None => inventory.remove(&name),
                }
            })
        });
        let Scan { problems, pause, read } = match scanned {
            Ok(scan) => scan,
            Err(error) => {
                tracing::error!("the manifests cannot be scanned: {error}");
                return RETRY;
            }
        };
        tracing::debug!(read, "manifests were scanned");
        // Most scans find no change, and then no reports are built.
        let problems = problems.filter(|problems| problems != unreadable);
        if inventory.changed() || problems.is_some() {
            if let Some(problems) = problems {
                *unreadable = problems;
            }
            reports.replace(SCOPE, unreadable.iter().cloned().chain(inventory.problems()));
        }
        if scanner.is_empty() { Duration::MAX } else { pause }
    }

    /// Has the kernel report changes. Without it, for example because the user has too many inotify instances, files are polled.
    fn watch(&mut self) -> Option<AsyncFd<OwnedFd>> {
        if self.scanner.is_empty() {
            return None;
        }
        let watched = self.scanner.watch().and_then(|descriptor| {
            // SAFETY: an `OwnedFd` has the same descriptor, which stays open, until it is dropped.
            let changes = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
            Ok(changes?)
        });
        watched.inspect_err(|error| tracing::warn!("manifests are polled, without inotify: {error}")).ok()
    }

    async fn follow(mut self, sink: EventSink) -> Result<(), WriterStopped> {
        let mut wanted = sink.wanted();
        let changes = self.watch();
        loop {
            // A slow disk or a dead mount must not block a thread of the runtime.
            let scanned = tokio::task::spawn_blocking(move || {
                let pause = self.scan();
                (self, pause)
            });
            let pause;
            (self, pause) = scanned.await.map_err(|_| WriterStopped)?;
            let kinds = *wanted.borrow_and_update();
            for event in self.inventory.events(kinds, !self.unreadable.is_empty()) {
                let kind = event.kind();
                if matches!(event, Event::Forget(_)) {
                    sink.forget(kind).await?;
                } else {
                    sink.received(kind);
                    sink.send(event).await?;
                }
            }
            for kind in kinds.iter() {
                if !self.inventory.is_synced(kind) {
                    let missing = self.missing(kind);
                    if sink.report(kind, WatchStatus::Incomplete(missing.as_str().into())) {
                        tracing::warn!("no {kind} is used before all of them are known: {missing}");
                    }
                } else if sink.report(kind, WatchStatus::Synced) {
                    sink.set_connected(kind, true);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = readable(changes.as_ref()) => {}
                _ = wanted.changed() => {}
                () = sink.stopped() => return Err(WriterStopped),
            }
        }
    }
}

fn put(inventory: &mut Inventory, name: &str, decoded: DecodedFile) {
    for kind in inventory.put(name, decoded) {
        tracing::info!(file = name, "this kind is not read: {kind}");
    }
}

/// Waits until there is a change; without a descriptor forever.
async fn readable(changes: Option<&AsyncFd<OwnedFd>>) {
    match changes.map(AsyncFd::readable) {
        Some(ready) => match ready.await {
            Ok(mut guard) => guard.clear_ready(),
            Err(_runtime_stops) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

impl Source for ManifestSource {
    fn run(self: Box<Self>, sink: EventSink) -> BoxFuture<'static, ()> {
        self.follow(sink).map(|_stopped| ()).boxed()
    }
}

/// A path that cannot be watched because it does not exist.
#[derive(Debug)]
pub struct MissingPath {
    /// The path as it was given.
    pub path: PathBuf,
    /// The error of the system.
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
