//! The head of an endpoint's response (RFC 9112 §4, §6.3).

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};
use smallvec::SmallVec;

use crate::upstream::error::UpstreamError;

/// The longest head in bytes that `proxy-buffer-size` can allow. As with nginx, the number of fields is not limited.
const MAX_HEAD: usize = 1 << 20;
/// Nearly every response has fewer headers than this.
const USUAL: usize = 64;

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseFraming {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// The head of a response without its headers, which are returned separately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    /// The endpoint's reason phrase where it differs from the standard's.
    pub(crate) reason: Option<Bytes>,
    pub(crate) framing: ResponseFraming,
    /// Another request may follow on the connection.
    pub(crate) keep_alive: bool,
}

/// Removes a complete head from the front of the read buffer, and adds its headers to `headers`. Drops connection-specific
/// fields (RFC 9110 §7.6.1) and `Date`, which the proxy sets itself. A head is at most `limit` bytes long.
pub(crate) fn parse(
    read_buffer: &mut BytesMut,
    is_head: bool,
    limit: usize,
    headers: &mut HeaderMap,
) -> Result<Option<ResponseHead>, UpstreamError> {
    let limit = limit.min(MAX_HEAD);
    let mut usual = [const { MaybeUninit::uninit() }; USUAL];
    let lines = match HeadLayout::of(read_buffer, &mut usual) {
        // A field has at least four bytes, so this is enough for all.
        Err(httparse::Error::TooManyHeaders) => HeadLayout::of(
            read_buffer,
            &mut vec![MaybeUninit::uninit(); read_buffer.len().min(limit) / 4 + 1],
        ),
        lines => lines,
    };
    let HeadLayout { length, status, version, reason, spans } = match lines {
        Ok(Some(lines)) if lines.length <= limit => lines,
        Ok(None) if read_buffer.len() < limit => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => {
            return Err(UpstreamError::Invalid("its head is longer than proxy-buffer-size"));
        }
        Err(_) => return Err(UpstreamError::Invalid("malformed head")),
    };
    let status = StatusCode::from_u16(status).map_err(|_| UpstreamError::Invalid("no such status"))?;
    let head = read_buffer.split_to(length).freeze();
    let reason = head.slice(reason.0 as usize..reason.1 as usize);
    let is_standard = status.canonical_reason().is_some_and(|standard| standard.as_bytes() == reason);
    let mut fields = ResponseFields::default();
    for HeaderSpan { name, name_end, value, value_end } in spans {
        let name = &head[name as usize..name_end as usize];
        let value = head.slice(value as usize..value_end as usize);
        fields.header(name, value, headers)?;
    }
    fields.finish(headers, status);
    let framing = fields.framing(status, version, is_head)?;
    // Some endpoints send a body with 204, which must not have one. It must not be read as the next response.
    let has_stray_body = status == StatusCode::NO_CONTENT && (fields.chunked || fields.length > Some(0));
    let keep_alive = !fields.close && !has_stray_body && (version == Version::HTTP_11 || fields.keep_alive);
    let reason = (!is_standard).then_some(reason);
    Ok(Some(ResponseHead {
        status,
        reason,
        framing,
        keep_alive: keep_alive && framing != ResponseFraming::UntilClose,
    }))
}

/// A parsed head as positions in the buffer, so that the buffer can be split afterwards.
struct HeadLayout {
    length: usize,
    status: u16,
    version: Version,
    /// The position of the reason phrase.
    reason: (u32, u32),
    spans: SmallVec<[HeaderSpan; USUAL]>,
}

/// The positions of a field; a head has at most [`MAX_HEAD`] bytes.
struct HeaderSpan {
    name: u32,
    name_end: u32,
    value: u32,
    value_end: u32,
}

impl HeadLayout {
    /// Parses a head; `None` until it is complete.
    fn of<'a>(
        read_buffer: &'a [u8],
        room: &mut [MaybeUninit<httparse::Header<'a>>],
    ) -> Result<Option<Self>, httparse::Error> {
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            read_buffer,
            room,
        )?;
        let httparse::Status::Complete(length) = parsed else { return Ok(None) };
        let base = read_buffer.as_ptr() as usize;
        let spans = response.headers.iter().map(|line| {
            let name = line.name.as_ptr() as usize - base;
            let value = if line.value.is_empty() { 0 } else { line.value.as_ptr() as usize - base };
            let (name_end, value_end) = (name + line.name.len(), value + line.value.len());
            let [name, name_end, value, value_end] = [name, name_end, value, value_end].map(|at| at as u32);
            HeaderSpan { name, name_end, value, value_end }
        });
        let reason = response.reason.filter(|reason| !reason.is_empty()).map_or((0, 0), |reason| {
            let at = reason.as_ptr() as usize - base;
            (at as u32, (at + reason.len()) as u32)
        });
        let version = if response.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        Ok(Some(Self {
            length,
            status: response.code.unwrap_or_default(),
            version,
            reason,
            spans: spans.collect(),
        }))
    }
}

#[derive(Default)]
struct ResponseFields {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    /// Headers that `Connection` lists.
    named: Vec<HeaderName>,
}

impl ResponseFields {
    fn header(&mut self, name: &[u8], value: Bytes, headers: &mut HeaderMap) -> Result<(), UpstreamError> {
        let name =
            HeaderName::from_bytes(name).map_err(|_| UpstreamError::Invalid("malformed header name"))?;
        match name {
            header::CONNECTION => return self.connection(&value),
            header::TRANSFER_ENCODING => {
                if self.chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(UpstreamError::Invalid("unknown Transfer-Encoding"));
                }
                self.chunked = true;
                return Ok(());
            }
            header::CONTENT_LENGTH => {
                let digits = value.trim_ascii();
                let plain = !digits.is_empty() && digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
                if self.length.is_some() || !plain {
                    return Err(UpstreamError::Invalid("malformed or repeated Content-Length"));
                }
                self.length = Some(digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
            }
            header::DATE => return Ok(()),
            _ if name == "keep-alive" || name == "proxy-connection" => return Ok(()),
            // Instructions to nginx, not for clients.
            _ if name.as_str().starts_with("x-accel-") => return Ok(()),
            _ => {}
        }
        let value = HeaderValue::from_maybe_shared(value)
            .map_err(|_| UpstreamError::Invalid("malformed header value"))?;
        headers.append(name, value);
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), UpstreamError> {
        for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if !token.eq_ignore_ascii_case(b"upgrade")
                && let Ok(name) = HeaderName::from_bytes(token)
                && name != header::CONTENT_LENGTH
            {
                self.named.push(name);
            }
        }
        Ok(())
    }

    fn finish(&self, headers: &mut HeaderMap, status: StatusCode) {
        for name in &self.named {
            headers.remove(name);
        }
        // A 204 response must not have one (RFC 9110 §8.6), and HTTP/2 clients refuse it.
        if self.chunked || status == StatusCode::NO_CONTENT {
            headers.remove(header::CONTENT_LENGTH);
        }
    }

    fn framing(
        &self,
        status: StatusCode,
        version: Version,
        is_head: bool,
    ) -> Result<ResponseFraming, UpstreamError> {
        if self.chunked && (self.length.is_some() || version == Version::HTTP_10) {
            return Err(UpstreamError::Invalid(
                "Transfer-Encoding together with Content-Length or in HTTP/1.0",
            ));
        }
        if is_head || status.is_informational() || matches!(status.as_u16(), 204 | 304) {
            return Ok(ResponseFraming::None);
        }
        Ok(match self.length {
            _ if self.chunked => ResponseFraming::Chunked,
            Some(0) => ResponseFraming::None,
            Some(length) => ResponseFraming::Length(length),
            None => ResponseFraming::UntilClose,
        })
    }
}

/// Parses the trailer section after the last chunk (RFC 9110 §6.5). Drops fields that would change how the message is framed
/// or routed.
pub(crate) fn trailers(text: &[u8]) -> Result<HeaderMap, UpstreamError> {
    let mut trailers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        let colon = memchr::memchr(b':', line).ok_or(UpstreamError::Invalid("malformed trailer"))?;
        let name = HeaderName::from_bytes(&line[..colon])
            .map_err(|_| UpstreamError::Invalid("malformed trailer"))?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii())
            .map_err(|_| UpstreamError::Invalid("malformed trailer"))?;
        if !matches!(
            name,
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION | header::HOST
        ) {
            trailers.append(name, value);
        }
    }
    Ok(trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64 * 1024;

    fn read(lines: &[&str], is_head: bool) -> Result<(ResponseHead, HeaderMap), UpstreamError> {
        let mut text: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        text.push_str("\r\nrest");
        let (mut read_buffer, mut headers) = (BytesMut::from(text.as_str()), HeaderMap::new());
        let head = parse(&mut read_buffer, is_head, LIMIT, &mut headers)?.expect("the case is a whole head");
        assert_eq!(&read_buffer[..], b"rest");
        Ok((head, headers))
    }

    #[test]
    fn the_framing_follows_rfc_9112() {
        let cases: &[(&[&str], bool, ResponseFraming, bool)] = &[
            (&["HTTP/1.1 200 OK", "Content-Length: 5"], false, ResponseFraming::Length(5), true),
            (&["HTTP/1.1 200 OK", "Content-Length: 5"], true, ResponseFraming::None, true),
            (&["HTTP/1.1 200 OK", "Content-Length: 0"], false, ResponseFraming::None, true),
            (&["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"], false, ResponseFraming::Chunked, true),
            (&["HTTP/1.1 200 OK"], false, ResponseFraming::UntilClose, false),
            (&["HTTP/1.1 204 No Content"], false, ResponseFraming::None, true),
            (&["HTTP/1.1 204 No Content", "Content-Length: 0"], false, ResponseFraming::None, true),
            (&["HTTP/1.1 204 No Content", "Content-Length: 5"], false, ResponseFraming::None, false),
            (&["HTTP/1.1 204 No Content", "Transfer-Encoding: chunked"], false, ResponseFraming::None, false),
            (&["HTTP/1.1 304 Not Modified", "Content-Length: 9"], false, ResponseFraming::None, true),
            (
                &["HTTP/1.1 200 OK", "Content-Length: 5", "Connection: x, Close"],
                false,
                ResponseFraming::Length(5),
                false,
            ),
            (&["HTTP/1.0 200 OK", "Content-Length: 5"], false, ResponseFraming::Length(5), false),
            (
                &["HTTP/1.0 200 OK", "Content-Length: 5", "Connection: Keep-Alive"],
                false,
                ResponseFraming::Length(5),
                true,
            ),
            (
                &["HTTP/1.1 101 Switching Protocols", "Upgrade: x", "Connection: upgrade"],
                false,
                ResponseFraming::None,
                true,
            ),
        ];
        for (lines, is_head, framing, keep_alive) in cases {
            let (head, _) = read(lines, *is_head).unwrap_or_else(|error| panic!("{lines:?}: {error}"));
            assert_eq!((head.framing, head.keep_alive), (*framing, *keep_alive), "{lines:?}");
        }
    }

    #[test]
    fn responses_that_can_be_read_in_two_ways_are_invalid() {
        let cases: &[&[&str]] = &[
            &["HTTP/1.1 200 OK", "Content-Length: 5", "Transfer-Encoding: chunked"],
            &["HTTP/1.1 200 OK", "Content-Length: 5", "Content-Length: 5"],
            &["HTTP/1.1 200 OK", "Content-Length: 5, 5"],
            &["HTTP/1.1 200 OK", "Content-Length: x"],
            &["HTTP/1.1 200 OK", "Transfer-Encoding: gzip, chunked"],
            &["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
            &["HTTP/1.0 200 OK", "Transfer-Encoding: chunked"],
            &["HTTP/1.1 200 OK", "X: 1", " folded"],
            &["HTTP/1.1 200 OK", "X : 1"],
            &["HTTP/1.1 20 OK"],
            &["ICY 200 OK"],
        ];
        for lines in cases {
            assert!(matches!(read(lines, false), Err(UpstreamError::Invalid(_))), "{lines:?}");
        }
    }

    #[test]
    fn headers_of_the_connection_are_dropped() {
        let (_, headers) = read(
            &[
                "HTTP/1.1 200 OK",
                "Date: today",
                "Connection: close, X-Hop",
                "Keep-Alive: timeout=5",
                "X-Hop: 1",
                "Set-Cookie: a=1",
                "Set-Cookie: b=2",
                "X-Empty:",
                "Content-Length: 0",
            ],
            false,
        )
        .unwrap();
        let seen: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
        assert_eq!(seen, ["content-length=0", "set-cookie=a=1", "set-cookie=b=2", "x-empty="]);
    }

    #[test]
    fn a_204_response_has_no_content_length() {
        for (status, length) in [("200 OK", true), ("304 Not Modified", true), ("204 No Content", false)] {
            let (_, headers) = read(&[&format!("HTTP/1.1 {status}"), "Content-Length: 5"], false).unwrap();
            assert_eq!(headers.contains_key("content-length"), length, "{status}");
        }
    }

    #[test]
    fn an_incomplete_head_needs_more_input_and_a_huge_one_is_refused() {
        let mut headers = HeaderMap::new();
        let mut read_buffer = BytesMut::from("HTTP/1.1 200 OK\r\nX: ");
        assert_eq!(parse(&mut read_buffer, false, LIMIT, &mut headers).unwrap(), None);
        read_buffer.extend_from_slice(&vec![b'x'; LIMIT]);
        assert!(parse(&mut read_buffer, false, LIMIT, &mut headers).is_err());
    }

    #[test]
    fn a_head_may_be_as_long_as_the_limit_and_never_longer_than_a_mebibyte() {
        let read = |length: usize, limit: usize| {
            let filler = "x".repeat(length - "HTTP/1.1 200 OK\r\nX: \r\n\r\n".len());
            let text = format!("HTTP/1.1 200 OK\r\nX: {filler}\r\n\r\n");
            let (mut read_buffer, mut headers) = (BytesMut::from(text.as_str()), HeaderMap::new());
            parse(&mut read_buffer, false, limit, &mut headers).is_ok_and(|head| head.is_some())
        };
        for (length, limit, fits) in [
            (4096, 4096, true),
            (4097, 4096, false),
            (100_000, 128 << 10, true),
            (MAX_HEAD, usize::MAX, true),
            (MAX_HEAD + 1, usize::MAX, false),
        ] {
            assert_eq!(read(length, limit), fits, "{length} of {limit}");
        }
    }

    #[test]
    fn the_number_of_headers_is_not_limited() {
        for count in [USUAL, USUAL + 1, 1000, 16_000] {
            let mut text = "HTTP/1.1 200 OK\r\n".to_owned() + &"a:\r\n".repeat(count);
            text.push_str("\r\n");
            let (mut read_buffer, mut headers) = (BytesMut::from(text.as_str()), HeaderMap::new());
            let head = parse(&mut read_buffer, true, LIMIT, &mut headers)
                .unwrap_or_else(|error| panic!("{count}: {error}"));
            assert!(head.is_some() && read_buffer.is_empty(), "{count}");
            assert_eq!(headers.get_all("a").iter().count(), count);
        }
        let mut many = BytesMut::from(("HTTP/1.1 200 OK\r\n".to_owned() + &"a:\r\n".repeat(40_000)).as_str());
        assert!(parse(&mut many, true, LIMIT, &mut HeaderMap::new()).is_err());
    }

    #[test]
    fn trailers_cannot_change_the_framing() {
        let read = trailers(b"grpc-status: 0\r\nContent-Length: 5\r\nhost: a\r\n").unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read["grpc-status"], "0");
        assert!(trailers(b"no colon\r\n").is_err());
    }
}
