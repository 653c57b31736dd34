//! The entry point of the fuzz target for responses as the proxy takes them over.

use bytes::BytesMut;
use http::header::{self, HeaderMap};

use crate::upstream::response_head::{self, ResponseFraming};

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
        let result = response_head::parse(&mut buffer, is_head, 64 * 1024, &mut headers);
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
    #[test]
    fn the_kept_inputs_pass() {
        let corpus =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/http_response_head");
        let inputs: Vec<_> = std::fs::read_dir(corpus).expect("the corpus").flatten().collect();
        assert!(!inputs.is_empty(), "there are inputs");
        for input in inputs {
            super::response_head(&std::fs::read(input.path()).expect("a kept input is readable"));
        }
    }
}
