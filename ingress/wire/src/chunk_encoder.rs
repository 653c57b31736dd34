//! The chunked transfer coding (RFC 9112 §7.1), encoded: the framing around data that is written from where it lies.

/// Written after the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The last chunk and an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The longest size line: 16 digits and the line end.
const LONGEST: usize = 18;

/// The line before the data of a chunk, without allocation.
#[derive(Clone, Copy, Debug)]
pub struct ChunkSizeLine {
    bytes: [u8; LONGEST],
    start: usize,
}

impl ChunkSizeLine {
    /// The line for this many bytes of data; `None` for no data, because an empty chunk would end the body.
    pub fn new(length: usize) -> Option<Self> {
        let mut left = length;
        let mut line = Self { bytes: [0; LONGEST], start: LONGEST - 2 };
        line.bytes[LONGEST - 2..].copy_from_slice(b"\r\n");
        while left > 0 {
            line.start -= 1;
            line.bytes[line.start] = b"0123456789abcdef"[left & 15];
            left >>= 4;
        }
        (length > 0).then_some(line)
    }

    /// The bytes to write.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunked::{ChunkEvent, ChunkedDecoder};

    #[test]
    fn an_empty_chunk_cannot_be_written() {
        assert!(ChunkSizeLine::new(0).is_none());
    }

    #[test]
    fn written_chunks_are_decoded() {
        for length in [1, 9, 10, 15, 16, 255, 256, 4096, 65_537] {
            let (line, data) = (ChunkSizeLine::new(length).unwrap(), vec![b'x'; length]);
            assert_eq!(line.as_bytes(), format!("{length:x}\r\n").as_bytes());
            let body = [line.as_bytes(), &data, CHUNK_END, LAST_CHUNK].concat();
            let mut decoder = ChunkedDecoder::default();
            let (passed, event) = decoder.advance(&body).unwrap();
            assert_eq!((passed, event), (line.as_bytes().len(), ChunkEvent::Data(length)));
            let rest = &body[passed + length..];
            assert_eq!(decoder.advance(rest).unwrap(), (rest.len(), ChunkEvent::End));
        }
        assert_eq!(ChunkSizeLine::new(usize::MAX).unwrap().as_bytes().len(), usize::BITS as usize / 4 + 2);
    }
}
