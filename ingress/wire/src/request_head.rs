//! Request heads, parsed strictly.
//!
//! Some heads can be interpreted differently by two servers (request smuggling), and nginx refuses most of
//! them: a length together with chunks, two lengths, a bare line feed, a folded line, two Hosts. A head that passes these
//! checks has one interpretation. The checks are one pass over the bytes and allocate nothing.
//!
//! Differences from nginx 1.2x: a bare LF does not end a line (nginx accepts it); an absolute-form target with a host other
//! than `Host` is refused (nginx prefers the target's); HTTP/0.9 is refused; a header name that is not a token is refused
//! (nginx drops some of them).

mod byte_classes;
mod finder;
mod http2;

use std::ops::Range;

use bytes::Bytes;

pub(crate) use self::byte_classes::method_byte;
pub use self::byte_classes::{TOKEN, encoded_target, valid_host};
use self::byte_classes::{plain, valid_method};
pub use self::finder::HeadFinder;
pub use self::http2::{check_h2, check_h2_within};

/// The longest line and the longest head: `large-client-header-buffers`, by default 4 of 8 KiB.
pub const MAX_LINE: usize = 8 * 1024;
/// The longest head in bytes, without its last empty line.
pub const MAX_HEAD: usize = 4 * MAX_LINE;

/// The limits of a request head in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// The longest line, with its end: the size of `large-client-header-buffers`.
    pub line: usize,
    /// The longest head, without its last empty line: their number times their size.
    pub head: usize,
}

impl Default for HeadLimits {
    fn default() -> Self {
        Self { line: MAX_LINE, head: MAX_HEAD }
    }
}

/// Why a head is refused. Each has an error page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// 400: it is malformed or ambiguous.
    Malformed,
    /// 400 with a title of its own: a header line or the whole head is too long.
    HeaderTooLarge,
    /// 414: the request line is too long.
    UriTooLong,
    /// 405: `CONNECT` and `TRACE` are not supported.
    Method,
    /// 501: a transfer coding other than `chunked`.
    Coding,
    /// 400 with a title of its own: plain HTTP on the HTTPS port.
    PlainHttp,
    /// 505: the request line names HTTP/2 or later.
    Version,
}

/// How long the body is (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFraming {
    /// So many bytes; 0 where the head has neither length nor coding.
    Length(u64),
    /// The chunked coding (RFC 9112 §7.1).
    Chunked,
}

/// A complete head with one interpretation.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The whole head with its last empty line.
    pub bytes: Bytes,
    /// The request line without its end, for the log.
    line: u32,
    /// The origin-form part of the target; empty where an absolute-form target had no path.
    target: Range<u32>,
    /// How the body is delimited.
    pub framing: RequestFraming,
    /// There is a `Content-Length`, perhaps of zero.
    pub has_length: bool,
}

impl RequestHead {
    /// Checks a head that [`HeadFinder`] has found.
    pub fn check(bytes: Bytes) -> Result<Self, HeadError> {
        let text = &bytes[..];
        if !plain(text) {
            return Err(HeadError::Malformed);
        }
        let line = line_end(text)?;
        let (method, target, http11) = request_line(&text[..line])?;
        let (target, authority) = split_target(text, target)?;
        let mut fields = Fields::default();
        let mut rest = line + 2;
        // Up to the last line, which is empty. A carriage return inside a line does not end it.
        while rest + 2 < text.len() {
            rest += fields.line(&text[rest..])?;
        }
        let host = fields.host.unwrap_or_default();
        if !authority.is_empty() {
            let named = &text[authority.clone()];
            if !valid_host(named) || fields.hosts > 0 && !named.eq_ignore_ascii_case(host) {
                return Err(HeadError::Malformed);
            }
        } else if fields.hosts > 0 && !valid_host(host) {
            return Err(HeadError::Malformed);
        }
        if fields.hosts > 1 || http11 && fields.hosts == 0 {
            return Err(HeadError::Malformed);
        }
        let framing = fields.framing(http11)?;
        if matches!(&text[..method], b"CONNECT" | b"TRACE") {
            return Err(HeadError::Method);
        }
        let narrow = |range: Range<usize>| range.start as u32..range.end as u32;
        let line = line as u32;
        let has_length = fields.lengths > 0;
        let target = narrow(target);
        Ok(Self { line, has_length, target, framing, bytes })
    }

    /// `GET /path HTTP/1.1`.
    pub fn line(&self) -> &[u8] {
        &self.bytes[..self.line as usize]
    }

    /// The path and query as the client wrote them (`$request_uri`).
    pub fn target(&self) -> Bytes {
        if self.target.is_empty() {
            return Bytes::from_static(b"/");
        }
        self.bytes.slice(self.target.start as usize..self.target.end as usize)
    }

    /// Names and whole lines of the header fields, each line with its end.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &self.bytes[self.line().len() + 2..];
        std::iter::from_fn(move || {
            let end = memchr::memchr(b'\n', rest)? + 1;
            let (line, after) = rest.split_at(end);
            let name = line.iter().position(|byte| !TOKEN[*byte as usize])?;
            rest = after;
            (name > 0).then(|| (&line[..name], line))
        })
    }
}

/// The end of the first line: its first carriage return, which a line feed must follow. [`HeadFinder`] has checked that a
/// carriage return precedes each line feed.
fn line_end(text: &[u8]) -> Result<usize, HeadError> {
    let end = memchr::memchr(b'\r', text).ok_or(HeadError::Malformed)?;
    if text.get(end + 1) == Some(&b'\n') { Ok(end) } else { Err(HeadError::Malformed) }
}

fn request_line(line: &[u8]) -> Result<(usize, Range<usize>, bool), HeadError> {
    let method = memchr::memchr(b' ', line).ok_or(HeadError::Malformed)?;
    let start = method + 1;
    let end = start + memchr::memchr(b' ', &line[start..]).ok_or(HeadError::Malformed)?;
    if !valid_method(&line[..method]) || end == start || line[start..end].contains(&b'\t') {
        return Err(HeadError::Malformed);
    }
    match &line[end + 1..] {
        b"HTTP/1.1" => Ok((method, start..end, true)),
        b"HTTP/1.0" => Ok((method, start..end, false)),
        [b'H', b'T', b'T', b'P', b'/', b'2'..=b'9', b'.', b'0'..=b'9'] => Err(HeadError::Version),
        _ => Err(HeadError::Malformed),
    }
}

/// Splits an origin-form or absolute-form target (RFC 9112 §3.2) into path and host. Removes a fragment, which clients must
/// not send. `*` and `host:port` are refused, as by nginx.
pub(crate) fn split_target(
    text: &[u8],
    target: Range<usize>,
) -> Result<(Range<usize>, Range<usize>), HeadError> {
    let none = 0..0;
    let bytes = &text[target.clone()];
    let end = memchr::memchr(b'#', bytes).map_or(target.end, |at| target.start + at);
    if bytes[0] == b'/' {
        return Ok((target.start..end, none));
    }
    let scheme = [&b"http://"[..], b"https://"]
        .into_iter()
        .find(|scheme| bytes.len() > scheme.len() && bytes[..scheme.len()].eq_ignore_ascii_case(scheme))
        .ok_or(HeadError::Malformed)?;
    let host = target.start + scheme.len();
    let path =
        text[host..end].iter().position(|byte| matches!(byte, b'/' | b'?')).map_or(end, |at| host + at);
    // A path would have to be inserted in `http://host?query`. No client sends it.
    if path < end && text[path] == b'?' || path == host {
        return Err(HeadError::Malformed);
    }
    Ok((path..end, host..path))
}

#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    hosts: usize,
    length: Option<&'a [u8]>,
    lengths: usize,
    coding: Option<&'a [u8]>,
    codings: usize,
}

impl<'a> Fields<'a> {
    /// Reads one line and returns its length with its end.
    fn line(&mut self, text: &'a [u8]) -> Result<usize, HeadError> {
        let colon = text.iter().position(|byte| !TOKEN[*byte as usize]).unwrap_or(0);
        // A folded line starts with white space, which is not a token: refused like an empty name or `Name :`.
        if colon == 0 || text[colon] != b':' {
            return Err(HeadError::Malformed);
        }
        let end = colon + line_end(&text[colon..])?;
        let (name, value) = (&text[..colon], &text[colon + 1..end]);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                self.host = Some(value.trim_ascii());
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.lengths += 1;
                self.length = Some(value.trim_ascii());
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.codings += 1;
                self.coding = Some(value.trim_ascii());
            }
            _ => {}
        }
        Ok(end + 2)
    }

    fn framing(&self, http11: bool) -> Result<RequestFraming, HeadError> {
        if self.lengths + self.codings > 1 {
            return Err(HeadError::Malformed);
        }
        if let Some(coding) = self.coding {
            if !http11 {
                return Err(HeadError::Malformed);
            }
            if !coding.eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::Coding);
            }
            return Ok(RequestFraming::Chunked);
        }
        let Some(length) = self.length else { return Ok(RequestFraming::Length(0)) };
        // 18 digits fit a signed 64-bit number, which is nginx's limit.
        if length.is_empty() || length.len() > 18 || !length.iter().all(u8::is_ascii_digit) {
            return Err(HeadError::Malformed);
        }
        Ok(RequestFraming::Length(length.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))))
    }
}

#[cfg(test)]
mod tests;
