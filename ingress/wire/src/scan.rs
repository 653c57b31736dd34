//! Searches in heads, a block of bytes at a time.

#[cfg(target_arch = "x86_64")]
mod sse2;
#[cfg(target_arch = "x86_64")]
use sse2::Sse2Block as Block;
#[cfg(any(test, not(target_arch = "x86_64")))]
mod swar;
#[cfg(not(target_arch = "x86_64"))]
use swar::SwarBlock as Block;

/// The first control character other than a tab; it ends a field value, or makes it invalid.
#[inline]
pub(crate) fn control(bytes: &[u8]) -> Option<usize> {
    find(bytes, Block::control)
}

/// The first space or control character; it ends a request target.
#[inline]
pub(crate) fn space_or_control(bytes: &[u8]) -> Option<usize> {
    find(bytes, Block::space_or_control)
}

/// The first colon.
#[inline]
pub(crate) fn colon(bytes: &[u8]) -> Option<usize> {
    find(bytes, Block::colon)
}

#[inline]
fn find(text: &[u8], block: fn(Block) -> Option<usize>) -> Option<usize> {
    let (blocks, rest) = text.as_chunks::<{ Block::SIZE }>();
    for (at, bytes) in blocks.iter().enumerate() {
        if let Some(found) = block(Block::load(bytes)) {
            return Some(at * Block::SIZE + found);
        }
    }
    if rest.is_empty() {
        return None;
    }
    // The last block overlaps with the one before it, where nothing was found.
    if let Some(last) = text.last_chunk::<{ Block::SIZE }>() {
        let at = text.len() - Block::SIZE;
        return Some(at + block(Block::load(last))?);
    }
    // No search finds a letter.
    let mut last = [b'x'; Block::SIZE];
    last[..rest.len()].copy_from_slice(rest);
    block(Block::load(&last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_control(byte: u8) -> bool {
        byte < b' ' && byte != b'\t' || byte == 0x7f
    }

    fn is_space_or_control(byte: u8) -> bool {
        byte <= b' ' || byte == 0x7f
    }

    #[test]
    fn every_byte_is_found_at_every_place() {
        for byte in 0..=u8::MAX {
            for at in 0..40 {
                let mut text = vec![b'x'; 40];
                text[at] = byte;
                let expected = |has: fn(u8) -> bool| text.iter().position(|byte| has(*byte));
                assert_eq!(control(&text), expected(is_control), "{byte:#x} at {at}");
                assert_eq!(space_or_control(&text), expected(is_space_or_control), "{byte:#x} at {at}");
                assert_eq!(colon(&text), expected(|byte| byte == b':'), "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn both_kinds_of_blocks_find_the_same() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let text = [b'x', first, second, b'\t', b'\t', 8, b'!', 0x80];
                let block = swar::SwarBlock::load(&text);
                let expected = |has: fn(u8) -> bool| text.iter().position(|byte| has(*byte));
                assert_eq!(block.control(), expected(is_control), "{text:?}");
                assert_eq!(block.space_or_control(), expected(is_space_or_control), "{text:?}");
                assert_eq!(block.colon(), expected(|byte| byte == b':'), "{text:?}");
            }
        }
    }
}
