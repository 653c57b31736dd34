//! The head of an endpoint's response (RFC 9112 §4, §6.3), parsed in one pass as its bytes arrive.
//!
//! Accepts what httparse accepts: a line feed alone ends a line, the reason phrase may be missing, empty lines before the head are
//! skipped. Lines are not folded, a name is a token directly before its colon.

use bytes::{Buf, BytesMut};

use crate::field_line::{self, Line};
use crate::framing::{ConnectionOptions, HttpVersion, MessageFraming, content_length};
use crate::head::Head;
use crate::known_header::{KnownHeader, KnownSet};
use crate::scan;

pub mod cgi;
pub mod h2;

/// The limit of a head in bytes where `proxy-buffer-size` does not apply; as with nginx, the number of fields is not limited.
pub const MAX_RESPONSE_HEAD: usize = 64 * 1024;

/// The fields of a response that are not for the client: those of the connection, those that nginx hides because it sets them
/// itself or because they are instructions to it.
pub const HIDDEN: KnownSet = KnownSet::of(&[
    KnownHeader::Connection,
    KnownHeader::TransferEncoding,
    KnownHeader::KeepAlive,
    KnownHeader::ProxyConnection,
    KnownHeader::Date,
    KnownHeader::Server,
    KnownHeader::XPad,
    KnownHeader::XAccelBuffering,
    KnownHeader::XAccelCharset,
    KnownHeader::XAccelExpires,
    KnownHeader::XAccelLimitRate,
    KnownHeader::XAccelRedirect,
]);

/// Why a head is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// It is longer than the limit.
    TooLarge,
    /// It violates the syntax.
    Malformed,
    /// Its status is not a number from 100 on.
    Status,
    /// `Transfer-Encoding` is repeated or is not `chunked`.
    Coding,
    /// `Content-Length` is repeated or is not a number.
    Length,
    /// `Transfer-Encoding` together with `Content-Length`, or in HTTP/1.0.
    Ambiguous,
}

impl ResponseError {
    /// The reason for the log, about "the response".
    pub fn reason(self) -> &'static str {
        match self {
            Self::TooLarge => "its head is too large",
            Self::Malformed => "malformed head",
            Self::Status => "no such status",
            Self::Coding => "unknown Transfer-Encoding",
            Self::Length => "malformed or repeated Content-Length",
            Self::Ambiguous => "Transfer-Encoding together with Content-Length or in HTTP/1.0",
        }
    }
}

/// The head of a response. Reuse it for one response after another.
#[derive(Clone, Debug, Default)]
pub struct ParsedResponse {
    head: Head,
    status: u16,
    version: HttpVersion,
    reason: (u32, u32),
    framing: MessageFraming,
    options: ConnectionOptions,
    keeps_alive: bool,
    /// The first line that is not read yet.
    line: usize,
    /// The end of the bytes in which that line has no end.
    scanned: usize,
    in_fields: bool,
    is_complete: bool,
    is_cgi: bool,
}

impl ParsedResponse {
    /// Reads a head from the front of `buffer`. Returns true once it is complete, and has then removed it from the buffer.
    ///
    /// Between two calls for one head, the buffer may only grow. The cost is linear in its length, however it arrives. A call after
    /// a complete head begins with the next one: after an informational one (1xx), the final one follows.
    ///
    /// # Errors
    /// When the response is invalid.
    pub fn parse(
        &mut self,
        buffer: &mut BytesMut,
        is_head: bool,
        limit: usize,
    ) -> Result<bool, ResponseError> {
        if self.is_complete {
            self.clear();
        }
        if !self.in_fields {
            loop {
                match &buffer[..] {
                    [b'\n', ..] => buffer.advance(1),
                    [b'\r', b'\n', ..] => buffer.advance(2),
                    _ => break,
                }
                self.scanned = 0;
            }
        }
        let Some((length, end)) = self.advance(buffer, limit)? else { return Ok(false) };
        self.head.set_bytes(buffer.split_to(length).freeze(), end);
        self.complete(is_head)?;
        self.is_complete = true;
        Ok(true)
    }

    /// Forgets the head and releases its bytes.
    pub fn clear(&mut self) {
        self.head.clear();
        (self.line, self.scanned, self.in_fields, self.is_complete, self.is_cgi) =
            (0, 0, false, false, false);
    }

    /// The fields.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether the head is complete: nothing else is meaningful before that.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Whether it is of a CGI application, whose `Status` field is no header.
    pub fn is_cgi(&self) -> bool {
        self.is_cgi
    }

    /// The status, from 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase as received. Empty if there is none, or if it has bytes beyond ASCII.
    pub fn reason(&self) -> &[u8] {
        self.head.slice(self.reason.0, self.reason.1)
    }

    /// The version that the endpoint speaks.
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

    /// Whether another request may follow on the connection.
    pub fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    /// The length of the head, and where the empty line begins.
    fn advance(&mut self, input: &[u8], limit: usize) -> Result<Option<(usize, usize)>, ResponseError> {
        let is_new = |from: usize| memchr::memchr(b'\n', input.get(from..).unwrap_or_default()).is_some();
        // Another protocol is refused at its first bytes, before its line ends.
        let is_http = self.in_fields || self.scanned >= b"HTTP/1.1".len();
        if self.scanned > self.line && is_http && !is_new(self.scanned) {
            return self.wait(input, self.line, limit);
        }
        let mut line = self.line;
        if !self.in_fields {
            match self.status_line(input)? {
                Line::Next(next) => line = next,
                _ => return self.wait(input, 0, limit),
            }
            self.in_fields = true;
        }
        loop {
            match field_line::read::<true>(input, line, &mut self.head) {
                Line::Next(next) => line = next,
                Line::End(next) if next <= limit => return Ok(Some((next, line))),
                Line::End(_) => return Err(ResponseError::TooLarge),
                Line::More => return self.wait(input, line, limit),
                Line::Malformed => return Err(ResponseError::Malformed),
            }
            if line > limit {
                return Err(ResponseError::TooLarge);
            }
        }
    }

    fn wait<T>(&mut self, input: &[u8], line: usize, limit: usize) -> Result<Option<T>, ResponseError> {
        if input.len() >= limit {
            return Err(ResponseError::TooLarge);
        }
        (self.line, self.scanned) = (line, input.len());
        Ok(None)
    }

    fn status_line(&mut self, input: &[u8]) -> Result<Line, ResponseError> {
        const START: &[u8] = b"HTTP/1.";
        let Some((version, rest)) = input.split_first_chunk::<8>() else {
            // Refuses other protocols at once: they may contain no line end.
            let is_start = START.starts_with(&input[..input.len().min(START.len())]) || input == b"\r";
            return if is_start { Ok(Line::More) } else { Err(ResponseError::Malformed) };
        };
        self.version = match version {
            b"HTTP/1.1" => HttpVersion::Http11,
            b"HTTP/1.0" => HttpVersion::Http10,
            _ => return Err(ResponseError::Malformed),
        };
        let Some(length) = scan::control(rest) else { return Ok(Line::More) };
        let end = 8 + length;
        let next = match &input[end..] {
            [b'\n', ..] => end + 1,
            [b'\r', b'\n', ..] => end + 2,
            [b'\r'] => return Ok(Line::More),
            _ => return Err(ResponseError::Malformed),
        };
        let ([b' ', digits @ ..], reason) = rest[..length].split_at(length.min(4)) else {
            return Err(ResponseError::Malformed);
        };
        let has_reason = match reason {
            [] => false,
            [b' ', ..] => true,
            _ => return Err(ResponseError::Malformed),
        };
        let digits: &[u8; 3] = digits.try_into().map_err(|_| ResponseError::Malformed)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(ResponseError::Malformed);
        }
        self.status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
        if self.status < 100 {
            return Err(ResponseError::Status);
        }
        let start = if has_reason && reason.is_ascii() { 13 } else { end };
        self.reason = (start as u32, end as u32);
        Ok(Line::Next(next))
    }

    /// Reads what the fields say about body and connection.
    fn complete(&mut self, is_head: bool) -> Result<(), ResponseError> {
        let head = &self.head;
        self.options = ConnectionOptions::of(head);
        let is_chunked = match head.get(KnownHeader::TransferEncoding) {
            None => false,
            Some(coding)
                if !head.is_repeated(KnownHeader::TransferEncoding)
                    && coding.eq_ignore_ascii_case(b"chunked") =>
            {
                true
            }
            Some(_) => return Err(ResponseError::Coding),
        };
        let length = match head.get(KnownHeader::ContentLength) {
            None => None,
            Some(_) if head.is_repeated(KnownHeader::ContentLength) => return Err(ResponseError::Length),
            Some(value) => Some(content_length(value).ok_or(ResponseError::Length)?),
        };
        if is_chunked && (length.is_some() || self.version == HttpVersion::Http10) {
            return Err(ResponseError::Ambiguous);
        }
        self.framing = match length {
            _ if is_head || matches!(self.status, 100..=199 | 204 | 304) => MessageFraming::None,
            _ if is_chunked => MessageFraming::Chunked,
            Some(0) => MessageFraming::None,
            Some(length) => MessageFraming::Length(length),
            None => MessageFraming::UntilClose,
        };
        // Some endpoints send a body with 204, which must not have one. It must not be read as the next response.
        let has_stray_body = self.status == 204 && (is_chunked || length > Some(0));
        self.keeps_alive = !has_stray_body
            && self.framing != MessageFraming::UntilClose
            && self.options.keeps_alive(self.version);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
