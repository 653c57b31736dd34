use std::io::Read;

use super::*;

fn encode(level: u32, pieces: &[&[u8]]) -> Vec<u8> {
    let mut encoder = BrotliEncoder::new(level);
    let mut output = Vec::new();
    for piece in pieces {
        encoder.write(piece);
        output.extend(encoder.take());
    }
    encoder.finish();
    output.extend(encoder.take());
    output
}

/// The whole text; an error if the stream is invalid or incomplete.
fn decode(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    brotli_decompressor::Decompressor::new(bytes, 4096).read_to_end(&mut text)?;
    Ok(text)
}

fn check(level: u32, text: &[u8]) -> usize {
    let output = encode(level, &[text]);
    assert!(decode(&output).expect("a valid stream") == text, "level {level}, {} bytes", text.len());
    output.len()
}

#[test]
fn short_texts_are_decoded() {
    for text in ["", "a", "aa", "ab", "abc", "abcabcabcabc", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        for level in [0, 1, 4, 9, 11] {
            check(level, text.as_bytes());
        }
    }
}

#[test]
fn texts_of_all_kinds_are_decoded() {
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..60 {
        let bits = random.u32(..18);
        let length = random.usize(..1 << bits);
        let symbols = 1 << random.u32(..9);
        let repeats = random.u32(..100);
        let mut text: Vec<u8> = Vec::with_capacity(length);
        while text.len() < length {
            if !text.is_empty() && random.u32(..100) < repeats {
                let from = random.usize(..text.len());
                let bits = random.u32(..10);
                let count = random.usize(..1 << bits).min(length - text.len());
                for at in from..from + count {
                    text.push(text[at]);
                }
            } else {
                // Low symbols are more frequent.
                text.push((random.usize(..symbols) & random.usize(..symbols)) as u8);
            }
        }
        let level = random.u32(..7);
        let written = check(level, &text);
        assert!(written <= length + 8 + length / 4096, "round {round}: {written} of {length}");
    }
}

#[test]
fn flushed_input_is_decodable_and_pieces_do_not_matter() {
    let mut random = fastrand::Rng::with_seed(2);
    for level in [0, 4, 9] {
        let mut encoder = BrotliEncoder::new(level);
        let (mut output, mut text) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            let piece: Vec<u8> = (0..random.usize(..3000)).map(|_| random.u8(b'a'..=b'f')).collect();
            encoder.write(&piece);
            encoder.flush();
            output.extend(encoder.take());
            text.extend(piece);
            let mut whole = output.clone();
            // Last and empty.
            whole.push(0b11);
            assert!(decode(&whole).expect("all but the end") == text);
        }
        encoder.finish();
        output.extend(encoder.take());
        assert!(decode(&output).expect("a whole stream") == text);
        let pieces: Vec<&[u8]> = text.chunks(777).collect();
        assert_eq!(encode(level, &pieces), encode(level, &[&text]));
    }
}

#[test]
fn codes_have_15_bits_at_most() {
    // Huffman's code for the Fibonacci numbers has one bit more for each symbol.
    let (mut text, mut counts) = (Vec::new(), (1, 1));
    for symbol in 0..22 {
        text.extend(std::iter::repeat_n(symbol, counts.0));
        counts = (counts.1, counts.0 + counts.1);
    }
    fastrand::Rng::with_seed(3).shuffle(&mut text);
    let length = check(0, &text);
    assert!(length < text.len() / 2, "{length} of {}", text.len());
}
