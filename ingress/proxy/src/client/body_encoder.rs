//! Compresses the body of a response piece by piece (`use-gzip`, `enable-brotli`).

use std::sync::Arc;

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};
use ingress_routes::plan::compression::{CodingRule, ContentCoding};

use crate::brotli::BrotliEncoder;
use crate::state::encoder_memory::{EncoderHold, EncoderMemory};

/// The window of gzip: 32 KiB, the largest.
const GZIP_WINDOW_BITS: u8 = 15;
/// How much output a step of an encoder has room for.
const STEP: usize = 4 * 1024;

/// The encoder of one response.
pub(crate) struct BodyEncoder {
    encoder: Encoder,
    /// There is input that clients cannot decode before a flush.
    is_dirty: bool,
    _hold: EncoderHold,
}

enum Encoder {
    Gzip(Compress),
    Brotli(Box<BrotliEncoder>),
}

impl BodyEncoder {
    /// `None` if all encoders together take too much memory.
    pub(crate) fn start(rule: &CodingRule, memory: &Arc<EncoderMemory>) -> Option<Box<Self>> {
        let hold = memory.take(rule.coding)?;
        let encoder = match rule.coding {
            ContentCoding::Gzip => {
                Encoder::Gzip(Compress::new_gzip(Compression::new(rule.level), GZIP_WINDOW_BITS))
            }
            ContentCoding::Brotli => Encoder::Brotli(Box::new(BrotliEncoder::new(rule.level))),
        };
        Some(Box::new(Self { encoder, is_dirty: false, _hold: hold }))
    }

    /// Takes a piece. Returns the output so far, which may be empty.
    pub(crate) fn write(&mut self, piece: &[u8]) -> Bytes {
        self.is_dirty = true;
        match &mut self.encoder {
            Encoder::Gzip(gzip) => deflate(gzip, piece, FlushCompress::None),
            Encoder::Brotli(brotli) => {
                brotli.write(piece);
                brotli.take()
            }
        }
    }

    /// The output with which a client can decode all input so far; empty if it already can.
    pub(crate) fn flush(&mut self) -> Bytes {
        if !std::mem::take(&mut self.is_dirty) {
            return Bytes::new();
        }
        match &mut self.encoder {
            Encoder::Gzip(gzip) => deflate(gzip, &[], FlushCompress::Sync),
            Encoder::Brotli(brotli) => {
                brotli.flush();
                brotli.take()
            }
        }
    }

    /// Takes the last piece. Returns the rest of the output, which is not empty.
    pub(crate) fn finish(self, piece: &[u8]) -> Bytes {
        match self.encoder {
            Encoder::Gzip(mut gzip) => deflate(&mut gzip, piece, FlushCompress::Finish),
            Encoder::Brotli(mut brotli) => {
                brotli.write(piece);
                brotli.finish();
                brotli.take()
            }
        }
    }
}

fn deflate(gzip: &mut Compress, input: &[u8], flush: FlushCompress) -> Bytes {
    let mut output = Vec::new();
    let mut rest = input;
    loop {
        output.reserve(STEP);
        let before = gzip.total_in();
        let status = gzip.compress_vec(rest, &mut output, flush);
        let taken = usize::try_from(gzip.total_in() - before).unwrap_or(rest.len());
        rest = &rest[taken..];
        // Output that is full may have more to follow; an error means that nothing is left to do.
        let is_full = output.len() == output.capacity();
        if !matches!(status, Ok(Status::Ok)) || rest.is_empty() && !is_full {
            return Bytes::copy_from_slice(&output);
        }
    }
}

#[cfg(test)]
mod tests;
