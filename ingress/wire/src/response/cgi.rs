//! The head of a CGI response (RFC 3875 §6), as FastCGI applications send it: fields without a status line.

use bytes::BytesMut;

use super::{ParsedResponse, ResponseError};
use crate::framing::{ConnectionOptions, HttpVersion, MessageFraming, content_length};
use crate::known_header::KnownHeader;

impl ParsedResponse {
    /// Reads a head from the front of `buffer`, as [`ParsedResponse::parse`]. `Status` gives the status, else it is 302 where there
    /// is a `Location` and 200 otherwise, as in nginx. The body ends with the response of the application, or after
    /// `Content-Length`; the connection belongs to FastCGI, so `keeps_alive` is false.
    ///
    /// # Errors
    /// When the head is malformed or too long.
    pub fn parse_cgi(
        &mut self,
        buffer: &mut BytesMut,
        is_head: bool,
        limit: usize,
    ) -> Result<bool, ResponseError> {
        if self.is_complete {
            self.clear();
        }
        self.in_fields = true;
        let Some((length, end)) = self.advance(buffer, limit)? else { return Ok(false) };
        self.head.set_bytes(buffer.split_to(length).freeze(), end);
        self.complete_cgi(is_head)?;
        self.is_cgi = true;
        self.is_complete = true;
        Ok(true)
    }

    fn complete_cgi(&mut self, is_head: bool) -> Result<(), ResponseError> {
        let head = &self.head;
        (self.version, self.options, self.keeps_alive, self.reason) =
            (HttpVersion::Http11, ConnectionOptions::default(), false, (0, 0));
        self.status = match head.get(KnownHeader::Status) {
            Some(value) => {
                let (status, reason) = status(value).ok_or(ResponseError::Status)?;
                let start = reason.as_ptr() as usize - head.bytes().as_ptr() as usize;
                if reason.is_ascii() {
                    self.reason = (start as u32, (start + reason.len()) as u32);
                }
                status
            }
            None if head.has(KnownHeader::Location) => 302,
            None => 200,
        };
        let length = match head.get(KnownHeader::ContentLength) {
            None => None,
            Some(_) if head.is_repeated(KnownHeader::ContentLength) => return Err(ResponseError::Length),
            Some(value) => Some(content_length(value).ok_or(ResponseError::Length)?),
        };
        self.framing = match length {
            _ if is_head || matches!(self.status, 100..=199 | 204 | 304) => MessageFraming::None,
            Some(0) => MessageFraming::None,
            Some(length) => MessageFraming::Length(length),
            None => MessageFraming::UntilClose,
        };
        Ok(())
    }
}

/// `404 Not Found` as status and reason phrase.
fn status(value: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, reason) = value.split_first_chunk::<3>()?;
    let status = digits
        .iter()
        .all(u8::is_ascii_digit)
        .then(|| digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))?;
    let reason = match reason {
        [] => reason,
        [b' ', reason @ ..] => reason,
        _ => return None,
    };
    (status >= 100).then_some((status, reason))
}
