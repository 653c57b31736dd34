//! Whether a file has changed, by its metadata.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// What distinguishes a file from its earlier versions without reading it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FileSignature {
    device: u64,
    inode: u64,
    /// In bytes.
    pub size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileSignature {
    /// The signature of a file with this metadata.
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    pub(crate) fn modified(&self) -> SystemTime {
        let seconds = u64::try_from(self.modified.0).unwrap_or_default();
        let nanoseconds = u64::try_from(self.modified.1).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds)
    }
}
