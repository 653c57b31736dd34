//! Writes bits, the least significant first (RFC 7932 §1.5).

use bytes::Bytes;

/// Bytes, and the bits of the next one.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Less than 32 between two writes.
    bits: u64,
    count: u32,
}

/// A position to which a writer can go back.
#[derive(Debug)]
pub(super) struct Mark {
    bytes: usize,
    bits: u64,
    count: u32,
}

impl BitWriter {
    /// Writes the lowest `count` bits of `value`, which has no others; 32 at most.
    #[inline]
    pub(super) fn write(&mut self, value: u64, count: u32) {
        debug_assert!(count <= 32 && value >> count == 0, "{value} has more than {count} bits");
        self.bits |= value << self.count;
        self.count += count;
        if self.count >= 32 {
            self.bytes.extend_from_slice(&(self.bits as u32).to_le_bytes());
            self.bits >>= 32;
            self.count -= 32;
        }
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) {
        self.write(0, (8 - self.count % 8) % 8);
        self.store_whole_bytes();
    }

    fn store_whole_bytes(&mut self) {
        let whole = self.count / 8;
        self.bytes.extend_from_slice(&self.bits.to_le_bytes()[..whole as usize]);
        self.bits >>= whole * 8;
        self.count -= whole * 8;
    }

    /// Appends whole bytes, after [`BitWriter::align`].
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.count, 0, "not at the start of a byte");
        self.bytes.extend_from_slice(bytes);
    }

    /// The whole bytes, which are removed.
    pub(super) fn take(&mut self) -> Bytes {
        self.store_whole_bytes();
        // Copied, so that the memory is used again, and a small piece does not hold a large buffer.
        let bytes = Bytes::copy_from_slice(&self.bytes);
        self.bytes.clear();
        bytes
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), bits: self.bits, count: self.count }
    }

    /// How many bits have been written since.
    pub(super) fn bits_since(&self, mark: &Mark) -> usize {
        (self.bytes.len() - mark.bytes) * 8 + self.count as usize - mark.count as usize
    }

    /// Removes what was written since.
    pub(super) fn reset(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        (self.bits, self.count) = (mark.bits, mark.count);
    }
}
