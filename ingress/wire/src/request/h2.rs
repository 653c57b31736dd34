//! The head of an HTTP/2 request as the same flat list: written once as text, with the pseudo-header fields as request line and
//! `host`.

use bytes::{BufMut, BytesMut};
use http::header::{COOKIE, HOST};
use http::request::Parts;

use super::{Method, ParsedRequest, Progress};
use crate::field_line;
use crate::framing::{ConnectionOptions, HttpVersion, MessageFraming, content_length};
use crate::head::{FieldSpan, MAX_FIELDS, NameClass};
use crate::known_header::KnownHeader;
use crate::request_head::{self, HeadError, HeadLimits};

impl ParsedRequest {
    /// Takes over a head as h2 has decoded it. `buffer` receives its text and must
    /// have nothing else in it. Several `cookie` fields
    /// become one (RFC 9113 §8.2.3).
    ///
    /// `has_body` says whether the stream has not ended with the head.
    ///
    /// # Errors
    /// When the head is refused: it is checked as strictly as an HTTP/1 head.
    pub fn assign_h2(
        &mut self,
        parts: &Parts,
        has_body: bool,
        buffer: &mut BytesMut,
        limits: &HeadLimits,
    ) -> Result<(), HeadError> {
        self.clear();
        request_head::check_h2_within(parts, limits)?;
        if parts.headers.len() >= MAX_FIELDS {
            return Err(HeadError::HeaderTooLarge);
        }
        buffer.clear();
        buffer.reserve(1024);
        let method = parts.method.as_str().as_bytes();
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).as_bytes();
        buffer.put_slice(method);
        buffer.put_u8(b' ');
        let start = buffer.len() as u32;
        buffer.put_slice(target);
        self.origin = (start, buffer.len() as u32);
        self.authority = (0, 0);
        self.method = Method::of(method);
        self.method_length = method.len() as u32;
        self.version = HttpVersion::Http2;
        buffer.put_slice(b" HTTP/2.0");
        self.line_end = buffer.len() as u32;
        buffer.put_slice(b"\r\n");
        let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        if let Some(host) = authority {
            field_line::write(&mut self.head, b"host", host, buffer);
        }
        for (name, value) in &parts.headers {
            if *name != COOKIE && (authority.is_none() || *name != HOST) {
                field_line::write(&mut self.head, name.as_str().as_bytes(), value.as_bytes(), buffer);
            }
        }
        let mut cookies = parts.headers.get_all(COOKIE).iter().map(|value| value.as_bytes());
        if let Some(first) = cookies.next() {
            self.add_cookies(first, cookies, buffer);
        }
        let end = buffer.len();
        buffer.put_slice(b"\r\n");
        self.head.set_bytes(buffer.split().freeze(), end);
        let lengths = KnownHeader::ContentLength;
        let length = self.head.get(lengths).map(content_length);
        self.framing = match (has_body, length) {
            _ if self.head.is_repeated(lengths) => return self.refuse_h2(),
            (_, Some(None)) => return self.refuse_h2(),
            (_, Some(Some(length))) => MessageFraming::Length(length),
            (true, None) => MessageFraming::Chunked,
            (false, None) => MessageFraming::None,
        };
        self.options = ConnectionOptions::default();
        self.progress = Progress { is_complete: true, ..Progress::default() };
        Ok(())
    }

    fn refuse_h2(&mut self) -> Result<(), HeadError> {
        self.clear();
        Err(HeadError::Malformed)
    }

    fn add_cookies<'a>(&mut self, first: &[u8], rest: impl Iterator<Item = &'a [u8]>, buffer: &mut BytesMut) {
        let start = buffer.len();
        buffer.put_slice(b"cookie: ");
        let value = buffer.len();
        buffer.put_slice(first);
        for cookie in rest {
            buffer.put_slice(b"; ");
            buffer.put_slice(cookie);
        }
        let value_end = value + buffer[value..].trim_ascii_end().len();
        buffer.put_slice(b"\r\n");
        self.head.push(FieldSpan {
            name: start as u32,
            value: value as u32,
            value_end: value_end as u32,
            name_length: b"cookie".len() as u16,
            known: Some(KnownHeader::Cookie),
            class: NameClass::Plain,
        });
    }
}
