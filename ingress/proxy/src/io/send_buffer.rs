//! The next bytes of a message to write: its head, a piece of its body, and the framing of chunks around it.

use std::io::IoSlice;

use bytes::{Buf, Bytes};
use ingress_wire::chunk_encoder::{CHUNK_END, ChunkSizeLine, LAST_CHUNK};

/// What follows a chunk if it is the last one of a body without trailers.
const CHUNK_AND_BODY_END: &[u8] = b"\r\n0\r\n\r\n";

/// The parts of a message that are written next, in this order. Nothing is copied.
#[derive(Debug, Default)]
pub(crate) struct SendBuffer {
    head: Bytes,
    /// The size line of a chunk, and how much of it has been written.
    size: Option<(ChunkSizeLine, usize)>,
    data: Bytes,
    end: &'static [u8],
    /// The last chunk with its trailer section.
    trailers: Bytes,
}

impl SendBuffer {
    pub(crate) const SLICES: usize = 5;

    pub(crate) fn new(head: Bytes) -> Self {
        Self { head, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty() && self.wants_data()
    }

    /// Whether the next piece of the body can be put in; the head may still be unwritten.
    pub(crate) fn wants_data(&self) -> bool {
        self.size.is_none() && self.data.is_empty() && self.end.is_empty() && self.trailers.is_empty()
    }

    /// How many bytes of the body wait to be written, without framing.
    pub(crate) fn data_len(&self) -> usize {
        self.data.len()
    }

    /// Puts in a piece of the body, as a chunk if the body is chunked.
    pub(crate) fn put_data(&mut self, data: Bytes, chunked: bool) {
        debug_assert!(self.wants_data());
        if chunked && let Some(line) = ChunkSizeLine::new(data.len()) {
            self.size = Some((line, 0));
            self.end = CHUNK_END;
        }
        self.data = data;
    }

    /// Takes a piece that was put in without chunks.
    pub(crate) fn take_data(&mut self) -> Bytes {
        std::mem::take(&mut self.data)
    }

    /// Puts in the last chunk of a chunked body. `trailers` are whole lines. May follow [`Self::put_data`] at once, so that the last
    /// piece and the end are written together.
    pub(crate) fn put_last_chunk(&mut self, trailers: &[u8]) {
        if trailers.is_empty() {
            self.end = if self.end.is_empty() { LAST_CHUNK } else { CHUNK_AND_BODY_END };
            return;
        }
        self.trailers = [b"0\r\n", trailers, b"\r\n"].concat().into();
    }

    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; Self::SLICES]) -> usize {
        let size = self.size.as_ref().map_or(&[][..], |(line, written)| &line.as_bytes()[*written..]);
        let mut count = 0;
        // Not a loop over a list of parts, which would take three times as many instructions.
        let mut add = |part: &'a [u8]| {
            if !part.is_empty() {
                slices[count] = IoSlice::new(part);
                count += 1;
            }
        };
        add(&self.head);
        add(size);
        add(&self.data);
        add(self.end);
        add(&self.trailers);
        count
    }

    /// Removes what has been written. Returns how many of these bytes belong to the head.
    pub(crate) fn advance(&mut self, written: usize) -> usize {
        let mut left = written;
        let head = take(&mut self.head, &mut left);
        if let Some((line, done)) = &mut self.size {
            let taken = (line.as_bytes().len() - *done).min(left);
            *done += taken;
            left -= taken;
            if *done == line.as_bytes().len() {
                self.size = None;
            }
        }
        take(&mut self.data, &mut left);
        let taken = left.min(self.end.len());
        self.end = &self.end[taken..];
        left -= taken;
        take(&mut self.trailers, &mut left);
        head
    }
}

/// Removes up to `left` bytes from a part, and returns how many.
fn take(part: &mut Bytes, left: &mut usize) -> usize {
    let taken = part.len().min(*left);
    *left -= taken;
    if taken < part.len() {
        part.advance(taken);
    } else if taken > 0 {
        // An empty `Bytes` would keep the buffer that it is a part of in memory.
        *part = Bytes::new();
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes everything, `step` bytes at a time. Returns the bytes, and how many of them belong to the head.
    fn write(buffer: &mut SendBuffer, step: usize) -> (Vec<u8>, usize) {
        let (mut out, mut head) = (Vec::new(), 0);
        while !buffer.is_empty() {
            let mut slices = [IoSlice::new(&[]); SendBuffer::SLICES];
            let count = buffer.slices(&mut slices);
            let bytes: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            let written = bytes.len().min(step);
            out.extend_from_slice(&bytes[..written]);
            head += buffer.advance(written);
        }
        (out, head)
    }

    #[test]
    fn parts_are_written_in_order_however_little_the_writer_accepts() {
        let data = || Bytes::from_static(b"hello");
        for step in 1..60 {
            let mut plain = SendBuffer::new(Bytes::from_static(b"HEAD"));
            plain.put_data(data(), false);
            assert_eq!(write(&mut plain, step), (b"HEADhello".to_vec(), 4));
            let mut chunked = SendBuffer::new(Bytes::from_static(b"HEAD"));
            chunked.put_data(data(), true);
            assert_eq!(write(&mut chunked, step), (b"HEAD5\r\nhello\r\n".to_vec(), 4));
            chunked.put_last_chunk(b"");
            assert_eq!(write(&mut chunked, step), (b"0\r\n\r\n".to_vec(), 0));
            chunked.put_data(data(), true);
            chunked.put_last_chunk(b"");
            assert_eq!(write(&mut chunked, step), (b"5\r\nhello\r\n0\r\n\r\n".to_vec(), 0));
            chunked.put_data(data(), true);
            chunked.put_last_chunk(b"x: y\r\n");
            assert_eq!(write(&mut chunked, step), (b"5\r\nhello\r\n0\r\nx: y\r\n\r\n".to_vec(), 0));
        }
    }

    #[test]
    fn an_empty_piece_is_not_the_end_of_a_chunked_body() {
        let mut chunked = SendBuffer::default();
        chunked.put_data(Bytes::new(), true);
        assert!(chunked.is_empty());
    }
}
