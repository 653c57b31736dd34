//! The head of an HTTP/2 response (RFC 9113 §8.3.2) as the same flat list: written once as text.

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, StatusCode};

use super::{ParsedResponse, ResponseError};
use crate::field_line;
use crate::framing::{ConnectionOptions, HttpVersion, MessageFraming, content_length};
use crate::head::MAX_FIELDS;
use crate::known_header::KnownHeader;

impl ParsedResponse {
    /// Takes over a head as h2 has decoded it. `buffer` receives its text and must have nothing else in it.
    ///
    /// `has_body` says whether the stream has not ended with the head.
    ///
    /// # Errors
    /// When `Content-Length` is repeated or is not a number, or the head is longer than `limit`.
    pub fn assign_h2(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        has_body: bool,
        limit: usize,
        buffer: &mut BytesMut,
    ) -> Result<(), ResponseError> {
        self.clear();
        if headers.len() >= MAX_FIELDS {
            return Err(ResponseError::TooLarge);
        }
        buffer.clear();
        buffer.put_slice(b"HTTP/2.0 ");
        buffer.put_slice(status.as_str().as_bytes());
        buffer.put_slice(b"\r\n");
        for (name, value) in headers {
            field_line::write(&mut self.head, name.as_str().as_bytes(), value.as_bytes(), buffer);
        }
        let end = buffer.len();
        buffer.put_slice(b"\r\n");
        if buffer.len() > limit {
            self.clear();
            return Err(ResponseError::TooLarge);
        }
        self.head.set_bytes(buffer.split().freeze(), end);
        let length = match self.head.get(KnownHeader::ContentLength) {
            None => None,
            Some(_) if self.head.is_repeated(KnownHeader::ContentLength) => {
                return Err(ResponseError::Length);
            }
            Some(value) => Some(content_length(value).ok_or(ResponseError::Length)?),
        };
        self.framing = match length {
            _ if !has_body => MessageFraming::None,
            Some(length) => MessageFraming::Length(length),
            None => MessageFraming::UntilClose,
        };
        (self.status, self.version, self.reason) = (status.as_u16(), HttpVersion::Http2, (0, 0));
        (self.options, self.keeps_alive) = (ConnectionOptions::default(), true);
        self.is_complete = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assign(
        fields: &[(&'static str, &'static str)],
        has_body: bool,
    ) -> Result<ParsedResponse, ResponseError> {
        let (mut response, mut headers) = (ParsedResponse::default(), HeaderMap::new());
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        response.assign_h2(StatusCode::OK, &headers, has_body, 100, &mut BytesMut::new()).map(|()| response)
    }

    #[test]
    fn fields_and_framing_are_taken_over() {
        let response =
            assign(&[("content-type", "application/grpc"), ("x-a", "1"), ("x-a", "2")], true).unwrap();
        let fields: Vec<_> = response.head().fields().map(|field| (field.name, field.value)).collect();
        let wanted: [(&[u8], &[u8]); 3] =
            [(b"content-type", b"application/grpc"), (b"x-a", b"1"), (b"x-a", b"2")];
        assert_eq!(fields, wanted);
        assert_eq!((response.status(), response.framing()), (200, MessageFraming::UntilClose));
        assert_eq!(response.reason(), b"");
        for (fields, has_body, framing) in [
            (&[("content-length", "5")][..], true, MessageFraming::Length(5)),
            (&[("content-length", "5")], false, MessageFraming::None),
            (&[], false, MessageFraming::None),
        ] {
            assert_eq!(assign(fields, has_body).unwrap().framing(), framing);
        }
    }

    #[test]
    fn ambiguous_lengths_and_long_heads_are_refused() {
        const LONG: &str =
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
        for (fields, error) in [
            (&[("content-length", "x")][..], ResponseError::Length),
            (&[("content-length", "5"), ("content-length", "5")], ResponseError::Length),
            (&[("x-a", LONG)], ResponseError::TooLarge),
        ] {
            assert_eq!(assign(fields, true).map(|_| ()), Err(error));
        }
    }
}
