//! The encoder of a request (specification §3.3, §3.4, §6.2): BEGIN_REQUEST, PARAMS, STDIN.

use super::{BEGIN_REQUEST, HEADER, PARAMS, REQUEST_ID, STDIN, VERSION};

/// The most data of one record.
const MAX_DATA: usize = u16::MAX as usize;
const RESPONDER: u8 = 1;
const KEEP_CONNECTION: u8 = 1;

fn header(kind: u8, length: u16) -> [u8; HEADER] {
    let ([id, id_low], [high, low]) = (REQUEST_ID.to_be_bytes(), length.to_be_bytes());
    [VERSION, kind, id, id_low, high, low, 0, 0]
}

/// Appends data as one record after another. Appends nothing for no data: an empty record ends a stream.
fn stream(kind: u8, data: &[u8], out: &mut Vec<u8>) {
    for part in data.chunks(MAX_DATA) {
        out.extend_from_slice(&header(kind, part.len() as u16));
        out.extend_from_slice(part);
    }
}

/// Appends the beginning of a request: BEGIN_REQUEST for a responder, and all parameters.
pub fn begin<'a>(
    keep_connection: bool,
    params: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&header(BEGIN_REQUEST, 8));
    let flags = if keep_connection { KEEP_CONNECTION } else { 0 };
    out.extend_from_slice(&[0, RESPONDER, flags, 0, 0, 0, 0, 0]);
    let mut pairs = Vec::with_capacity(1024);
    for (name, value) in params {
        length(name.len(), &mut pairs);
        length(value.len(), &mut pairs);
        pairs.extend_from_slice(name);
        pairs.extend_from_slice(value);
    }
    stream(PARAMS, &pairs, out);
    out.extend_from_slice(&header(PARAMS, 0));
}

/// The length of a name or value: one byte up to 127, else four with the highest bit set.
fn length(length: usize, out: &mut Vec<u8>) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        // Names and values come from a head of limited size, far below the 31 bits.
        _ => out.extend_from_slice(&(length as u32 | 1 << 31).to_be_bytes()),
    }
}

/// Appends a piece of the body.
pub fn body(data: &[u8], out: &mut Vec<u8>) {
    stream(STDIN, data, out);
}

/// Appends the end of the body.
pub fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(&header(STDIN, 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of an output as type and data.
    fn records(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
        let mut records = Vec::new();
        while let Some((head, rest)) = bytes.split_first_chunk::<HEADER>() {
            let length = usize::from(u16::from_be_bytes([head[4], head[5]]));
            assert_eq!((head[0], [head[2], head[3]], head[6]), (1, [0, 1], 0));
            records.push((head[1], &rest[..length]));
            bytes = &rest[length..];
        }
        assert!(bytes.is_empty());
        records
    }

    #[test]
    fn a_request_is_written_as_the_specification_says() {
        let (long, mut out) = (vec![b'v'; 128], Vec::new());
        begin(false, [(&b"A"[..], &b"bc"[..]), (b"EMPTY", b""), (b"L", &long)], &mut out);
        body(b"hello", &mut out);
        body(b"", &mut out);
        end(&mut out);
        let pairs = [&b"\x01\x02Abc\x05\0EMPTY\x01\x80\0\0\x80L"[..], &long].concat();
        let wanted: [(u8, &[u8]); 5] =
            [(1, &[0, 1, 0, 0, 0, 0, 0, 0]), (4, &pairs), (4, b""), (5, b"hello"), (5, b"")];
        assert_eq!(records(&out), wanted);
    }

    #[test]
    fn more_than_a_record_holds_is_written_as_several() {
        let (large, mut out) = (vec![b'x'; 2 * MAX_DATA + 1], Vec::new());
        begin(true, [(&b"LARGE"[..], &large[..])], &mut out);
        body(&large, &mut out);
        let lengths: Vec<_> = records(&out).iter().map(|(kind, data)| (*kind, data.len())).collect();
        let rest = 1 + 1 + 4 + 5;
        assert_eq!(
            lengths,
            [(1, 8), (4, MAX_DATA), (4, MAX_DATA), (4, rest), (4, 0), (5, MAX_DATA), (5, MAX_DATA), (5, 1)]
        );
        assert_eq!(out[HEADER + 2], KEEP_CONNECTION);
    }
}
