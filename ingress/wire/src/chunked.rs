//! The chunked transfer coding (RFC 9112 §7.1), decoded strictly: only CRLF ends a line.

/// The limits of all chunk extensions of a body together, and of its trailer section, in bytes.
const MAX_EXTENSION: usize = 4 * 1024;
const MAX_TRAILERS: usize = 16 * 1024;

/// The input violates the coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedChunk;

/// What follows in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkEvent {
    /// More input is needed.
    More,
    /// This many bytes of data follow the framing.
    Data(usize),
    /// The body has ended.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    Size { started: bool },
    AfterSize,
    Extension,
    SizeEnd,
    Data,
    DataReturn,
    DataFeed,
    Trailer { empty: bool },
    TrailerFeed { last: bool },
    End,
}

/// Decodes a body piece by piece, however the input is split.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    at: ChunkState,
    left: u64,
    extension: usize,
    /// The trailer section as received, without its last empty line.
    pub trailers: Vec<u8>,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self { at: ChunkState::Size { started: false }, left: 0, extension: 0, trailers: Vec::new() }
    }
}

impl ChunkedDecoder {
    /// Skips framing, and returns its length and what follows it. Returned data counts as consumed.
    pub fn advance(&mut self, input: &[u8]) -> Result<(usize, ChunkEvent), MalformedChunk> {
        let mut at = 0;
        loop {
            match self.at {
                ChunkState::End => return Ok((at, ChunkEvent::End)),
                ChunkState::Data if at < input.len() => {
                    let length = usize::try_from(self.left)
                        .map_or(input.len() - at, |left| left.min(input.len() - at));
                    self.left -= length as u64;
                    if self.left == 0 {
                        self.at = ChunkState::DataReturn;
                    }
                    return Ok((at, ChunkEvent::Data(length)));
                }
                _ => {}
            }
            let Some(byte) = input.get(at) else { return Ok((at, ChunkEvent::More)) };
            self.framing(*byte)?;
            at += 1;
        }
    }

    fn framing(&mut self, byte: u8) -> Result<(), MalformedChunk> {
        self.at = match (self.at, byte) {
            // Leading zeros are allowed (RFC 9112 §7.1); they count as extension, so that their number is limited.
            (ChunkState::Size { started: true }, b'0') if self.left == 0 => {
                if self.extension >= MAX_EXTENSION {
                    return Err(MalformedChunk);
                }
                self.extension += 1;
                ChunkState::Size { started: true }
            }
            (ChunkState::Size { .. }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.left < 1 << 56 => {
                let digit = (byte as char).to_digit(16).ok_or(MalformedChunk)?;
                self.left = self.left << 4 | u64::from(digit);
                ChunkState::Size { started: true }
            }
            (ChunkState::Size { started: true } | ChunkState::AfterSize | ChunkState::Extension, b'\r') => {
                ChunkState::SizeEnd
            }
            (ChunkState::Size { started: true } | ChunkState::AfterSize, b' ' | b'\t') => {
                ChunkState::AfterSize
            }
            (ChunkState::Size { started: true } | ChunkState::AfterSize, b';') => ChunkState::Extension,
            (ChunkState::Extension, b'\t' | b' '..=b'~' | 0x80..) if self.extension < MAX_EXTENSION => {
                self.extension += 1;
                ChunkState::Extension
            }
            (ChunkState::SizeEnd, b'\n') if self.left == 0 => ChunkState::Trailer { empty: true },
            (ChunkState::SizeEnd, b'\n') => ChunkState::Data,
            (ChunkState::DataReturn, b'\r') => ChunkState::DataFeed,
            (ChunkState::DataFeed, b'\n') => ChunkState::Size { started: false },
            (ChunkState::Trailer { empty }, b'\r') => ChunkState::TrailerFeed { last: empty },
            (ChunkState::Trailer { empty: true }, b' ' | b'\t') => return Err(MalformedChunk),
            (ChunkState::Trailer { .. }, b'\t' | b' '..=b'~' | 0x80..)
                if self.trailers.len() < MAX_TRAILERS =>
            {
                self.trailers.push(byte);
                ChunkState::Trailer { empty: false }
            }
            (ChunkState::TrailerFeed { last: true }, b'\n') => ChunkState::End,
            (ChunkState::TrailerFeed { last: false }, b'\n') => {
                self.trailers.extend_from_slice(b"\r\n");
                ChunkState::Trailer { empty: true }
            }
            _ => return Err(MalformedChunk),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes input that arrives `step` bytes at a time. Returns the data, the trailers and the length of the body.
    fn decode(input: &[u8], step: usize) -> Result<Option<(Vec<u8>, String, usize)>, MalformedChunk> {
        let (mut chunked, mut data, mut from) = (ChunkedDecoder::default(), Vec::new(), 0);
        let mut until = 0;
        while until < input.len() {
            until = (until + step).min(input.len());
            while from < until {
                let (passed, piece) = chunked.advance(&input[from..until])?;
                from += passed;
                match piece {
                    ChunkEvent::More => {}
                    ChunkEvent::Data(length) => {
                        data.extend_from_slice(&input[from..from + length]);
                        from += length;
                    }
                    ChunkEvent::End => {
                        let trailers = String::from_utf8(chunked.trailers).unwrap();
                        return Ok(Some((data, trailers, from)));
                    }
                }
            }
        }
        // The last byte of a body may have been the last of the input.
        let (_, piece) = chunked.advance(&[])?;
        let trailers = String::from_utf8(chunked.trailers).unwrap();
        Ok((piece == ChunkEvent::End).then_some((data, trailers, from)))
    }

    #[test]
    fn bodies_are_decoded_however_their_bytes_arrive() {
        let cases = [
            ("0\r\n\r\n", "", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello", ""),
            ("00000000000000005\r\nhello\r\n0000000000000000000\r\n\r\n", "hello", ""),
            ("5;a=b\r\nhello\r\n00006 ;c\r\n world\r\n0\r\n\r\n", "hello world", ""),
            (
                "A\r\n0123456789\r\n0\r\ngrpc-status: 0\r\nx: y\r\n\r\n",
                "0123456789",
                "grpc-status: 0\r\nx: y\r\n",
            ),
        ];
        for (wire, data, trailers) in cases {
            let followed = format!("{wire}GET ");
            for step in 1..=followed.len() {
                let read = decode(followed.as_bytes(), step).unwrap().unwrap();
                assert_eq!(
                    read,
                    (data.as_bytes().to_vec(), trailers.to_owned(), wire.len()),
                    "{wire:?} by {step}"
                );
            }
            assert_eq!(decode(&wire.as_bytes()[..wire.len() - 1], 3), Ok(None), "{wire:?} without its end");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        let cases = [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "0x5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5\nhello\r\n",
            "5\r\rhello\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhelloo\r\n",
            "5 5\r\nhello\r\n",
            "5;a\nb\r\nhello\r\n",
            "0\r\n\n",
            "0\r\nx: y\n\r\n",
            "0\r\n x: y\r\n\r\n",
            "1000000000000000\r\n",
            "0001000000000000000\r\n",
            "5;\0\r\nhello\r\n",
        ];
        for wire in cases {
            for step in [1, wire.len()] {
                assert_eq!(decode(wire.as_bytes(), step), Err(MalformedChunk), "{wire:?} by {step}");
            }
        }
    }

    #[test]
    fn zeros_extensions_and_trailers_are_limited() {
        let x = |count| "x".repeat(count);
        let cases = [
            // The first zero counts as the size.
            (format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(MAX_EXTENSION + 1)), true),
            (format!("{}1\r\na\r\n0\r\n\r\n", "0".repeat(MAX_EXTENSION + 2)), false),
            (format!("1;{}\r\na\r\n0\r\n\r\n", x(MAX_EXTENSION)), true),
            (format!("1;{}\r\na\r\n0;{}\r\n\r\n", x(MAX_EXTENSION / 2), x(MAX_EXTENSION / 2 + 1)), false),
            (format!("0\r\nx: {}\r\n\r\n", x(MAX_TRAILERS - 3)), true),
            (format!("0\r\nx: {}\r\n\r\n", x(MAX_TRAILERS - 2)), false),
        ];
        for (wire, accepted) in cases {
            assert_eq!(decode(wire.as_bytes(), wire.len()).is_ok(), accepted, "{}", &wire[..20]);
        }
    }
}
