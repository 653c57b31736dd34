use std::io::Read;

use telemetry::metrics::Registry;

use super::*;

fn encoder(coding: ContentCoding, level: u32) -> Box<BodyEncoder> {
    let memory = EncoderMemory::new(Registry::default().counter("refused", "refused"));
    BodyEncoder::start(&CodingRule::new(coding, level), &memory).expect("memory")
}

/// What a client decodes of a beginning.
fn decoded(coding: ContentCoding, bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    let mut reader: Box<dyn Read> = match coding {
        ContentCoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
        ContentCoding::Brotli => Box::new(brotli_decompressor::Decompressor::new(bytes, 4096)),
    };
    // An error at the end of a beginning is expected.
    while let Ok(length @ 1..) = reader.read(&mut buffer) {
        text.extend_from_slice(&buffer[..length]);
    }
    text
}

/// Text that is compressed well and not to nothing.
fn text(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        text.extend_from_slice(format!("{{\"id\": {}}}, ", random.u16(..)).as_bytes());
    }
    text.truncate(length);
    text
}

const CODINGS: [(ContentCoding, u32); 5] = [
    (ContentCoding::Gzip, 1),
    (ContentCoding::Gzip, 9),
    (ContentCoding::Brotli, 0),
    (ContentCoding::Brotli, 4),
    (ContentCoding::Brotli, 5),
];

#[test]
fn bodies_of_any_length_in_pieces_of_any_size_are_decoded() {
    for (coding, level) in CODINGS {
        for (length, piece) in [(0, 1), (1, 1), (5_000, 7), (70_000, 4096), (300_000, 131_072)] {
            let text = text(length);
            let mut encoder = encoder(coding, level);
            let mut output = Vec::new();
            let pieces: Vec<_> = text.chunks(piece).collect();
            let (last, first) =
                pieces.split_last().map_or((&[][..], &[][..]), |(last, first)| (*last, first));
            for piece in first {
                output.extend_from_slice(&encoder.write(piece));
            }
            let rest = encoder.finish(last);
            assert!(!rest.is_empty(), "{coding:?} {level} {length}");
            output.extend_from_slice(&rest);
            assert!(decoded(coding, &output) == text, "{coding:?} {level} {length}");
            assert!(
                length < 1000 || output.len() < length / 2,
                "{coding:?} {level} {length}: {}",
                output.len()
            );
        }
    }
}

#[test]
fn what_was_flushed_can_be_decoded_at_once() {
    for (coding, level) in CODINGS {
        let mut encoder = encoder(coding, level);
        let (mut output, mut sent) = (Vec::new(), Vec::new());
        for number in 0..50_u32 {
            let event = [b"data: ", &text(number.pow(2) as usize + 1)[..], b"\n\n"].concat();
            output.extend_from_slice(&encoder.write(&event));
            output.extend_from_slice(&encoder.flush());
            sent.extend_from_slice(&event);
            assert!(decoded(coding, &output) == sent, "{coding:?} {level} {number}");
            assert!(encoder.flush().is_empty(), "nothing is new");
        }
        output.extend_from_slice(&encoder.finish(&[]));
        assert!(decoded(coding, &output) == sent, "{coding:?} {level}");
    }
}

#[test]
fn incompressible_bodies_pass_too() {
    let mut random = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(200_000).collect();
    for (coding, level) in CODINGS {
        let mut encoder = encoder(coding, level);
        let mut output = encoder.write(&noise).to_vec();
        output.extend_from_slice(&encoder.flush());
        output.extend_from_slice(&encoder.finish(&noise));
        assert!(decoded(coding, &output) == [&noise[..], &noise].concat(), "{coding:?} {level}");
    }
}
