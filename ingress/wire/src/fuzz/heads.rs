//! Heads of requests and responses, and changes to them.

use bytes::{Bytes, BytesMut};

use crate::framing::MessageFraming;
use crate::head::{Head, NameClass};
use crate::head_writer::HeadWriter;
use crate::known_header::{KnownHeader, KnownSet};
use crate::request::ParsedRequest;
use crate::request_head::{HeadError, HeadFinder, HeadLimits, RequestFraming, RequestHead};
use crate::response::{MAX_RESPONSE_HEAD, ParsedResponse, ResponseError};

/// Feeds input in pieces until there is a result; `None` if it is incomplete.
fn feed<E>(
    data: &[u8],
    step: usize,
    mut parse: impl FnMut(&mut BytesMut) -> Result<bool, E>,
) -> Result<Option<BytesMut>, E> {
    let (mut buffer, mut pieces) = (BytesMut::new(), data.chunks(step));
    loop {
        match (parse(&mut buffer)?, pieces.next()) {
            (true, None) => return Ok(Some(buffer)),
            (true, Some(piece)) => {
                buffer.extend_from_slice(piece);
                pieces.for_each(|piece| buffer.extend_from_slice(piece));
                return Ok(Some(buffer));
            }
            (false, None) => return Ok(None),
            (false, Some(piece)) => buffer.extend_from_slice(piece),
        }
    }
}

/// Arbitrary bytes as a request head.
///
/// # Panics
/// When the result depends on how the input is cut, when the one-pass parser and the checks of `request_head` disagree, or when an
/// accepted head means something else to httparse.
pub fn request_head(data: &[u8]) {
    let expected = checked(data);
    for step in [data.len().max(1), 1, 7] {
        let mut request = ParsedRequest::default();
        let result = feed(data, step, |buffer| request.parse(buffer, &HeadLimits::default()));
        match (&result, &expected) {
            (Ok(None), Ok(None)) => {}
            (Ok(Some(rest)), Ok(Some(head))) => {
                assert!(data.ends_with(rest), "the rest of the input stays");
                same_request(&request, head);
            }
            // Cut, another error may be found first, but there must be one.
            (Err(error), Err(other)) => assert!(error == other || step < data.len(), "{error:?}, {other:?}"),
            _ => panic!("{result:?} by {step}, expected {expected:?}"),
        }
    }
    if let Ok(Some(head)) = expected {
        same_as_httparse(&head);
        same_over_http2(&head);
    }
}

/// The same request over HTTP/2 has the same fields, and can be written as HTTP/1.
fn same_over_http2(head: &RequestHead) {
    let (mut request, limits) = (ParsedRequest::default(), HeadLimits::default());
    assert_eq!(request.parse(&mut BytesMut::from(&head.bytes[..]), &limits), Ok(true));
    let parts = http::Request::builder().method(request.method_name()).uri(request.target()).body(());
    let Ok(parts) = parts else { return };
    let mut parts = parts.into_parts().0;
    parts.headers = request.head().header_map();
    parts.headers.remove(http::header::TRANSFER_ENCODING);
    let mut other = ParsedRequest::default();
    if other.assign_h2(&parts, false, &mut BytesMut::new(), &limits).is_err() {
        return;
    }
    assert_eq!((other.method(), other.target()), (request.method(), request.target()));
    for field in request.head().fields().filter(|field| field.known != Some(KnownHeader::TransferEncoding)) {
        let values: Vec<_> = other.head().get_named(field.name).collect();
        match field.known {
            Some(KnownHeader::Cookie) => assert_eq!(values.len(), 1, "cookies become one field"),
            _ => assert!(values.contains(&field.value), "{:?}", field.name.escape_ascii().to_string()),
        }
    }
    same_lookups(other.head());
    let mut out = BytesMut::new();
    HeadWriter::default().write_request(other.method_name(), other.target(), other.head(), &mut out);
    let (mut written, limits) = (ParsedRequest::default(), HeadLimits { line: 1 << 17, head: 1 << 17 });
    assert_eq!(written.parse(&mut out, &limits), Ok(true));
    assert!(written.head().fields().eq(other.head().fields()));
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
        RequestFraming::Length(0) if !head.has_length => MessageFraming::None,
        RequestFraming::Length(length) => MessageFraming::Length(length),
        RequestFraming::Chunked => MessageFraming::Chunked,
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
        let named = head.fields().filter(|field| field.is_named(header.name().as_bytes()));
        let searched: Vec<_> = named.map(|field| field.value).collect();
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

/// Arbitrary bytes as a response head; the first byte decides whether the request was a HEAD.
///
/// # Panics
/// When the result depends on how the input is cut, or when httparse reads another head.
pub fn response_head(data: &[u8]) {
    let Some((method, input)) = data.split_first() else { return };
    let is_head = method & 1 == 1;
    let mut whole = ParsedResponse::default();
    let result = feed(input, input.len().max(1), |buffer| whole.parse(buffer, is_head, MAX_RESPONSE_HEAD));
    for step in [1, 7] {
        let mut response = ParsedResponse::default();
        let cut = feed(input, step, |buffer| response.parse(buffer, is_head, MAX_RESPONSE_HEAD));
        same_result(&cut, &result);
        if matches!(cut, Ok(Some(_))) {
            assert!(response.head().fields().eq(whole.head().fields()));
        }
    }
    let mut fields = vec![httparse::EMPTY_HEADER; input.len()];
    let mut response = httparse::Response::new(&mut fields);
    let parsed = response.parse(input);
    match (&result, parsed) {
        (Ok(Some(rest)), Ok(httparse::Status::Complete(length))) => {
            assert_eq!(rest.len(), input.len() - length, "httparse disagrees on the end");
            assert_eq!(Some(whole.status()), response.code);
            assert_eq!(whole.reason(), response.reason.unwrap_or_default().as_bytes());
            let fields = response.headers.iter().map(|field| (field.name.as_bytes(), field.value));
            assert!(whole.head().fields().map(|field| (field.name, field.value)).eq(fields));
            same_lookups(whole.head());
        }
        (Ok(None), Ok(httparse::Status::Partial)) => {}
        // An invalid line is refused once it is complete.
        (Ok(None) | Err(_), Err(_)) => {}
        // What only the parser checks, perhaps before the head is complete.
        (Err(error), Ok(_)) => assert_ne!(*error, ResponseError::Malformed, "httparse accepts the head"),
        (result, parsed) => panic!("{result:?}, but httparse: {parsed:?}"),
    }
}

/// Cut, an invalid line may be refused only once it is complete, or another error may be found first.
fn same_result(
    cut: &Result<Option<BytesMut>, ResponseError>,
    whole: &Result<Option<BytesMut>, ResponseError>,
) {
    match (cut, whole) {
        (Err(_) | Ok(None), Err(_)) => {}
        _ => assert_eq!(cut, whole, "the result depends on the cut"),
    }
}

/// Arbitrary bytes as the head of a CGI response; the first byte decides whether the request was a HEAD.
///
/// # Panics
/// When the result depends on how the input is cut, or when the same fields behind a status line are read differently.
pub fn cgi_head(data: &[u8]) {
    let Some((method, input)) = data.split_first() else { return };
    let is_head = method & 1 == 1;
    let mut whole = ParsedResponse::default();
    let result =
        feed(input, input.len().max(1), |buffer| whole.parse_cgi(buffer, is_head, MAX_RESPONSE_HEAD));
    let mut response = ParsedResponse::default();
    let cut = feed(input, 1, |buffer| response.parse_cgi(buffer, is_head, MAX_RESPONSE_HEAD));
    same_result(&cut, &result);
    let Ok(Some(rest)) = result else { return };
    let text = [b"HTTP/1.1 200 OK\r\n", &input[..input.len() - rest.len()]].concat();
    let mut behind = ParsedResponse::default();
    if behind.parse(&mut BytesMut::from(&text[..]), is_head, MAX_RESPONSE_HEAD) == Ok(true) {
        let pairs = |head: &Head| -> Vec<_> {
            head.fields().map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
        };
        assert_eq!(pairs(behind.head()), pairs(whole.head()));
    }
}

/// Arbitrary bytes as changes, and a head that is changed: the first bytes choose the changes.
///
/// # Panics
/// When the written head is not read as the fields that were kept and those that were added.
pub fn head_writer(data: &[u8]) {
    let Some(([removed, flags, name_length, value_length], input)) = data.split_first_chunk::<4>() else {
        return;
    };
    let limits = HeadLimits { line: 1 << 20, head: 1 << 20 };
    let mut writer = HeadWriter::default();
    writer.remove_set(KnownSet::of(&[KnownHeader::ALL[usize::from(*removed) % KnownHeader::ALL.len()]]));
    if flags & 1 == 1 {
        writer.remove_other_names(NameClass::Plain);
    }
    let (name, input) = input.split_at(input.len().min(usize::from(*name_length & 31)));
    let (value, input) = input.split_at(input.len().min(usize::from(*value_length)));
    let added = crate::field_line::class(name).is_some() && !frames(name);
    if added && flags & 2 == 2 {
        writer.set(name, &[value, b"-", value]);
    } else if added {
        writer.prepend(name, &[value]);
    }
    let mut request = ParsedRequest::default();
    if request.parse(&mut BytesMut::from(input), &limits) == Ok(true) {
        let (method, mut out) = (request.method_name(), BytesMut::new());
        writer.remove(KnownHeader::Host);
        writer.prepend(b"Host", &[b"a"]);
        writer.write_request(method, b"/x", request.head(), &mut out);
        let mut again = ParsedRequest::default();
        assert_eq!(again.parse(&mut out, &limits), Ok(true), "{:?}", out.escape_ascii().to_string());
        assert_eq!((again.method_name(), again.target()), (method, &b"/x"[..]));
        assert!(out.is_empty());
        same_fields(again.head(), &writer, request.head());
    }
    let mut response = ParsedResponse::default();
    if response.parse(&mut BytesMut::from(input), true, 1 << 20) == Ok(true) {
        let mut out = Vec::new();
        writer.write_response(response.status(), response.reason(), response.head(), &mut out);
        let (mut again, mut out) = (ParsedResponse::default(), BytesMut::from(&out[..]));
        // A removed `Content-Length` or an HTTP/1.0 response may change the framing, but not the fields.
        if again.parse(&mut out, true, 2 << 20) == Ok(true) {
            assert_eq!((again.status(), again.reason()), (response.status(), response.reason()));
            assert!(out.is_empty());
            same_fields(again.head(), &writer, response.head());
        } else {
            assert!(response.head().has(KnownHeader::TransferEncoding));
        }
    }
}

/// Whether an added field would make the head invalid.
fn frames(name: &[u8]) -> bool {
    let framing = [KnownHeader::Host, KnownHeader::ContentLength, KnownHeader::TransferEncoding];
    KnownHeader::of(name).is_some_and(|known| framing.contains(&known))
}

/// The written head has the added fields and those that were kept.
fn same_fields(written: &Head, writer: &HeadWriter, original: &Head) {
    let kept = original.fields().filter(|field| !writer.removes(field));
    let mut expected: Vec<_> = kept.map(|field| (field.name, field.value)).collect();
    expected.extend(writer.added().map(|(name, value)| (name, value.trim_ascii())));
    let mut found: Vec<_> = written.fields().map(|field| (field.name, field.value)).collect();
    let kept_in_order = found.iter().filter(|field| expected.contains(field)).count();
    assert_eq!(kept_in_order, found.len());
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
}
