//! Requests of HTTP/2 as frames, whose fields may have any bytes: literals without Huffman coding (RFC 7541 §6.2.2).

use std::net::SocketAddr;

use super::http1::Answer;
use crate::frames::{DATA, Frames, GOAWAY, HEADERS, RST_STREAM};

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const CONTINUATION: u8 = 9;

/// The fields of a request and its body.
pub(super) struct Http2Request<'a> {
    pub(super) fields: &'a [(&'a str, &'a str)],
    /// The DATA frames; without any the head ends the stream.
    pub(super) data: &'a [&'a str],
    pub(super) trailers: &'a [(&'a str, &'a str)],
}

/// A field block.
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            string(&mut block, &bytes(text));
        }
    }
    block
}

/// One byte for each character, so that a text can have any bytes.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(u32::from(char)).expect("a character up to U+00FF")).collect()
}

/// A string literal (RFC 7541 §5.2).
fn string(block: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 127 {
        block.push(length as u8);
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push((length % 128) as u8 | 128);
            length /= 128;
        }
        block.push(length as u8);
    }
    block.extend(text);
}

/// Sends a request on a new connection and reads what happens to its stream.
pub(super) fn ask(address: SocketAddr, request: &Http2Request<'_>) -> Answer {
    let mut client = Frames::connect(address, &[]);
    // Writing fails if the server has closed the connection, which the read tells better.
    let _ = send(&mut client, request);
    answer(&mut client)
}

fn send(client: &mut Frames, request: &Http2Request<'_>) -> std::io::Result<()> {
    let has_trailers = !request.trailers.is_empty();
    send_block(client, &block(request.fields), request.data.is_empty() && !has_trailers)?;
    for (at, data) in request.data.iter().enumerate() {
        let is_last = at + 1 == request.data.len() && !has_trailers;
        client.send(DATA, if is_last { END_STREAM } else { 0 }, 1, data.as_bytes())?;
    }
    if has_trailers {
        send_block(client, &block(request.trailers), true)?;
    }
    Ok(())
}

/// A HEADERS frame, and CONTINUATION frames for what is longer.
fn send_block(client: &mut Frames, block: &[u8], ends: bool) -> std::io::Result<()> {
    let end_stream = if ends { END_STREAM } else { 0 };
    let count = block.chunks(16_384).count();
    for (at, piece) in block.chunks(16_384).enumerate() {
        let end_headers = if at + 1 == count { END_HEADERS } else { 0 };
        let (kind, flags) = if at == 0 { (HEADERS, end_stream) } else { (CONTINUATION, 0) };
        client.send(kind, flags | end_headers, 1, piece)?;
    }
    Ok(())
}

/// Reads until stream 1 or the connection ends.
pub(super) fn answer(client: &mut Frames) -> Answer {
    let (mut status, mut body) = (0, Vec::new());
    while let Ok((kind, flags, stream, payload)) = client.read_frame() {
        let code = |at: usize| payload.get(at..at + 4).map_or("", |code| error_code(code[3]));
        match (kind, stream) {
            (HEADERS, 1) if status == 0 => status = status_of(&payload),
            (DATA, 1) => body.extend_from_slice(&payload),
            (RST_STREAM, 1) => return Answer::ended(format!("RST_STREAM {}", code(0))),
            (GOAWAY, _) if code(4) != "NO_ERROR" => return Answer::ended(format!("GOAWAY {}", code(4))),
            _ => {}
        }
        if status == 100 {
            status = 0;
        }
        if stream == 1 && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            return Answer::of(status, String::from_utf8_lossy(&body).into_owned());
        }
    }
    Answer::ended("closed")
}

/// The status, which both servers send first: indexed, or a literal with or without Huffman coding.
fn status_of(block: &[u8]) -> u16 {
    // A change of the table's size may precede it (RFC 7541 §6.3).
    let start = block.iter().position(|byte| byte >> 5 != 1).unwrap_or_default();
    match block[start] {
        indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        _ => {
            let length = block[start + 1];
            let text = &block[start + 2..start + 2 + usize::from(length & 0x7f)];
            if length & 0x80 == 0 { decimal(text.iter().map(|digit| digit - b'0')) } else { huffman(text) }
        }
    }
}

fn decimal(digits: impl Iterator<Item = u8>) -> u16 {
    digits.fold(0, |number, digit| number * 10 + u16::from(digit))
}

/// Three digits (RFC 7541, appendix B): 0 to 2 have the codes 00000 to 00010, 3 to 9 have 011001 to 011111.
fn huffman(text: &[u8]) -> u16 {
    let bit = |at: usize| text.get(at / 8).map_or(1, |byte| byte >> (7 - at % 8) & 1);
    let mut at = 0;
    let digits: Vec<u8> = (0..3)
        .map(|_| {
            let five = (0..5).fold(0, |code, offset| code << 1 | bit(at + offset));
            if five < 3 {
                at += 5;
                five
            } else {
                at += 6;
                (five << 1 | bit(at - 1)) - 0b01_1001 + 3
            }
        })
        .collect();
    decimal(digits.into_iter())
}

/// The name of an error code (RFC 9113 §7).
fn error_code(code: u8) -> &'static str {
    let names = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
    ];
    names.get(usize::from(code)).unwrap_or(&"unknown")
}
