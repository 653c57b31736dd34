//! Writes the head of an HTTP/1 response.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use http::{StatusCode, Version, response};
use hyper::ext::ReasonPhrase;

use crate::io::clock::Clock;
use crate::observe::format::number;

/// How the client finds the end of a response's body (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    /// It must not have one: the response to HEAD, 1xx, 204, 304.
    None,
    Length(u64),
    Chunked,
    /// The body ends with the connection, for HTTP/1.0.
    UntilClose,
}

impl BodyFraming {
    /// The framing of a response whose body has this length, if that is known.
    pub(super) fn of(is_head: bool, version: Version, status: StatusCode, length: Option<u64>) -> Self {
        if is_head || status.is_informational() || matches!(status.as_u16(), 204 | 304) {
            return Self::None;
        }
        match length {
            Some(length) => Self::Length(length),
            None if version == Version::HTTP_11 => Self::Chunked,
            None => Self::UntilClose,
        }
    }
}

/// What the response says about the connection after it (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterResponse {
    /// The default of HTTP/1.1, which needs no field.
    Open,
    /// The client speaks HTTP/1.0 and has asked for it.
    KeepAlive,
    Close,
    /// After 101 (Switching Protocols).
    Upgrade,
}

impl AfterResponse {
    fn field(self) -> &'static [u8] {
        match self {
            Self::Open => b"",
            Self::KeepAlive => b"Connection: keep-alive\r\n",
            Self::Close => b"Connection: close\r\n",
            Self::Upgrade => b"Connection: upgrade\r\n",
        }
    }
}

/// Writes a head. The fields of framing, date and connection are the proxy's, whatever `parts` contain. Hot: no allocation once the
/// buffer has grown.
pub(super) fn write(
    parts: &response::Parts,
    framing: BodyFraming,
    after: AfterResponse,
    clock: &Clock,
    out: &mut BytesMut,
) -> Bytes {
    out.reserve(1024);
    let reason = parts.extensions.get::<ReasonPhrase>().map(ReasonPhrase::as_bytes);
    let reason = reason.unwrap_or_else(|| parts.status.canonical_reason().unwrap_or_default().as_bytes());
    put(out, &[b"HTTP/1.1 ", parts.status.as_str().as_bytes(), b" ", reason, b"\r\nDate: "]);
    clock.write_http_date(out);
    out.put_slice(b"\r\n");
    for (name, value) in &parts.headers {
        match *name {
            CONNECTION | DATE | TRANSFER_ENCODING => continue,
            CONTENT_LENGTH if framing != BodyFraming::None => continue,
            _ => {}
        }
        title_case(name.as_str().as_bytes(), out);
        put(out, &[b": ", value.as_bytes(), b"\r\n"]);
    }
    match framing {
        BodyFraming::Length(length) => {
            out.put_slice(b"Content-Length: ");
            number(out, length);
            out.put_slice(b"\r\n");
        }
        BodyFraming::Chunked => out.put_slice(b"Transfer-Encoding: chunked\r\n"),
        BodyFraming::None | BodyFraming::UntilClose => {}
    }
    put(out, &[after.field(), b"\r\n"]);
    out.split().freeze()
}

/// Writes a name, which the `http` crate has in lower case, with capitals, as most servers send it: `Content-Type`.
fn title_case(name: &[u8], out: &mut BytesMut) {
    let mut starts_word = true;
    for byte in name {
        out.put_u8(if starts_word { byte.to_ascii_uppercase() } else { *byte });
        starts_word = *byte == b'-';
    }
}

fn put(out: &mut BytesMut, parts: &[&[u8]]) {
    for part in parts {
        out.put_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;

    #[test]
    fn the_framing_follows_rfc_9112() {
        use BodyFraming::{Chunked, Length, None as NoBody, UntilClose};
        let (http11, http10) = (Version::HTTP_11, Version::HTTP_10);
        for (is_head, version, status, length, framing) in [
            (false, http11, 200, Some(5), Length(5)),
            (false, http11, 200, Some(0), Length(0)),
            (false, http11, 200, None, Chunked),
            (false, http10, 200, None, UntilClose),
            (true, http11, 200, None, NoBody),
            (true, http11, 404, Some(5), NoBody),
            (false, http11, 204, Some(0), NoBody),
            (false, http11, 304, None, NoBody),
            (false, http11, 101, Some(0), NoBody),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(BodyFraming::of(is_head, version, status, length), framing, "{status}");
        }
    }

    fn written(fields: &[(&str, &str)], framing: BodyFraming, after: AfterResponse) -> String {
        let mut parts = Response::new(()).into_parts().0;
        for (name, value) in fields {
            parts.headers.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        let clock = Clock::new(jiff::tz::TimeZone::UTC);
        let head = write(&parts, framing, after, &clock, &mut BytesMut::new());
        let head = String::from_utf8(head.to_vec()).unwrap();
        let (before, rest) = head.split_once("Date: ").unwrap();
        let (date, rest) = rest.split_once("\r\n").unwrap();
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
        format!("{before}{rest}").replace("\r\n", "\n")
    }

    #[test]
    fn the_fields_of_framing_and_connection_are_the_proxy_s() {
        let given = [
            ("content-length", "7"),
            ("x-a", "1"),
            ("transfer-encoding", "gzip"),
            ("connection", "x-a"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
        ];
        assert_eq!(
            written(&given, BodyFraming::Length(5), AfterResponse::Open),
            "HTTP/1.1 200 OK\nX-A: 1\nSet-Cookie: a=1\nSet-Cookie: b=2\nContent-Length: 5\n\n"
        );
        assert_eq!(
            written(&given[..2], BodyFraming::Chunked, AfterResponse::Close),
            "HTTP/1.1 200 OK\nX-A: 1\nTransfer-Encoding: chunked\nConnection: close\n\n"
        );
        // The response to HEAD has the length that the body would have.
        assert_eq!(
            written(&given[..1], BodyFraming::None, AfterResponse::KeepAlive),
            "HTTP/1.1 200 OK\nContent-Length: 7\nConnection: keep-alive\n\n"
        );
        assert_eq!(
            written(&[("upgrade", "websocket")], BodyFraming::None, AfterResponse::Upgrade),
            "HTTP/1.1 200 OK\nUpgrade: websocket\nConnection: upgrade\n\n"
        );
    }
}
