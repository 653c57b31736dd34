//! Which bytes methods, hosts, targets and field names consist of.

/// The bytes of a token (RFC 9110 §5.6.2).
pub const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~", true);
/// The bytes that are not percent-encoded: those that the `http` crate accepts in path and query.
const TAME: [bool; 256] = table(b"!$%&'()*+,-./:;=?@[\\]^_{|}~", true);

const fn table(marks: &[u8], alphanumeric: bool) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = alphanumeric && (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
}

/// Whether there are no control characters other than tabs and line ends, whose positions are checked later.
pub(super) fn plain(text: &[u8]) -> bool {
    // Written so that the compiler vectorises it: no branch, no early return.
    let odd = |byte: u8| byte < b' ' && byte != b'\t' && byte != b'\r' && byte != b'\n' || byte == 0x7f;
    !text.iter().fold(false, |any, byte| any | odd(*byte))
}

/// Whether nginx accepts the method: upper case letters, underscores and hyphens.
pub(super) fn valid_method(method: &[u8]) -> bool {
    !method.is_empty() && method.iter().all(method_byte)
}

pub(crate) fn method_byte(byte: &u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'_' | b'-')
}

/// Whether nginx accepts a host with or without port: no slash, no white space, no two dots in a row, a name before the port,
/// closed brackets.
pub fn valid_host(host: &[u8]) -> bool {
    let (mut name_end, mut before) = (None, 0);
    if host.first() == Some(&b'[') {
        let Some(end) = memchr::memchr(b']', host) else { return false };
        let rest = &host[end + 1..];
        return end > 1 && (rest.is_empty() || rest[0] == b':') && host.iter().all(host_byte);
    }
    for (at, byte) in host.iter().enumerate() {
        if !HOST[usize::from(*byte)] {
            let is_colon = *byte == b':';
            if !is_colon && (*byte != b'.' || before == b'.') {
                return false;
            }
            if is_colon {
                name_end = name_end.or(Some(at));
            }
        }
        before = *byte;
    }
    name_end.unwrap_or(host.len()) > 0
}

const fn host_byte(byte: &u8) -> bool {
    *byte > b' ' && *byte != 0x7f && !matches!(byte, b'/' | b'\\' | b'@' | b'?' | b'#')
}

/// The bytes of a host that need no further look.
const HOST: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0);
    while byte < 256 {
        table[byte] = host_byte(&(byte as u8)) && byte as u8 != b'.' && byte as u8 != b':';
        byte += 1;
    }
    table
};

/// A target for what needs a text: nginx accepts a raw `<` or backtick, and bytes that are not UTF-8. They are percent-encoded, which is
/// the same path. `None` if there are none.
pub fn encoded_target(target: &[u8]) -> Option<String> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if target.iter().fold(true, |tame, byte| tame & TAME[usize::from(*byte)]) {
        return None;
    }
    let mut encoded = String::with_capacity(target.len() + 32);
    for byte in target {
        if TAME[usize::from(*byte)] {
            encoded.push(char::from(*byte));
        } else {
            let digit = |half: u8| char::from(HEX[usize::from(half)]);
            encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    Some(encoded)
}
