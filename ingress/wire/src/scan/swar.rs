//! Eight bytes at a time, in one integer: for processors other than x86-64.

#[derive(Clone, Copy)]
pub(super) struct SwarBlock(u64);

const LOW: u64 = u64::from_le_bytes([0x7f; 8]);

#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
impl SwarBlock {
    pub(super) const SIZE: usize = 8;

    #[inline]
    pub(super) fn load(bytes: &[u8; 8]) -> Self {
        Self(u64::from_le_bytes(*bytes))
    }

    #[inline]
    pub(super) fn control(self) -> Option<usize> {
        first(self.below(b' ') & !self.equal(b'\t') | self.equal(0x7f))
    }

    #[inline]
    pub(super) fn space_or_control(self) -> Option<usize> {
        first(self.below(b' ' + 1) | self.equal(0x7f))
    }

    #[inline]
    pub(super) fn colon(self) -> Option<usize> {
        first(self.equal(b':'))
    }

    /// The highest bit of each byte below the limit, which is at most 128. No sum has a carry into the next byte.
    #[inline]
    fn below(self, limit: u8) -> u64 {
        let sums = (self.0 & LOW) + u64::from_le_bytes([0x80 - limit; 8]);
        !(sums | self.0) & !LOW
    }

    #[inline]
    fn equal(self, byte: u8) -> u64 {
        Self(self.0 ^ u64::from_le_bytes([byte; 8])).below(1)
    }
}

#[inline]
fn first(bits: u64) -> Option<usize> {
    (bits != 0).then(|| bits.trailing_zeros() as usize / 8)
}
