//! File descriptors reserved for connections to admin listeners.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

/// A few open descriptors. When the process has no other, closing one allows a probe's connection to be accepted.
pub(super) struct SpareDescriptors {
    files: Mutex<Vec<File>>,
    count: usize,
}

impl SpareDescriptors {
    /// Opens `count` descriptors, or as many as the system allows.
    pub(super) fn new(count: usize) -> Self {
        let spare = Self { files: Mutex::default(), count };
        spare.refill();
        spare
    }

    /// Closes one. Returns false if none is left.
    pub(super) fn release(&self) -> bool {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).pop().is_some()
    }

    /// Reopens released descriptors, as far as the system allows.
    pub(super) fn refill(&self) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        while files.len() < self.count {
            match File::open("/dev/null") {
                Ok(file) => files.push(file),
                Err(_) => return,
            }
        }
    }
}
