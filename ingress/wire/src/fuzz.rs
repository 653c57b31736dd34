//! Entry points of the fuzz targets: each takes arbitrary bytes and asserts what must always hold.

use bytes::{Bytes, BytesMut};

use crate::framing::BodyFraming;
use crate::head::Head;
use crate::known_header::KnownHeader;
use crate::request::ParsedRequest;
use crate::request_head::{HeadError, HeadFinder, HeadLimits, RequestFraming, RequestHead};

/// Arbitrary bytes as a request head.
///
/// # Panics
/// When the result depends on how the input is cut, when the one-pass parser and the checks of `request_head` disagree, or when an
/// accepted head means something else to httparse.
pub fn request_head(data: &[u8]) {
    let expected = checked(data);
    let limits = HeadLimits::default();
    for step in [data.len().max(1), 1, 7] {
        let (mut request, mut buffer) = (ParsedRequest::default(), BytesMut::new());
        let mut pieces = data.chunks(step);
        let result = loop {
            match request.parse(&mut buffer, &limits) {
                Ok(false) => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => break None,
                },
                result => break Some(result),
            }
        };
        match (&result, &expected) {
            (None, Ok(None)) => {}
            (Some(Ok(_)), Ok(Some(head))) => same_request(&request, head),
            // Cut, another error may be found first, but there must be one.
            (Some(Err(error)), Err(other)) => {
                assert!(error == other || step < data.len(), "{error:?}, {other:?}")
            }
            _ => panic!("{result:?} by {step}, expected {expected:?}"),
        }
    }
    if let Ok(Some(head)) = expected {
        same_as_httparse(&head);
    }
}

/// The head by the checks of `request_head`.
fn checked(mut data: &[u8]) -> Result<Option<RequestHead>, HeadError> {
    while let Some(rest) = data.strip_prefix(b"\r\n") {
        data = rest;
    }
    let Some(length) = HeadFinder::default().find(data)? else { return Ok(None) };
    RequestHead::check(Bytes::copy_from_slice(&data[..length])).map(Some)
}

fn same_request(request: &ParsedRequest, head: &RequestHead) {
    assert_eq!(request.head().bytes(), &head.bytes);
    assert_eq!((request.line(), request.target()), (head.line(), &head.target()[..]));
    let framing = match head.framing {
        RequestFraming::Length(0) if !head.has_length => BodyFraming::None,
        RequestFraming::Length(length) => BodyFraming::Length(length),
        RequestFraming::Chunked => BodyFraming::Chunked,
    };
    assert_eq!(request.framing(), framing);
    assert_eq!(request.head().len(), head.lines().count());
    for (field, (name, line)) in request.head().fields().zip(head.lines()) {
        assert_eq!((field.name, field.value), (name, line[name.len() + 1..].trim_ascii()));
    }
    same_lookups(request.head());
}

/// Lookups find what a search finds.
fn same_lookups(head: &Head) {
    for header in KnownHeader::ALL {
        let searched: Vec<_> = head
            .fields()
            .filter(|field| field.is_named(header.name().as_bytes()))
            .map(|field| field.value)
            .collect();
        assert_eq!(head.get(*header), searched.first().copied(), "{header:?}");
        assert!(head.get_all(*header).eq(searched.iter().copied()), "{header:?}");
        assert_eq!(head.is_repeated(*header), searched.len() > 1, "{header:?}");
    }
    for field in head.fields() {
        assert!(head.get_named(field.name).any(|value| value == field.value));
        assert_eq!(field.known, KnownHeader::of(field.name));
    }
}

fn same_as_httparse(head: &RequestHead) {
    let mut fields = vec![httparse::EMPTY_HEADER; head.bytes.len()];
    let for_hyper = head.for_hyper();
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(&for_hyper);
    assert_eq!(parsed, Ok(httparse::Status::Complete(for_hyper.len())), "httparse disagrees on the end");
    let values = |name: &str| {
        let named = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value.trim_ascii().to_vec()).collect::<Vec<_>>()
    };
    assert!(values("host").len() <= 1, "two Hosts were accepted");
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "an ambiguous length was accepted");
}
