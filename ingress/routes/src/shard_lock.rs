//! The lock of one part of a map that several threads use.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock on cache lines of its own, so that threads that use other parts are not slowed down.
#[derive(Default)]
#[repr(align(64))]
pub struct ShardLock<T>(Mutex<T>);

impl<T> ShardLock<T> {
    /// A lock of this value.
    pub fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
