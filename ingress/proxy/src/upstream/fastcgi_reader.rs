//! The response of a FastCGI application, out of its records.

use bytes::{Buf, BytesMut};
use ingress_wire::fastcgi::response::{FastCgiDecoder, FastCgiEvent, InvalidFastCgi};

use crate::upstream::error::UpstreamError;

/// How much of an application's error stream is kept for the log; the rest is dropped.
const MAX_ERRORS: usize = 1024;

/// Reads records.
#[derive(Default)]
pub(super) struct FastCgiReader {
    decoder: FastCgiDecoder,
    /// Output that has not been returned: head and body of the response.
    pub(super) output: BytesMut,
    /// The beginning of the error stream.
    errors: Vec<u8>,
    /// The application has ended its response.
    pub(super) is_over: bool,
}

impl FastCgiReader {
    /// Takes what was received out of `input`, which is empty afterwards unless the response has ended.
    ///
    /// # Errors
    /// When the records are malformed, or the application refuses the request.
    pub(super) fn read(&mut self, input: &mut BytesMut) -> Result<(), UpstreamError> {
        while !self.is_over {
            let (passed, event) = self.decoder.advance(input).map_err(|error| match error {
                InvalidFastCgi::Malformed => UpstreamError::Invalid("malformed FastCGI records"),
                InvalidFastCgi::Refused(_) => UpstreamError::Invalid("the application refuses the request"),
            })?;
            input.advance(passed);
            match event {
                FastCgiEvent::More => break,
                FastCgiEvent::End => self.is_over = true,
                FastCgiEvent::Output(length) if self.output.is_empty() => {
                    self.output = input.split_to(length)
                }
                FastCgiEvent::Output(length) => self.output.extend_from_slice(&input.split_to(length)),
                FastCgiEvent::Error(length) => {
                    let text = input.split_to(length);
                    let room = MAX_ERRORS.saturating_sub(self.errors.len());
                    self.errors.extend_from_slice(&text[..length.min(room)]);
                }
            }
        }
        Ok(())
    }

    /// What the application wrote to its error stream, in one line.
    pub(super) fn errors(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.errors);
        let line =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ");
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        (!line.is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, data: &[u8]) -> Vec<u8> {
        let [high, low] = (data.len() as u16).to_be_bytes();
        [&[1, kind, 0, 1, high, low, 0, 0][..], data].concat()
    }

    #[test]
    fn output_and_errors_are_separated() {
        let mut reader = FastCgiReader::default();
        let records = [
            record(6, b"Status: 200\r\n"),
            record(7, b"PHP Notice:\n  something\x1b\n"),
            record(6, b"\r\nbody"),
            record(3, &[0; 8]),
        ];
        for part in records.concat().chunks(7) {
            reader.read(&mut BytesMut::from(part)).unwrap();
        }
        assert_eq!((&reader.output[..], reader.is_over), (&b"Status: 200\r\n\r\nbody"[..], true));
        assert_eq!(reader.errors().as_deref(), Some("PHP Notice: | something"));
    }

    #[test]
    fn the_error_stream_is_limited() {
        let mut reader = FastCgiReader::default();
        for _ in 0..1000 {
            reader.read(&mut BytesMut::from(&record(7, &[b'x'; 1000])[..])).unwrap();
        }
        assert_eq!(reader.errors().map(|text| text.len()), Some(MAX_ERRORS));
        assert!(reader.errors.capacity() <= 2 * MAX_ERRORS && reader.output.is_empty());
    }

    #[test]
    fn malformed_records_and_refusals_are_errors() {
        for bytes in [&b"HTTP/1.1 200 OK"[..], &record(3, &[0, 0, 0, 0, 2, 0, 0, 0])] {
            let read = FastCgiReader::default().read(&mut BytesMut::from(bytes));
            assert!(matches!(read, Err(UpstreamError::Invalid(_))), "{bytes:?}");
        }
    }
}
