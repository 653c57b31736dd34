//! The head of a request, parsed in one pass as its bytes arrive.
//!
//! Accepts exactly the heads that [`crate::request_head`] accepts: a head with two interpretations is refused. The
//! pass only decides whether a head is good. For a refused head, the checks of `request_head` find out why.

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

use crate::field_line::{self, Line};
use crate::framing::{ConnectionOptions, HttpVersion, MessageFraming, content_length, list_members};
use crate::head::Head;
use crate::known_header::KnownHeader;
use crate::request_head::{self, HeadError, HeadFinder, HeadLimits, RequestHead};
use crate::scan;

pub mod h2;

/// A request method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// `PATCH`
    Patch,
    /// `LOCK`
    Lock,
    /// Another one: see [`ParsedRequest::method_name`].
    Other,
}

impl Method {
    /// The method of this name. Names are case-sensitive.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"LOCK" => Self::Lock,
            _ => Self::Other,
        }
    }
}

/// The head of a request. Reuse it for one request after another.
#[derive(Clone, Debug, Default)]
pub struct ParsedRequest {
    head: Head,
    method: Method,
    version: HttpVersion,
    framing: MessageFraming,
    options: ConnectionOptions,
    method_length: u32,
    /// The path and query of the target; empty where an absolute-form target has none.
    origin: (u32, u32),
    /// The host and port of an absolute-form target; empty in others.
    authority: (u32, u32),
    /// The end of the request line without its line end.
    line_end: u32,
    progress: Progress,
}

/// How far the input was read.
#[derive(Clone, Debug, Default)]
struct Progress {
    /// Where the first line begins that is not read yet.
    line: usize,
    /// The end of the bytes in which that line has no end.
    scanned: usize,
    /// The request line was read; fields follow.
    in_fields: bool,
    is_complete: bool,
    /// Set once something is wrong with the head: searches its end.
    failed: Option<HeadFinder>,
}

/// What one call has found.
enum Step {
    More,
    /// The head has this length; the empty line begins at the second position.
    Complete(usize, usize),
    /// The head will be refused.
    Odd,
}

impl ParsedRequest {
    /// Reads a head from the front of `buffer`. Returns true once it is complete, and has then removed it from the buffer. Empty
    /// lines before it are skipped (RFC 9112 §2.2).
    ///
    /// Between two calls for one head, the buffer may only grow. The cost is linear in its length, however it arrives. A call after
    /// a complete head begins with the next one. Hot: allocates nothing for a head of up to 32 fields.
    ///
    /// # Errors
    /// When the head is refused. The buffer still has it, see [`refused_line`].
    pub fn parse(&mut self, buffer: &mut BytesMut, limits: &HeadLimits) -> Result<bool, HeadError> {
        if self.progress.is_complete {
            self.clear();
        }
        if self.progress.failed.is_none() {
            while !self.progress.in_fields && buffer.starts_with(b"\r\n") {
                buffer.advance(2);
                self.progress.scanned = 0;
            }
            match self.advance(buffer, limits) {
                Step::More => return Ok(false),
                Step::Complete(length, end) => {
                    self.head.set_bytes(buffer.split_to(length).freeze(), end);
                    self.options = ConnectionOptions::of(&self.head);
                    self.progress.is_complete = true;
                    return Ok(true);
                }
                Step::Odd => {}
            }
        }
        self.refuse(buffer, limits)
    }

    /// Forgets the head and releases its bytes.
    pub fn clear(&mut self) {
        self.head.clear();
        self.progress = Progress::default();
    }

    /// The fields.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether the head is complete: nothing else is meaningful before that.
    pub fn is_complete(&self) -> bool {
        self.progress.is_complete
    }

    /// Whether the first byte of a head has arrived and its last has not.
    pub fn is_partial(&self) -> bool {
        self.progress.scanned > 0 && !self.progress.is_complete
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method as received.
    pub fn method_name(&self) -> &[u8] {
        self.head.slice(0, self.method_length)
    }

    /// `GET /path HTTP/1.1`, for the log.
    pub fn line(&self) -> &[u8] {
        self.head.slice(0, self.line_end)
    }

    /// The same, as a part of the buffer.
    pub fn line_bytes(&self) -> Bytes {
        self.head.bytes().slice_ref(self.line())
    }

    /// The path and query as the client wrote them (`$request_uri`), without a fragment. Begins with a slash.
    pub fn target(&self) -> &[u8] {
        match self.origin {
            (start, end) if start == end => b"/",
            (start, end) => self.head.slice(start, end),
        }
    }

    /// The same, as a part of the buffer.
    pub fn target_bytes(&self) -> Bytes {
        match self.origin {
            (start, end) if start == end => Bytes::from_static(b"/"),
            (start, end) => self.head.bytes().slice(start as usize..end as usize),
        }
    }

    /// The host and port: those of an absolute-form target, else `Host`. `None` for an HTTP/1.0 request without.
    pub fn authority(&self) -> Option<&[u8]> {
        match self.authority {
            (start, end) if start < end => Some(self.head.slice(start, end)),
            _ => self.head.get(KnownHeader::Host),
        }
    }

    /// The version that the client speaks.
    pub fn version(&self) -> HttpVersion {
        self.version
    }

    /// How the body is delimited.
    pub fn framing(&self) -> MessageFraming {
        self.framing
    }

    /// What `Connection` says.
    pub fn connection(&self) -> &ConnectionOptions {
        &self.options
    }

    /// Whether the client allows another request on the connection.
    pub fn keeps_alive(&self) -> bool {
        self.options.keeps_alive(self.version)
    }

    /// The protocol that the client asks to switch to, unless it is h2c: RFC 9113 has removed h2c, and further requests on such a
    /// connection would bypass the routes. HTTP/2 has no such mechanism.
    pub fn upgrade(&self) -> Option<&[u8]> {
        let protocol = self.head.get(KnownHeader::Upgrade)?;
        let is_h2 = |name: &[u8]| name.first_chunk::<2>().is_some_and(|two| two.eq_ignore_ascii_case(b"h2"));
        let names_h2 = list_members(&self.head, KnownHeader::Upgrade).any(is_h2);
        (!protocol.is_empty() && !names_h2 && self.version < HttpVersion::Http2).then_some(protocol)
    }

    /// Whether the client waits for 100 (Continue) before it sends its body (RFC 9110 §10.1.1).
    pub fn expects_continue(&self) -> bool {
        let expected = self.head.get(KnownHeader::Expect);
        self.version > HttpVersion::Http10
            && expected.is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"))
    }

    /// Whether the client accepts trailers (`TE: trailers`), as gRPC requires.
    pub fn accepts_trailers(&self) -> bool {
        self.head.has(KnownHeader::Te)
            && list_members(&self.head, KnownHeader::Te)
                .any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
    }

    fn advance(&mut self, input: &[u8], limits: &HeadLimits) -> Step {
        let Progress { line, scanned, .. } = self.progress;
        // A line that was incomplete is read again once it has an end, not before.
        if scanned > line && memchr::memchr(b'\n', input.get(scanned..).unwrap_or_default()).is_none() {
            return self.wait(input, line, limits);
        }
        let mut line = line;
        if !self.progress.in_fields {
            match self.request_line(input) {
                Line::Next(next) if next <= limits.line && next <= limits.head => line = next,
                Line::More => return self.wait(input, 0, limits),
                _ => return Step::Odd,
            }
            self.progress.in_fields = true;
        }
        loop {
            match field_line::read::<false>(input, line, &mut self.head) {
                Line::Next(next) if next - line <= limits.line && next <= limits.head => line = next,
                Line::End(next) => {
                    return match self.check(input) {
                        Some(()) => Step::Complete(next, line),
                        None => Step::Odd,
                    };
                }
                Line::More => return self.wait(input, line, limits),
                Line::Next(_) | Line::Malformed => return Step::Odd,
            }
        }
    }

    /// Records that the line is incomplete.
    fn wait(&mut self, input: &[u8], line: usize, limits: &HeadLimits) -> Step {
        // Refuses a TLS handshake on a plain port at once: it may contain no line end.
        let is_text = input.first().is_none_or(|byte| request_head::method_byte(byte) || *byte == b'\r');
        if !is_text || input.len() - line >= limits.line || input.len() > limits.head {
            return Step::Odd;
        }
        self.progress.line = line;
        self.progress.scanned = input.len();
        Step::More
    }

    fn request_line(&mut self, input: &[u8]) -> Line {
        let Some(method) = input.iter().position(|byte| !request_head::method_byte(byte)) else {
            return Line::More;
        };
        if input == b"\r" {
            // Perhaps an empty line before the head.
            return Line::More;
        }
        if method == 0 || input[method] != b' ' {
            return Line::Malformed;
        }
        let start = method + 1;
        let Some(length) = scan::space_or_control(&input[start..]) else { return Line::More };
        let end = start + length;
        if length == 0 || input[end] != b' ' {
            return Line::Malformed;
        }
        self.version = match input[end + 1..].first_chunk::<10>() {
            Some(b"HTTP/1.1\r\n") => HttpVersion::Http11,
            Some(b"HTTP/1.0\r\n") => HttpVersion::Http10,
            Some(_) => return Line::Malformed,
            None if memchr::memchr(b'\n', &input[end..]).is_some() => return Line::Malformed,
            None => return Line::More,
        };
        let Ok((origin, authority)) = request_head::split_target(input, start..end) else {
            return Line::Malformed;
        };
        let narrow = |range: Range<usize>| (range.start as u32, range.end as u32);
        self.method = Method::of(&input[..method]);
        self.method_length = method as u32;
        (self.origin, self.authority) = (narrow(origin), narrow(authority));
        self.line_end = (end + 9) as u32;
        Line::Next(end + 11)
    }

    /// Checks what the fields say together. `None` if the head is to be refused.
    #[inline]
    fn check(&mut self, input: &[u8]) -> Option<()> {
        let head = &self.head;
        let get = |header| head.value_in(header, input);
        if head.is_repeated(KnownHeader::Host) {
            return None;
        }
        match (self.authority, get(KnownHeader::Host)) {
            ((start, end), host) if start < end => {
                let authority = input.get(start as usize..end as usize)?;
                let differs = host.is_some_and(|host| !host.eq_ignore_ascii_case(authority));
                if differs || !request_head::valid_host(authority) {
                    return None;
                }
            }
            (_, Some(host)) if !request_head::valid_host(host) => return None,
            _ => {}
        }
        let is_http11 = self.version == HttpVersion::Http11;
        if is_http11 && !head.has(KnownHeader::Host) {
            return None;
        }
        let (length, coding) = (KnownHeader::ContentLength, KnownHeader::TransferEncoding);
        if head.is_repeated(length) || head.is_repeated(coding) {
            return None;
        }
        self.framing = match (get(length), get(coding)) {
            (None, None) => MessageFraming::None,
            (Some(value), None) => MessageFraming::Length(content_length(value)?),
            (None, Some(value)) if is_http11 && value.eq_ignore_ascii_case(b"chunked") => {
                MessageFraming::Chunked
            }
            _ => return None,
        };
        if self.method == Method::Other
            && matches!(&input[..self.method_length as usize], b"CONNECT" | b"TRACE")
        {
            return None;
        }
        Some(())
    }

    /// Finds out why the head is refused. The reason may be known only once it is complete.
    #[cold]
    fn refuse(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<bool, HeadError> {
        let finder = self.progress.failed.get_or_insert_default();
        self.progress.scanned = buffer.len();
        match finder.find_within(buffer, limits)? {
            None => Ok(false),
            Some(length) => {
                let checked = RequestHead::check(Bytes::copy_from_slice(&buffer[..length]));
                debug_assert!(
                    checked.is_err(),
                    "the passes disagree on {:?}",
                    buffer[..length].escape_ascii().to_string()
                );
                Err(checked.err().unwrap_or(HeadError::Malformed))
            }
        }
    }
}

/// The request line of a refused head, as far as it was received, for the log.
pub fn refused_line<'a>(buffer: &'a [u8], limits: &HeadLimits) -> &'a [u8] {
    let shown = &buffer[..buffer.len().min(limits.line)];
    shown.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
