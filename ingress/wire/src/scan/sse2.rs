//! Sixteen bytes at a time. SSE2 is part of every x86-64 processor.

use std::arch::x86_64::{
    __m128i, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8,
    _mm_or_si128, _mm_set1_epi8,
};

#[derive(Clone, Copy)]
pub(super) struct Sse2Block(__m128i);

impl Sse2Block {
    pub(super) const SIZE: usize = 16;

    #[inline]
    pub(super) fn load(bytes: &[u8; 16]) -> Self {
        // SAFETY: sixteen readable bytes; the load has no alignment requirement, and SSE2 is there.
        Self(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
    }

    #[inline]
    pub(super) fn control(self) -> Option<usize> {
        // SAFETY: SSE2 is there.
        let low = unsafe { _mm_andnot_si128(self.equal(b'\t'), self.at_most(b' ' - 1)) };
        first(low, self.equal(0x7f))
    }

    #[inline]
    pub(super) fn space_or_control(self) -> Option<usize> {
        first(self.at_most(b' '), self.equal(0x7f))
    }

    #[inline]
    pub(super) fn colon(self) -> Option<usize> {
        let colon = self.equal(b':');
        first(colon, colon)
    }

    #[inline]
    fn at_most(self, most: u8) -> __m128i {
        // SAFETY: SSE2 is there.
        unsafe { _mm_cmpeq_epi8(_mm_min_epu8(self.0, _mm_set1_epi8(most as i8)), self.0) }
    }

    #[inline]
    fn equal(self, byte: u8) -> __m128i {
        // SAFETY: SSE2 is there.
        unsafe { _mm_cmpeq_epi8(self.0, _mm_set1_epi8(byte as i8)) }
    }
}

/// The first byte that is set in one of the masks.
#[inline]
fn first(one: __m128i, other: __m128i) -> Option<usize> {
    // SAFETY: SSE2 is there.
    let mask = unsafe { _mm_movemask_epi8(_mm_or_si128(one, other)) };
    (mask != 0).then(|| mask.trailing_zeros() as usize)
}
