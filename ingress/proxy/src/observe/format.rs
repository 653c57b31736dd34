//! Fields of the access log and of heads, written without `std::fmt`.

use std::time::Duration;

use bytes::BufMut;
use ingress_routes::LogEscape;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// A number in decimal. Hot: numbers of two and three digits, such as statuses, are copied as one piece of known length.
pub(crate) fn number(out: &mut impl BufMut, number: u64) {
    match number {
        10..100 => out.put_slice(&[digit(number / 10), digit(number)]),
        100..1000 => out.put_slice(&[digit(number / 100), digit(number / 10), digit(number)]),
        _ => out.put_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

/// Seconds with three decimals, cut off as nginx does.
pub(crate) fn seconds(out: &mut Vec<u8>, time: Duration) {
    let (seconds, millis) = (time.as_secs(), u64::from(time.subsec_millis()));
    if seconds >= 10 {
        number(out, seconds / 10);
    }
    out.extend_from_slice(&[digit(seconds), b'.', digit(millis / 100), digit(millis / 10), digit(millis)]);
}

/// The last digit of a number.
fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

/// nginx's default escaping: quote, backslash and what is not printable ASCII become `\xXX`.
pub(crate) fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    let is_escaped = |byte: u8| !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\';
    // Most texts have nothing to escape and are copied at once.
    if !has_special(text, true) {
        return out.extend_from_slice(text);
    }
    for byte in text {
        if is_escaped(*byte) {
            out.extend([b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            out.push(*byte);
        }
    }
}

/// Whether a text has a byte below the space, a quote or a backslash; with `or_not_ascii` also one from 127 on.
///
/// Hot: eight bytes at a time, one and a half instructions a byte. A compiler that does not vectorise the plain loop needs thirteen.
fn has_special(text: &[u8], or_not_ascii: bool) -> bool {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // Sets the high bit of a byte that is zero. A borrow changes only bytes above such a byte.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let special = |word: u64| {
        let below_space = word.wrapping_sub(ONES * b' ' as u64) & !word;
        let not_ascii = if or_not_ascii { word | word.wrapping_add(ONES) } else { 0 };
        let (quote, backslash) = (ONES * b'"' as u64, ONES * b'\\' as u64);
        below_space | not_ascii | zero(word ^ quote) | zero(word ^ backslash)
    };
    let (words, rest) = text.as_chunks::<8>();
    let found = words.iter().fold(0, |found, word| found | special(u64::from_le_bytes(*word)));
    // The last eight bytes overlap with the word before them.
    let last = text.last_chunk().copied().unwrap_or_else(|| {
        let mut last = [b'x'; 8];
        last[..rest.len()].copy_from_slice(rest);
        last
    });
    (found | special(u64::from_le_bytes(last))) & HIGH != 0
}

/// A value as nginx's `escape` writes it; `None` is a variable that was not found.
pub(crate) fn value(out: &mut Vec<u8>, escape: LogEscape, text: Option<&[u8]>) {
    match (escape, text) {
        (LogEscape::Default, Some(text)) => escaped(out, text),
        (LogEscape::Default, None) => out.push(b'-'),
        (LogEscape::Json, Some(text)) => json_escaped(out, text),
        (LogEscape::None, Some(text)) => out.extend_from_slice(text),
        (LogEscape::Json | LogEscape::None, None) => {}
    }
}

/// nginx's escaping for JSON strings: bytes from 127 on are written as they are, as UTF-8 is.
fn json_escaped(out: &mut Vec<u8>, text: &[u8]) {
    if !has_special(text, false) {
        return out.extend_from_slice(text);
    }
    for byte in text {
        match *byte {
            b'"' | b'\\' => out.extend([b'\\', *byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            8 => out.extend(b"\\b"),
            12 => out.extend(b"\\f"),
            0..=31 => {
                out.extend(b"\\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            byte => out.push(byte),
        }
    }
}

/// Percent-encodes everything but letters, digits and `-._~`.
pub(crate) fn encoded(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(*byte);
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_have_three_decimals() {
        for (micros, text) in [
            (0, "0.000"),
            (1_999, "0.001"),
            (999_999, "0.999"),
            (10_000_000, "10.000"),
            (61_230_000, "61.230"),
            (1_234_567_000, "1234.567"),
        ] {
            assert_eq!(written(|out| seconds(out, Duration::from_micros(micros))), text);
        }
    }

    #[test]
    fn numbers_are_decimal() {
        for value in (0..2000).chain([u64::MAX]) {
            assert_eq!(written(|out| number(out, value)), value.to_string());
        }
    }

    #[test]
    fn texts_are_escaped_as_nginx_escapes_them() {
        for (text, escape) in [
            (&b"plain text"[..], "plain text"),
            (b"a\"b\\c", r"a\x22b\x5Cc"),
            (b"\x7f\xe4\n", r"\x7F\xE4\x0A"),
            (b"", ""),
        ] {
            assert_eq!(written(|out| escaped(out, text)), escape);
        }
    }

    #[test]
    fn every_byte_that_is_escaped_is_noticed_at_every_place() {
        for byte in 0..=u8::MAX {
            for at in 0..20 {
                let mut text = [b'x'; 20];
                text[at] = byte;
                let is_special = byte < b' ' || matches!(byte, b'"' | b'\\');
                assert_eq!(has_special(&text, false), is_special, "{byte:#x} at {at}");
                assert_eq!(has_special(&text, true), is_special || byte > b'~', "{byte:#x} at {at}");
            }
        }
    }

    #[test]
    fn each_escaping_is_that_of_nginx() {
        let text = &b"a\"\\ \x08\x0c\n\r\t\x01\x1f\x7f\xc3\xa9"[..];
        for (escape, escaped, absent) in [
            (LogEscape::Default, r"a\x22\x5C \x08\x0C\x0A\x0D\x09\x01\x1F\x7F\xC3\xA9", "-"),
            (LogEscape::Json, "a\\\"\\\\ \\b\\f\\n\\r\\t\\u0001\\u001F\x7f\u{e9}", ""),
            (LogEscape::None, "a\"\\ \x08\x0c\n\r\t\x01\x1f\x7f\u{e9}", ""),
        ] {
            assert_eq!(written(|out| value(out, escape, Some(text))), escaped);
            assert_eq!(written(|out| value(out, escape, Some(b""))), "", "{escape:?}");
            assert_eq!(written(|out| value(out, escape, None)), absent, "{escape:?}");
        }
        assert_eq!(written(|out| encoded(out, b"/a b?c=\xff~")), "%2Fa%20b%3Fc%3D%FF~");
    }
}
