//! Entry points of the fuzz targets for HTTP/1: each takes arbitrary bytes and asserts what must always hold, with httparse
//! as second implementation.

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap};
use ingress_wire::chunked::{ChunkEvent, ChunkedDecoder};
use ingress_wire::request_head::{HeadFinder, RequestFraming, RequestHead};

use crate::upstream::response_head::{self, ResponseFraming};

/// Arbitrary bytes as a request head.
///
/// # Panics
/// When the result depends on how the input is cut, or when an accepted head means something else to httparse.
pub fn request_head(data: &[u8]) {
    let whole = HeadFinder::default().find(data);
    let mut finder = HeadFinder::default();
    let cut = (0..=data.len()).find_map(|end| match finder.find(&data[..end]) {
        Ok(None) => None,
        result => Some(result),
    });
    match (&whole, &cut) {
        (Ok(None), None) => return,
        (Ok(Some(length)), Some(Ok(Some(same)))) => {
            assert_eq!(length, same, "the head's length depends on the cut")
        }
        // Byte by byte, another error may be found first, but there must be one.
        (Err(_), Some(Err(_))) => return,
        (Ok(Some(_)), Some(Err(_))) | (Err(_), Some(Ok(_))) => {
            panic!("{whole:?} at once, {cut:?} byte by byte")
        }
        other => panic!("{other:?}"),
    }
    let Ok(Some(length)) = whole else { return };
    let Ok(head) = RequestHead::check(Bytes::copy_from_slice(&data[..length])) else { return };

    let mut fields = vec![httparse::EMPTY_HEADER; length];
    // httparse refuses some targets that nginx accepts.
    let mut text = head.bytes.to_vec();
    let target = text.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1);
    text[target..head.line().len() - " HTTP/1.1".len()].fill(b'/');
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(&text);
    assert_eq!(parsed, Ok(httparse::Status::Complete(text.len())), "httparse disagrees on the end");
    let values = |name: &str| {
        let named = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value.trim_ascii().to_vec()).collect::<Vec<_>>()
    };
    assert!(values("host").len() <= 1, "two Hosts were accepted");
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "an ambiguous length was accepted");
    match head.framing {
        RequestFraming::Chunked => assert!(codings[0].eq_ignore_ascii_case(b"chunked")),
        RequestFraming::Length(length) => {
            assert!(codings.is_empty(), "a transfer coding was ignored");
            let named = lengths.first().map_or(Ok(0), |value| String::from_utf8_lossy(value).parse());
            assert_eq!(named, Ok(length));
        }
    }
    assert!(head.target().starts_with(b"/"), "{:?}", head.target());
}

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

/// Arbitrary bytes as the head of an endpoint's response; the first byte decides whether the request was a HEAD.
///
/// # Panics
/// When the result depends on how the input is cut, when a header of the connection passes, or when the framing contradicts the
/// headers.
pub fn response_head(data: &[u8]) {
    let Some((method, input)) = data.split_first() else { return };
    let is_head = method & 1 == 1;
    let read = |input: &[u8]| {
        let (mut buffer, mut headers) = (BytesMut::from(input), HeaderMap::new());
        let result = response_head::parse(&mut buffer, is_head, &mut headers);
        result.map(|head| head.map(|head| (head, headers, input.len() - buffer.len())))
    };
    let Ok(Some((head, headers, length))) = read(input) else { return };
    assert!(matches!(read(&input[..length - 1]), Ok(None) | Err(_)), "a head without its end was accepted");
    let again = read(&input[..length]).expect("accepted before").expect("complete before");
    assert_eq!((&again.0, &again.1), (&head, &headers), "bytes after the head changed it");
    // `Upgrade` passes, as with nginx; hyper removes it from HTTP/2 responses.
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        assert!(!headers.contains_key(&name), "{name} passed");
    }
    if let ResponseFraming::Length(length) = head.framing {
        let named = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        assert!(named.is_none_or(|named| named.trim().parse() == Ok(length)), "{named:?} is not {length}");
    }
}

#[cfg(test)]
mod tests {
    type Target = fn(&[u8]);

    #[test]
    fn the_kept_inputs_pass() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
        let targets: [(&str, Target); 3] = [
            ("http_request_head", super::request_head),
            ("http_chunked_body", super::chunked_body),
            ("http_response_head", super::response_head),
        ];
        for (name, target) in targets {
            let inputs: Vec<_> = std::fs::read_dir(corpus.join(name)).expect(name).flatten().collect();
            assert!(!inputs.is_empty(), "{name} has inputs");
            for input in inputs {
                target(&std::fs::read(input.path()).expect("a kept input is readable"));
            }
        }
    }
}
