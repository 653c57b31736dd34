//! The trailer section after a chunked body (RFC 9110 §6.5).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::upstream::error::UpstreamError;

/// Parses the trailer section after the last chunk (RFC 9110 §6.5). Drops fields that would change how the message is framed
/// or routed.
pub(crate) fn parse(text: &[u8]) -> Result<HeaderMap, UpstreamError> {
    let mut trailers = HeaderMap::new();
    for line in text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        let colon = memchr::memchr(b':', line).ok_or(UpstreamError::Invalid("malformed trailer"))?;
        let name = HeaderName::from_bytes(&line[..colon])
            .map_err(|_| UpstreamError::Invalid("malformed trailer"))?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii())
            .map_err(|_| UpstreamError::Invalid("malformed trailer"))?;
        if !DROPPED.contains(&name) {
            trailers.append(name, value);
        }
    }
    Ok(trailers)
}

/// Trailers of HTTP/2 without these fields.
pub(crate) fn passed(mut trailers: HeaderMap) -> HeaderMap {
    for name in DROPPED {
        trailers.remove(name);
    }
    trailers
}

/// Fields that would change how the message is framed or routed.
const DROPPED: &[HeaderName] =
    &[header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::HOST];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailers_cannot_change_the_framing() {
        let read = parse(b"grpc-status: 0\r\nContent-Length: 5\r\nhost: a\r\n").unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read["grpc-status"], "0");
        assert!(parse(b"no colon\r\n").is_err());
    }
}
