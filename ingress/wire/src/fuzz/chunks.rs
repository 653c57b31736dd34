//! Chunked bodies, compared with httparse.

use crate::chunk_encoder::{CHUNK_END, ChunkSizeLine, LAST_CHUNK};
use crate::chunked::{ChunkEvent, ChunkedDecoder};

/// Arbitrary bytes as a chunked body; the first byte selects the size of the pieces it arrives in.
///
/// # Panics
/// When the result depends on how the input is cut, or when an accepted body differs from httparse's reading.
pub fn chunked_body(data: &[u8]) {
    let Some((step, input)) = data.split_first() else { return };
    let whole = decode(input, input.len().max(1));
    let cut = decode(input, usize::from(*step) + 1);
    assert_eq!(whole, cut, "the result depends on the cut");
    if let Ok(Some(accepted)) = whole {
        assert_eq!(Some(accepted), reference(input), "httparse reads another body");
    }
    let mut written = Vec::new();
    for piece in input.chunks(usize::from(*step) + 1) {
        let line = ChunkSizeLine::new(piece.len()).expect("a piece is not empty");
        written.extend_from_slice(&[line.as_bytes(), piece, CHUNK_END].concat());
    }
    written.extend_from_slice(LAST_CHUNK);
    assert_eq!(decode(&written, 3), Ok(Some((input.to_vec(), written.len()))), "a written body is read");
}

/// The data of a body and its total length; `None` if it is incomplete.
fn decode(input: &[u8], step: usize) -> Result<Option<(Vec<u8>, usize)>, ()> {
    let (mut decoder, mut data, mut at) = (ChunkedDecoder::default(), Vec::new(), 0);
    let mut available = 0;
    loop {
        available = (available + step).min(input.len());
        loop {
            let (passed, event) = decoder.advance(&input[at..available]).map_err(drop)?;
            at += passed;
            match event {
                ChunkEvent::More => break,
                ChunkEvent::End => return Ok(Some((data, at))),
                ChunkEvent::Data(length) => {
                    data.extend_from_slice(&input[at..at + length]);
                    at += length;
                }
            }
        }
        if available == input.len() {
            return Ok(None);
        }
    }
}

/// The same by httparse's chunk sizes; `None` if it does not accept the body.
fn reference(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (mut data, mut at) = (Vec::new(), 0);
    loop {
        // httparse limits leading zeros to 16 digits in all; the decoder allows more.
        let zeros = input[at..].iter().take_while(|byte| **byte == b'0').count();
        at += zeros.saturating_sub(1);
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(&input[at..]) else {
            return None;
        };
        at += line;
        if size == 0 {
            let rest = &input[at..];
            let end =
                if rest.starts_with(b"\r\n") { 2 } else { memchr::memmem::find(rest, b"\r\n\r\n")? + 4 };
            return Some((data, at + end));
        }
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        data.extend_from_slice(input.get(at..end)?);
        at = end + 2;
        if input.get(end..at)? != b"\r\n" {
            return None;
        }
    }
}
