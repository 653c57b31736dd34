//! Reads a hosts file, and reads it again when it has changed.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arc_swap::ArcSwap;
use config::hosts_file::HostsLine;
use dns_wire::{Name, Query};
use telemetry::metrics::Gauge;
use tokio::task::JoinError;

use super::metrics::HostsMetrics;
use super::table::{HostTable, HostTableOptions, MAX_ENTRIES, TooManyEntries};

/// The largest file that is read.
const MAX_SIZE: u64 = 64 << 20;

/// A hosts file and the table of its last valid content.
pub(super) struct HostsFile {
    path: PathBuf,
    options: HostTableOptions,
    /// Records that the Corefile lists, which the gauge includes.
    inline: usize,
    entries: Gauge,
    metrics: HostsMetrics,
    pub table: Arc<ArcSwap<HostTable>>,
    /// The file that the table was read from.
    signature: Option<Signature>,
    /// The last failure, so that it is logged once.
    failure: String,
}

/// Changes when the file is written or replaced. A mounted ConfigMap is replaced by another file of any age and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signature {
    modified: (i64, i64),
    size: u64,
    inode: (u64, u64),
}

impl Signature {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: metadata.size(),
            inode: (metadata.dev(), metadata.ino()),
        }
    }
}

/// Why a file has no table.
#[derive(Debug)]
enum HostsFileError {
    Io(io::Error),
    NotAFile,
    TooLarge,
    TooManyEntries,
}

/// The first line of a file that has the queried name, or the address of a PTR query. Read anew: tables have no lines.
pub(super) fn line_of(path: &Path, query: &Query, address: Option<IpAddr>) -> Option<usize> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_SIZE {
        return None;
    }
    let text = std::fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&text);
    let is_named = |name: &&str| {
        name.parse::<Name>().is_ok_and(|name| match name.lower().wire().strip_prefix(b"\x01*") {
            Some(parent) => {
                query.offsets().get(1).is_some_and(|at| query.lower()[usize::from(*at)..] == *parent)
            }
            None => name.lower().wire() == query.lower(),
        })
    };
    let found = |line: &HostsLine<'_>| match address {
        Some(address) => line.address == address.to_canonical(),
        None => line.names.iter().any(is_named),
    };
    let mut lines = config::hosts_file::lines(&text).flatten();
    lines.find(found).map(|line| line.number)
}

impl HostsFile {
    /// A file that has not been read yet.
    pub(super) fn new(
        path: PathBuf,
        options: HostTableOptions,
        inline: usize,
        metrics: HostsMetrics,
    ) -> Self {
        let entries = metrics.entries.with([&path.display().to_string()]);
        entries.set(inline as f64);
        let (table, signature, failure) = (Arc::default(), None, String::new());
        Self { path, options, inline, entries, metrics, table, signature, failure }
    }

    /// Reads the file if it has changed. Without a valid file the last table stays, as in CoreDNS.
    fn refresh(&mut self) -> Result<(), HostsFileError> {
        // Opening does not wait for the other end of a FIFO.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&self.path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(HostsFileError::NotAFile);
        }
        let signature = Signature::of(&metadata);
        if self.signature == Some(signature) {
            return Ok(());
        }
        let mut bytes = Vec::new();
        file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_SIZE {
            return Err(HostsFileError::TooLarge);
        }
        // Comments may have any encoding.
        let (table, skipped) = HostTable::read(&String::from_utf8_lossy(&bytes), &self.options)?;
        if skipped.count > 0 {
            tracing::warn!(target: "plugin/hosts", "{}: {} lines or names are ignored; {}", self.path.display(), skipped.count, skipped.first.join("; "));
        }
        self.entries.set((self.inline + table.len()) as f64);
        let age = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.metrics.reloaded.set(age.as_secs_f64());
        self.table.store(Arc::new(table));
        self.signature = Some(signature);
        Ok(())
    }

    /// Reads the file again at each interval until the task is aborted.
    pub(super) async fn follow(mut self, every: Duration) {
        loop {
            tokio::time::sleep(every).await;
            let Ok(next) = self.refreshed().await else { return };
            self = next;
        }
    }

    /// Reads the file if it has changed, on a thread of its own: a file of many megabytes takes a while.
    pub(super) async fn refreshed(mut self) -> Result<Self, JoinError> {
        tokio::task::spawn_blocking(move || {
            self.refresh_and_log();
            self
        })
        .await
    }

    /// Reads the file if it has changed, and logs a failure that is not the last one again.
    fn refresh_and_log(&mut self) {
        let failure = self.refresh().err().map(|error| error.to_string()).unwrap_or_default();
        if failure != self.failure && !failure.is_empty() {
            let kept = if self.signature.is_some() {
                "its last entries are still served"
            } else {
                "none of its entries are served"
            };
            tracing::warn!(target: "plugin/hosts", "{}: {failure}; {kept}", self.path.display());
        }
        self.failure = failure;
    }
}

impl From<io::Error> for HostsFileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<TooManyEntries> for HostsFileError {
    fn from(_: TooManyEntries) -> Self {
        Self::TooManyEntries
    }
}

impl fmt::Display for HostsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == ErrorKind::NotFound => f.write_str("File does not exist"),
            Self::Io(error) => error.fmt(f),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::TooLarge => write!(f, "larger than {} MiB", MAX_SIZE >> 20),
            Self::TooManyEntries => write!(f, "more than {MAX_ENTRIES} entries"),
        }
    }
}

#[cfg(test)]
mod tests {
    use telemetry::metrics::Registry;

    use super::*;
    use crate::names::Zones;

    fn file(path: PathBuf) -> HostsFile {
        let options = HostTableOptions { zones: Zones::new(["."]), reverse: true };
        HostsFile::new(path, options, 0, HostsMetrics::new(&Registry::new()))
    }

    #[test]
    fn a_file_that_is_not_regular_or_too_large_leaves_the_last_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let mut hosts = file(path.clone());
        assert_eq!(hosts.refresh().unwrap_err().to_string(), "File does not exist");
        std::fs::write(&path, b"10.0.0.1 a # \xff\n").unwrap();
        hosts.refresh().unwrap();
        assert_eq!(hosts.table.load().len(), 2);

        File::options().write(true).open(&path).unwrap().set_len(MAX_SIZE + 1).unwrap();
        assert_eq!(hosts.refresh().unwrap_err().to_string(), "larger than 64 MiB");
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        assert_eq!(hosts.refresh().unwrap_err().to_string(), "not a regular file");
        assert_eq!(hosts.table.load().len(), 2);
    }

    #[test]
    fn an_unchanged_file_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        std::fs::write(&path, "10.0.0.1 a\n").unwrap();
        let mut hosts = file(path);
        hosts.refresh().unwrap();
        let first = hosts.table.load_full();
        hosts.refresh().unwrap();
        assert!(Arc::ptr_eq(&first, &hosts.table.load_full()));
    }
}
