//! Domain names in wire form (RFC 1035 §3.1).

use std::fmt;
use std::str::FromStr;

/// The longest name in bytes, with length bytes and root (RFC 1035 §2.3.4).
pub const MAX_NAME: usize = 255;
/// The longest label in bytes (RFC 1035 §2.3.4).
pub const MAX_LABEL: usize = 63;
/// The most labels in a name of [`MAX_NAME`] bytes.
pub const MAX_LABELS: usize = 127;

/// A complete name in wire form, stored inline. Keeps its letter case.
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    bytes: [u8; MAX_NAME],
}

/// A text that is not a domain name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    /// The text.
    pub name: String,
    /// What was expected.
    pub wanted: &'static str,
}

impl Name {
    /// The root.
    pub const ROOT: Self = Self { len: 1, bytes: [0; MAX_NAME] };

    /// No bytes: the start of a name that is being built.
    const EMPTY: Self = Self { len: 0, bytes: [0; MAX_NAME] };

    /// The name at the start of `wire`. `None` unless it is complete: without a pointer, and ended by the root.
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        let mut end = 0;
        loop {
            match usize::from(*wire.get(end)?) {
                0 => return Self::EMPTY.extended(&wire[..=end]),
                len if len > MAX_LABEL => return None,
                len => end += 1 + len,
            }
        }
    }

    /// The name in the first `len` bytes, which are known to be a complete one.
    pub(crate) fn from_checked(len: u8, bytes: [u8; MAX_NAME]) -> Self {
        debug_assert!(Self::from_wire(&bytes[..usize::from(len)]).is_some_and(|name| name.len == len));
        Self { len, bytes }
    }

    /// These labels in wire form, above this name. `None` when they are not complete labels, or the name becomes too long.
    // Hot: 0 allocations.
    pub fn below(&self, labels: &[u8]) -> Option<Self> {
        let mut at = 0;
        while at < labels.len() {
            let len = usize::from(labels[at]);
            if !(1..=MAX_LABEL).contains(&len) {
                return None;
            }
            at += 1 + len;
        }
        if at != labels.len() {
            return None;
        }
        Self::EMPTY.extended(labels)?.extended(self.wire())
    }

    /// The wire form, root included.
    pub fn wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The labels from left to right, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        labels(self.wire())
    }

    /// The same name with ASCII letters in lower case (RFC 4343 §3).
    #[must_use]
    pub fn lower(mut self) -> Self {
        // Lengths are below 64 and so never letters.
        self.bytes[..usize::from(self.len)].make_ascii_lowercase();
        self
    }

    /// Whether this name is `zone` or below it, ignoring case.
    pub fn is_within(&self, zone: &Self) -> bool {
        let (name, zone) = (self.wire(), zone.wire());
        let mut at = 0;
        loop {
            if name.len() - at == zone.len() {
                return name[at..].eq_ignore_ascii_case(zone);
            }
            if name.len() - at < zone.len() || name[at] == 0 {
                return false;
            }
            at += 1 + usize::from(name[at]);
        }
    }

    /// Appends raw wire bytes. `None` when the name becomes too long.
    fn extend(&mut self, bytes: &[u8]) -> Option<()> {
        let len = usize::from(self.len);
        self.bytes.get_mut(len..len + bytes.len())?.copy_from_slice(bytes);
        self.len = u8::try_from(len + bytes.len()).ok()?;
        Some(())
    }

    fn extended(mut self, bytes: &[u8]) -> Option<Self> {
        self.extend(bytes)?;
        Some(self)
    }
}

/// The labels of a complete name in wire form from left to right, without the root.
pub fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let (&len, tail) = rest.split_first()?;
        let (label, tail) = tail.split_at_checked(usize::from(len))?;
        rest = tail;
        (len != 0).then_some(label)
    })
}

/// The most pointers that are followed in a name: more than one per label are never useful. Go's library has the same limit.
/// Without a limit a packet of pointers to pointers would cost thousands of steps for each of its names.
const MAX_POINTERS: usize = MAX_LABELS - 1;

/// Reads the name at `at` of a packet, following pointers (RFC 1035 §4.1.4). Returns it and where the next field
/// begins. A pointer must point before the name that contains it, so that there are no loops.
pub(crate) fn read(packet: &[u8], at: usize) -> Option<(Name, usize)> {
    let mut name = Name::EMPTY;
    let (mut at, mut before, mut next) = (at, at, None);
    let mut pointers = 0;
    loop {
        let len = *packet.get(at)?;
        match len {
            0 => return Some((name.extended(&[0])?, next.unwrap_or(at + 1))),
            1..=63 => {
                name.extend(packet.get(at..=at + usize::from(len))?)?;
                at += 1 + usize::from(len);
            }
            0xc0.. => {
                let to = usize::from(len & 0x3f) << 8 | usize::from(*packet.get(at + 1)?);
                pointers += 1;
                if to >= before || pointers > MAX_POINTERS {
                    return None;
                }
                next.get_or_insert(at + 2);
                (at, before) = (to, to);
            }
            // 0x40 and 0x80 are reserved (RFC 6891 §5).
            _ => return None,
        }
    }
}

/// Parses the text form of a name (RFC 1035 §5.1): `\.` and `\DDD` are escapes, the final dot may be left out.
impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let bad = |wanted| InvalidName { name: text.to_owned(), wanted };
        let mut name = Self::EMPTY;
        if text == "." {
            return Ok(Self::ROOT);
        }
        let mut label = [0; MAX_LABEL + 1];
        let mut len = 0;
        let mut bytes = text.bytes();
        let mut done = text.is_empty();
        while !done {
            let byte = match bytes.next() {
                Some(b'.') | None if len == 0 => return Err(bad("labels of 1 to 63 bytes")),
                end @ (Some(b'.') | None) => {
                    label[0] = len as u8;
                    name.extend(&label[..=len]).ok_or_else(|| bad("at most 255 bytes"))?;
                    len = 0;
                    done = end.is_none() || bytes.len() == 0;
                    continue;
                }
                Some(b'\\') => {
                    parse_escape(&mut bytes).ok_or_else(|| bad("\\ before a character or three digits"))?
                }
                Some(byte) => byte,
            };
            len += 1;
            *label.get_mut(len).ok_or_else(|| bad("labels of 1 to 63 bytes"))? = byte;
        }
        name.extended(&[0]).ok_or_else(|| bad("at most 255 bytes"))
    }
}

fn parse_escape(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let value = digit(first)? * 100 + digit(bytes.next()?)? * 10 + digit(bytes.next()?)?;
    u8::try_from(value).ok()
}

/// Writes the text form of a name with the final dot. Characters that have a meaning in a zone file are escaped.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.len <= 1 {
            return f.write_str(".");
        }
        for label in self.labels() {
            for &byte in label {
                match byte {
                    b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                        write!(f, "\\{}", char::from(byte))?;
                    }
                    b'!'..=b'~' => write!(f, "{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_str(".")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.wire() == other.wire()
    }
}

impl Eq for Name {}

impl std::hash::Hash for Name {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.wire().hash(state);
    }
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a domain name: expected {}", self.name, self.wanted)
    }
}

impl std::error::Error for InvalidName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_parses_from_text_and_prints_as_text() {
        for (text, written) in [
            (".", "."),
            ("", "."),
            ("a", "a."),
            ("Cluster.Local", "Cluster.Local."),
            ("cluster.local.", "cluster.local."),
            (r"a\.b.c", r"a\.b.c."),
            (r"a\046b.c", r"a\.b.c."),
            (r"\000\255.x", r"\000\255.x."),
            ("_http._tcp.web", "_http._tcp.web."),
        ] {
            let name: Name = text.parse().expect(text);
            assert_eq!(name.to_string(), written, "{text:?}");
            assert_eq!(name.to_string().parse::<Name>().as_ref(), Ok(&name), "{text:?} parsed again");
        }
    }

    #[test]
    fn invalid_names_are_rejected() {
        let label = "a".repeat(64);
        let long = vec!["a".repeat(63); 4].join(".");
        for text in ["..", ".a", "a..b", r"a\", r"a\25", r"a\999", &label, &long] {
            assert!(text.parse::<Name>().is_err(), "{text:?}");
        }
        assert!(vec!["a".repeat(61); 4].join(".").parse::<Name>().is_ok(), "248 + root is short enough");
    }

    #[test]
    fn a_name_is_within_a_zone_at_label_borders_only() {
        for (name, zone, within) in [
            ("web.cluster.local", "cluster.local", true),
            ("CLUSTER.local", "cluster.LOCAL", true),
            ("mycluster.local", "cluster.local", false),
            ("local", "cluster.local", false),
            ("a.b", ".", true),
            (".", ".", true),
            (".", "a", false),
        ] {
            let (name, zone): (Name, Name) = (name.parse().unwrap(), zone.parse().unwrap());
            assert_eq!(name.is_within(&zone), within, "{name} in {zone}");
        }
    }

    #[test]
    fn pointers_must_point_backwards() {
        // The root, followed by pointers that each point to the one before.
        let to = |at: u16| (0xc000 | at).to_be_bytes();
        let chain = [vec![0], to(0).to_vec(), (0..200).flat_map(|i| to(1 + 2 * i)).collect()].concat();
        for (what, packet, at, read_as) in [
            ("plain", &b"\x01a\x00"[..], 0, Some(("a.", 3))),
            ("pointer", b"\x01a\x00\x01b\xc0\x00", 3, Some(("b.a.", 7))),
            ("to itself", b"\xc0\x00", 0, None),
            ("forward", b"\xc0\x02\x00", 0, None),
            ("loop of two", b"\x01a\xc0\x04\x01b\xc0\x00", 4, None),
            ("into the middle of itself", b"\x01a\xc0\x00", 0, None),
            ("reserved bits", b"\x80\x00", 0, None),
            ("truncated", b"\x03ab", 0, None),
            ("no root", b"\x01a", 0, None),
            ("as many pointers as allowed", &chain, 1 + 2 * 125, Some((".", 1 + 2 * 126))),
            ("one more", &chain, 1 + 2 * 126, None),
        ] {
            let got = read(packet, at).map(|(name, next)| (name.to_string(), next));
            assert_eq!(got, read_as.map(|(name, next): (&str, _)| (name.to_owned(), next)), "{what}");
        }
    }
}
