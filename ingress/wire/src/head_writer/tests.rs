use bytes::BytesMut;

use super::*;
use crate::request::ParsedRequest;
use crate::request_head::HeadLimits;
use crate::response::{HIDDEN, MAX_RESPONSE_HEAD, ParsedResponse};

fn request(fields: &str) -> ParsedRequest {
    let (mut request, mut buffer) = (ParsedRequest::default(), BytesMut::new());
    buffer.extend_from_slice(format!("GET /a HTTP/1.1\r\n{fields}\r\n").as_bytes());
    assert_eq!(request.parse(&mut buffer, &HeadLimits::default()), Ok(true), "{fields:?}");
    request
}

fn written(writer: &HeadWriter, fields: &str) -> String {
    let (request, mut out) = (request(fields), Vec::new());
    writer.write_request(b"PUT", b"/b", request.head(), &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn without_edits_all_fields_are_copied() {
    let fields = "Host: a\r\nX:1\r\nx-Y: 2 \r\n";
    assert_eq!(written(&HeadWriter::default(), fields), format!("PUT /b HTTP/1.1\r\n{fields}\r\n"));
    assert_eq!(written(&HeadWriter::default(), "Host: a\r\n"), "PUT /b HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut out = Vec::new();
    HeadWriter::default().write_http10_request(b"PUT", b"/b", request("Host: a\r\n").head(), &mut out);
    assert_eq!(out, b"PUT /b HTTP/1.0\r\nHost: a\r\n\r\n");
}

#[test]
fn fields_are_removed_replaced_and_added() {
    let mut writer = HeadWriter::default();
    writer.remove(KnownHeader::Accept);
    writer.remove_named(b"X-Secret");
    writer.remove_other_names(NameClass::Plain);
    writer.prepend(b"X-Real-IP", &[b"192.0.2.1"]);
    writer.set(b"User-Agent", &[b"a", b"/", b"1"]);
    let fields = "accept: 1\r\nHost: a\r\nAccept: 2\r\nX_y: 3\r\nX-One: 1\r\nX-Two: 2\r\nx-secret: 4\r\nUSER-AGENT: b\r\nX-Three: 3\r\n";
    let expected = "PUT /b HTTP/1.1\r\nX-Real-IP: 192.0.2.1\r\nHost: a\r\nX-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\n\
        User-Agent: a/1\r\n\r\n";
    assert_eq!(written(&writer, fields), expected);
    assert!(writer.added().eq([(&b"X-Real-IP"[..], &b"192.0.2.1"[..]), (b"User-Agent", b"a/1")]));
    let mut merged = HeadWriter::default();
    merged.merge(&writer);
    assert_eq!(written(&merged, fields), expected);
    let request = request(fields);
    let kept: Vec<_> =
        request.head().fields().filter(|field| !writer.removes(field)).map(|field| field.value).collect();
    assert_eq!(kept, [b"a", b"1", b"2", b"3"]);
    writer.clear();
    assert_eq!(written(&writer, fields), format!("PUT /b HTTP/1.1\r\n{fields}\r\n"));
}

#[test]
fn fields_of_the_connection_are_left_out() {
    let fields = "Host: a\r\nConnection: close, X-Hop , Cookie,te\r\nx-hop: 1\r\nTE: trailers\r\nCookie: a=b\r\nX: 1\r\n";
    let (request, mut writer, mut out) = (request(fields), HeadWriter::default(), Vec::new());
    writer.remove_listed(request.head(), request.connection(), KnownSet::of(&[KnownHeader::Te]));
    writer.write_request(b"GET", b"/", request.head(), &mut out);
    assert_eq!(out, b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nX: 1\r\n\r\n");
}

#[test]
fn an_added_value_cannot_end_its_line() {
    let mut writer = HeadWriter::default();
    writer.append(b"Location", &[b"/a\r\nSet-Cookie: b", b"\0\t\x7f"]);
    let expected = "PUT /b HTTP/1.1\r\nHost: a\r\nLocation: /a  Set-Cookie: b \t \r\n\r\n";
    assert_eq!(written(&writer, "Host: a\r\n"), expected);
}

#[test]
fn a_response_is_written_with_crlf_and_without_hidden_fields() {
    let text = "HTTP/1.1 299 So so\nServer: x\r\nSet-Cookie: a=1\nX-Accel-Redirect: /y\nset-cookie:  b=2 \nDate: now\n\n";
    let (mut response, mut buffer) = (ParsedResponse::default(), BytesMut::from(text));
    assert_eq!(response.parse(&mut buffer, false, MAX_RESPONSE_HEAD), Ok(true));
    let (mut writer, mut out) = (HeadWriter::default(), BytesMut::new());
    writer.remove_set(HIDDEN);
    writer.prepend(b"Date", &[b"today"]);
    writer.write_response(response.status(), response.reason(), response.head(), &mut out);
    assert_eq!(out, "HTTP/1.1 299 So so\r\nDate: today\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n");
}
