//! The decoder of a response (specification §3.3, §5.5, §6.2): STDOUT, STDERR, END_REQUEST.

use super::{END_REQUEST, HEADER, REQUEST_ID, STDERR, STDOUT, VERSION};

/// The records violate the format, or the application refused the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidFastCgi {
    /// A record has another version, request id or type, or comes at a place where it must not.
    Malformed,
    /// END_REQUEST says that the application is overloaded or does not serve such requests (its protocol status).
    Refused(u8),
}

/// What follows in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FastCgiEvent {
    /// More input is needed.
    More,
    /// This many bytes of the response follow the framing.
    Output(usize),
    /// This many bytes of the error stream follow the framing, for the log.
    Error(usize),
    /// The response has ended.
    End,
}

/// Decodes a response piece by piece, however the input is split. Keeps nothing but one record header.
#[derive(Clone, Debug, Default)]
pub struct FastCgiDecoder {
    /// The bytes of a header or of END_REQUEST's body that have arrived.
    partial: [u8; HEADER],
    filled: usize,
    /// The type of the record whose data follows; 0 before a header.
    kind: u8,
    data: usize,
    padding: usize,
    is_over: bool,
}

impl FastCgiDecoder {
    /// Skips framing, and returns its length and what follows it. Returned data counts as consumed.
    ///
    /// # Errors
    /// When the records are malformed or the application refuses the request.
    pub fn advance(&mut self, input: &[u8]) -> Result<(usize, FastCgiEvent), InvalidFastCgi> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            if self.kind == 0 {
                if self.is_over && self.padding == 0 {
                    return Ok((at, FastCgiEvent::End));
                }
                let skipped = self.padding.min(rest.len());
                self.padding -= skipped;
                at += skipped;
                if self.padding > 0 {
                    return Ok((at, FastCgiEvent::More));
                }
                if self.is_over {
                    continue;
                }
                if !self.fill(&input[at..], &mut at) {
                    return Ok((at, FastCgiEvent::More));
                }
                self.header()?;
                continue;
            }
            if self.kind == END_REQUEST {
                if !self.fill(rest, &mut at) {
                    return Ok((at, FastCgiEvent::More));
                }
                if self.partial[4] != 0 {
                    return Err(InvalidFastCgi::Refused(self.partial[4]));
                }
                (self.kind, self.data, self.is_over) = (0, 0, true);
                continue;
            }
            if self.data == 0 {
                self.kind = 0;
                continue;
            }
            let length = self.data.min(rest.len());
            if length == 0 {
                return Ok((at, FastCgiEvent::More));
            }
            self.data -= length;
            let is_output = self.kind == STDOUT;
            return Ok((
                at,
                if is_output { FastCgiEvent::Output(length) } else { FastCgiEvent::Error(length) },
            ));
        }
    }

    /// Collects eight bytes; true once they are complete.
    fn fill(&mut self, input: &[u8], at: &mut usize) -> bool {
        let length = (HEADER - self.filled).min(input.len());
        self.partial[self.filled..self.filled + length].copy_from_slice(&input[..length]);
        self.filled += length;
        *at += length;
        let complete = self.filled == HEADER;
        if complete {
            self.filled = 0;
        }
        complete
    }

    fn header(&mut self) -> Result<(), InvalidFastCgi> {
        let [version, kind, id, id_low, high, low, padding, _] = self.partial;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let known = matches!(kind, STDOUT | STDERR) || kind == END_REQUEST && length == HEADER;
        if version != VERSION || u16::from_be_bytes([id, id_low]) != REQUEST_ID || !known {
            return Err(InvalidFastCgi::Malformed);
        }
        (self.kind, self.data, self.padding) = (kind, length, usize::from(padding));
        Ok(())
    }
}

/// Output, errors and consumed length of a whole response.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) type DecodedResponse = (Vec<u8>, Vec<u8>, usize);

/// Decodes a response of which `step` further bytes arrive at a time, for tests and fuzz targets; `None` while it is incomplete.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn decode_in_steps(input: &[u8], step: usize) -> Result<Option<DecodedResponse>, InvalidFastCgi> {
    let (mut decoder, mut output, mut errors) = (FastCgiDecoder::default(), Vec::new(), Vec::new());
    let (mut at, mut available) = (0, 0);
    loop {
        let (passed, event) = decoder.advance(&input[at..available])?;
        at += passed;
        let (into, length) = match event {
            FastCgiEvent::End => return Ok(Some((output, errors, at))),
            FastCgiEvent::More if available == input.len() => return Ok(None),
            FastCgiEvent::More => {
                available = (available + step).min(input.len());
                continue;
            }
            FastCgiEvent::Output(length) => (&mut output, length),
            FastCgiEvent::Error(length) => (&mut errors, length),
        };
        into.extend_from_slice(&input[at..at + length]);
        at += length;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, data: &[u8], padding: u8) -> Vec<u8> {
        let length = u16::try_from(data.len()).unwrap().to_be_bytes();
        let header = [1, kind, 0, 1, length[0], length[1], padding, 0];
        [&header[..], data, &vec![0xff; usize::from(padding)]].concat()
    }

    fn end_with(status: u8) -> Vec<u8> {
        record(3, &[0, 0, 0, 0, status, 0, 0, 0], 0)
    }

    #[test]
    fn a_response_is_decoded_however_its_bytes_arrive() {
        let response = [
            record(6, b"Status: 404 Not Found\r\n\r\n", 7),
            record(7, b"a warning", 0),
            record(6, b"body", 4),
            record(6, b"", 0),
            record(7, b"", 8),
            end_with(0),
        ]
        .concat();
        let input = [&response[..], b"more"].concat();
        for step in 1..=input.len() {
            let read = decode_in_steps(&input, step).unwrap().unwrap();
            let output = b"Status: 404 Not Found\r\n\r\nbody".to_vec();
            assert_eq!(read, (output, b"a warning".to_vec(), response.len()), "by {step}");
        }
        for cut in 0..response.len() {
            assert_eq!(decode_in_steps(&response[..cut], 5), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn malformed_records_and_refusals_are_errors() {
        use InvalidFastCgi::{Malformed, Refused};
        let cases = [
            ("another version", vec![2, 6, 0, 1, 0, 0, 0, 0], Malformed),
            ("another request", vec![1, 6, 0, 2, 0, 0, 0, 0], Malformed),
            ("a record of the client", record(5, b"x", 0), Malformed),
            ("an unknown type", record(12, b"x", 0), Malformed),
            ("an end of another length", record(3, &[0; 9], 0), Malformed),
            ("HTTP", b"HTTP/1.1 200 OK\r\n".to_vec(), Malformed),
            ("overload", end_with(2), Refused(2)),
        ];
        for (what, input, error) in cases {
            for step in [1, input.len()] {
                assert_eq!(decode_in_steps(&input, step), Err(error), "{what} by {step}");
            }
        }
    }
}
