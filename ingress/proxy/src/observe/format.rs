//! Small texts of the access log and of heads, written without the formatting machinery.

use std::time::Duration;

use bytes::BufMut;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// A number in decimal.
pub(crate) fn number(out: &mut impl BufMut, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

/// Seconds with three decimals, cut off as nginx does.
pub(crate) fn seconds(out: &mut Vec<u8>, time: Duration) {
    number(out, time.as_secs());
    let millis = time.subsec_millis();
    out.extend([
        b'.',
        b'0' + (millis / 100) as u8,
        b'0' + (millis / 10 % 10) as u8,
        b'0' + (millis % 10) as u8,
    ]);
}

/// nginx's default escaping: quote, backslash and what is not printable ASCII become `\xXX`.
pub(crate) fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    let odd = |byte: u8| !(b' '..=b'~').contains(&byte) || byte == b'"' || byte == b'\\';
    // Most texts have nothing to escape and are copied at once.
    if !text.iter().fold(false, |any, byte| any | odd(*byte)) {
        return out.extend_from_slice(text);
    }
    for byte in text {
        if odd(*byte) {
            out.extend([b'\\', b'x', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        } else {
            out.push(*byte);
        }
    }
}

/// The user of `Authorization: Basic` (RFC 7617), as `$remote_user` has it.
pub(crate) fn basic_user(authorization: &[u8]) -> Option<Vec<u8>> {
    let (scheme, code) = authorization.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut pair = base64(code.trim_ascii())?;
    let colon = memchr::memchr(b':', &pair)?;
    pair.truncate(colon);
    (!pair.is_empty()).then_some(pair)
}

fn base64(code: &[u8]) -> Option<Vec<u8>> {
    let code = code.strip_suffix(b"==").or(code.strip_suffix(b"=")).unwrap_or(code);
    let mut out = Vec::with_capacity(code.len() / 4 * 3 + 2);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in code {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
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
        for (micros, text) in [(0, "0.000"), (1_999, "0.001"), (61_230_000, "61.230"), (999_999, "0.999")] {
            assert_eq!(written(|out| seconds(out, Duration::from_micros(micros))), text);
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
    fn the_user_is_read_from_basic_authorization() {
        for (header, user) in [
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some("Aladdin")),
            ("basic Zm9vOg==", Some("foo")),
            ("Basic Zm9v", None),
            ("Basic !!", None),
            ("Bearer x:y", None),
            ("Basi", None),
        ] {
            assert_eq!(basic_user(header.as_bytes()).as_deref(), user.map(str::as_bytes), "{header}");
        }
    }
}
