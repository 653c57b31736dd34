//! The path that rules are matched against, normalised as by nginx: decoded, slashes merged, `.` and `..` resolved.

use std::borrow::Cow;
use std::cmp::Ordering;

/// Why a path cannot be normalised; the response is 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// It does not begin with a slash.
    NotAbsolute,
    /// A `%` without two hexadecimal digits, or a zero byte, encoded or not.
    BadCode,
    /// `..` goes above the root.
    AboveRoot,
}

impl std::fmt::Display for BadPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotAbsolute => "the path does not begin with a slash",
            Self::BadCode => "the path has an invalid percent-encoding",
            Self::AboveRoot => "the path goes above the root",
        })
    }
}

/// Bytes that are not UTF-8 are represented by characters from this one on; [`encode`] restores them.
const RAW: u32 = 0x10_FF00;

/// Decodes percent-encoding, merges slashes and resolves `.` and `..`.
///
/// Hot: a path that is already normal is returned unchanged, without an allocation.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, BadPath> {
    if !path.starts_with('/') {
        return Err(BadPath::NotAbsolute);
    }
    if is_normal(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let bytes = decode(path.as_bytes())?;
    let mut normal: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut segments = bytes[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"" | b"." => {}
            b".." => {
                let Some(parent) = normal.iter().rposition(|byte| *byte == b'/') else {
                    return Err(BadPath::AboveRoot);
                };
                normal.truncate(parent);
            }
            name => {
                normal.push(b'/');
                normal.extend_from_slice(name);
                continue;
            }
        }
        if last {
            normal.push(b'/');
        }
    }
    Ok(Cow::Owned(text(normal)))
}

/// Percent-encodes a normalised path for a request target, as nginx does (`ngx_escape_uri`).
pub fn encode(path: &str) -> Cow<'_, str> {
    encode_all(path, must_escape)
}

/// Percent-encodes a part of a normalised path for a query, as nginx does (`NGX_ESCAPE_ARGS`).
pub(crate) fn encode_argument(text: &str) -> Cow<'_, str> {
    encode_all(text, |c| must_escape(c) || matches!(c, '&' | '+' | ';'))
}

/// Percent-encodes these characters and text that is not ASCII.
fn encode_all(text: &str, must_escape: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|c| must_escape(c) || !c.is_ascii()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut buffer = [0; 4];
    for c in text.chars() {
        match u32::from(c).checked_sub(RAW) {
            Some(byte @ 0x80..=0xFF) => push_code(&mut out, byte as u8),
            _ if c.is_ascii() && !must_escape(c) => out.push(c),
            _ => c.encode_utf8(&mut buffer).bytes().for_each(|byte| push_code(&mut out, byte)),
        }
    }
    Cow::Owned(out)
}

/// Decodes the path of a redirect as nginx does after it has put together the replacement (`NGX_UNESCAPE_REDIRECT`): codes of visible
/// characters above `%`, up to the first question mark.
pub(crate) fn decode_redirect(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['%', '?']) {
        let (before, special) = rest.split_at(at);
        out.push_str(before);
        let code = special.strip_prefix('%').and_then(|code| code.get(..2));
        let code = code.filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte @ b'&'..=b'~') => {
                out.push(char::from(byte));
                rest = &special[3..];
                if byte == b'?' {
                    break;
                }
            }
            _ if special.starts_with('?') => {
                rest = special;
                break;
            }
            _ => {
                out.push('%');
                rest = &special[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Escapes only what must not occur in a request line or a header: control characters, spaces, quotes and text that is
/// not ASCII. Percent-encoding and delimiters are kept.
pub fn encode_unsafe(text: &str) -> Cow<'_, str> {
    let is_unsafe = |c: char| !c.is_ascii() || must_escape(c) && !matches!(c, '%' | '?');
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            out.push_str(&encode(c.encode_utf8(&mut [0; 4])));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Percent-encodes a text for a part of a query: all but letters, digits, `-`, `.`, `_` and `~` (RFC 3986 §2.3).
pub fn encode_component(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            byte => push_code(&mut out, byte),
        }
    }
    out
}

fn push_code(out: &mut String, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend(['%', HEX[usize::from(byte >> 4)] as char, HEX[usize::from(byte & 15)] as char]);
}

fn must_escape(c: char) -> bool {
    c <= ' ' || matches!(c, '"' | '#' | '%' | '<' | '>' | '?' | '\\' | '^' | '`' | '{' | '|' | '}' | '\x7F')
}

/// Bits of [`PATH_BYTES`]: a byte of no normal path, a slash, and a byte that does not follow a slash.
const ABNORMAL: u8 = 1;
const SLASH: u8 = 2;
const NOT_AFTER_SLASH: u8 = 4;

static PATH_BYTES: [u8; 256] = {
    let mut kinds = [0; 256];
    kinds[0] = ABNORMAL;
    kinds[b'%' as usize] = ABNORMAL;
    kinds[b'.' as usize] = NOT_AFTER_SLASH;
    kinds[b'/' as usize] = SLASH | NOT_AFTER_SLASH;
    kinds
};

/// Hot: without a branch for each byte, eleven instructions instead of eighteen.
fn is_normal(path: &[u8]) -> bool {
    let (mut found, mut unwanted) = (0, ABNORMAL);
    for byte in path {
        let kind = PATH_BYTES[usize::from(*byte)];
        found |= kind & unwanted;
        // A slash adds NOT_AFTER_SLASH, which is its own bit doubled.
        unwanted = ABNORMAL | (kind & SLASH) << 1;
    }
    found == 0
}

fn decode(path: &[u8]) -> Result<Vec<u8>, BadPath> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.iter();
    while let Some(&byte) = rest.next() {
        if byte == 0 {
            return Err(BadPath::BadCode);
        }
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit =
            || rest.next().and_then(|digit| char::from(*digit).to_digit(16)).ok_or(BadPath::BadCode);
        let code = digit()? * 16 + digit()?;
        if code == 0 {
            return Err(BadPath::BadCode);
        }
        bytes.push(code as u8);
    }
    Ok(bytes)
}

/// The bytes of a normalised path. Allocates only for one that is not ASCII.
pub fn bytes(path: &str) -> Cow<'_, [u8]> {
    if path.is_ascii() {
        return Cow::Borrowed(path.as_bytes());
    }
    let (mut bytes, mut buffer) = (Vec::with_capacity(path.len()), [0; 4]);
    for c in path.chars() {
        match u32::from(c).checked_sub(RAW) {
            Some(byte @ 0x80..=0xFF) => bytes.push(byte as u8),
            _ => bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes()),
        }
    }
    Cow::Owned(bytes)
}

/// The bytes of a path that may be percent-encoded. Allocates only if it is; one that cannot be decoded is returned as it is.
pub fn decoded(path: &str) -> Cow<'_, [u8]> {
    let decoded = path.contains('%').then(|| decode(path.as_bytes()).ok()).flatten();
    decoded.map_or(Cow::Borrowed(path.as_bytes()), Cow::Owned)
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| {
        let mut text = String::with_capacity(error.as_bytes().len() + 16);
        for chunk in error.as_bytes().utf8_chunks() {
            text.push_str(chunk.valid());
            text.extend(chunk.invalid().iter().filter_map(|byte| char::from_u32(RAW + u32::from(*byte))));
        }
        text
    })
}

/// The order of bytes, except that the slash comes before all others. So a path is followed by that path with a slash,
/// then by all paths below it, and then by others.
pub(crate) fn by_segment(one: &str, other: &str) -> Ordering {
    let rank = |byte: u8| if byte == b'/' { 0 } else { u16::from(byte) + 1 };
    let at = common(one, other);
    let (one, other) = (one.as_bytes().get(at), other.as_bytes().get(at));
    one.map(|byte| rank(*byte)).cmp(&other.map(|byte| rank(*byte)))
}

/// How many bytes two paths have in common at their start.
pub(crate) fn common(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside nginx 1.22: `rewrite /p/(.*) /n/$1 permanent` with a coded request.
    #[test]
    fn the_path_of_a_redirect_is_decoded_as_nginx_does() {
        for (part, wanted) in [
            ("a|b c", "a|b%20c"),
            ("{}[]^`\\<>", "{}[]^`\\<>"),
            ("\"#%&+;", "%22%23%25&+;"),
            ("é", "%C3%A9"),
            ("a?b|c&d", "a?b%7Cc%26d"),
        ] {
            assert_eq!(decode_redirect(&encode_argument(part)), wanted, "{part}");
        }
        for (text, wanted) in
            [("/%41%7c", "/A|"), ("/%", "/%"), ("/%2", "/%2"), ("/%zz%7c", "/%zz|"), ("/a?%7c", "/a?%7c")]
        {
            assert_eq!(decode_redirect(text), wanted, "{text}");
        }
    }

    #[test]
    fn paths_are_normalised_as_nginx_does() {
        for (path, normal) in [
            ("/", Ok("/")),
            ("/a/b", Ok("/a/b")),
            ("/a//b///", Ok("/a/b/")),
            ("//", Ok("/")),
            ("/a/./b", Ok("/a/b")),
            ("/a/.", Ok("/a/")),
            ("/a/..", Ok("/")),
            ("/a/b/..", Ok("/a/")),
            ("/a/../b", Ok("/b")),
            ("/a/../../b", Err(BadPath::AboveRoot)),
            ("/..", Err(BadPath::AboveRoot)),
            ("/a/...", Ok("/a/...")),
            ("/.hidden", Ok("/.hidden")),
            ("/%61dmin", Ok("/admin")),
            ("/a/%2e%2E/b", Ok("/b")),
            ("/a%2Fb", Ok("/a/b")),
            ("/a%2f%2fb", Ok("/a/b")),
            ("/a%3Fb%23c%25d", Ok("/a?b#c%d")),
            ("/a%2", Err(BadPath::BadCode)),
            ("/a%zz", Err(BadPath::BadCode)),
            ("/a%00", Err(BadPath::BadCode)),
            ("/caf%C3%A9", Ok("/café")),
            ("a", Err(BadPath::NotAbsolute)),
            ("", Err(BadPath::NotAbsolute)),
            ("*", Err(BadPath::NotAbsolute)),
        ] {
            assert_eq!(normalise(path).as_deref(), normal.as_ref().map(|normal| *normal), "{path}");
        }
    }

    #[test]
    fn a_normal_path_is_not_copied() {
        for path in ["/", "/shop/cart", "/a.b/c..d/.."] {
            let borrowed = matches!(normalise(path), Ok(Cow::Borrowed(_)));
            assert_eq!(borrowed, !path.ends_with("/.."), "{path}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_restored_by_encoding() {
        let normal = normalise("/caf%E9/%C3%A9 x").expect("it is a path");
        assert_eq!(encode(&normal), "/caf%E9/%C3%A9%20x");
        assert_eq!(encode("/a?b#c%d\"e"), "/a%3Fb%23c%25d%22e");
        assert_eq!(encode("/plain-path_~!$&'()*+,;=:@"), "/plain-path_~!$&'()*+,;=:@");
    }
}
