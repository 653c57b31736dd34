//! The end of a request head in a buffer that grows.

use super::byte_classes::method_byte;
use super::{HeadError, HeadLimits};

/// Finds the end of a head, line by line, in a buffer that grows.
#[derive(Clone, Debug, Default)]
pub struct HeadFinder {
    line: usize,
    lines: usize,
    /// The end of the bytes in which the line has no end.
    scanned: usize,
}

impl HeadFinder {
    /// The length of the head at the start of `bytes`, once it is complete. Between two calls `bytes` may only grow.
    pub fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, HeadError> {
        self.find_within(bytes, &HeadLimits::default())
    }

    /// The same with other limits.
    pub fn find_within(&mut self, bytes: &[u8], limits: &HeadLimits) -> Result<Option<usize>, HeadError> {
        // Refuses a TLS handshake on a plain port at once: it may contain no line end.
        if self.line == 0 && bytes.first().is_some_and(|byte| !method_byte(byte) && *byte != b'\r') {
            return Err(HeadError::Malformed);
        }
        while let Some(at) = memchr::memchr(b'\n', &bytes[self.scanned..]) {
            let end = self.scanned + at;
            let length = end + 1 - self.line;
            if length == 1 || bytes[end - 1] != b'\r' {
                return Err(HeadError::Malformed);
            }
            if length > limits.line {
                return Err(self.too_long());
            }
            if length == 2 {
                *self = Self::default();
                return Ok(Some(end + 1));
            }
            self.line = end + 1;
            self.scanned = self.line;
            self.lines += 1;
            if self.line > limits.head {
                return Err(HeadError::HeaderTooLarge);
            }
        }
        // Full without a line end.
        if bytes.len() - self.line >= limits.line {
            return Err(self.too_long());
        }
        if bytes.len() > limits.head {
            return Err(HeadError::HeaderTooLarge);
        }
        self.scanned = bytes.len();
        Ok(None)
    }

    fn too_long(&self) -> HeadError {
        if self.lines == 0 { HeadError::UriTooLong } else { HeadError::HeaderTooLarge }
    }
}
