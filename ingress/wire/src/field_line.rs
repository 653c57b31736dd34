//! One line of a head's fields (RFC 9112 §5).

use bytes::{BufMut, BytesMut};

use crate::head::{FieldSpan, Head, MAX_FIELDS, NameClass};
use crate::known_header::KnownHeader;
use crate::scan;

/// The kind of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// The input ends before the line does.
    More,
    /// A line that ends here.
    Next(usize),
    /// The empty line: the head ends here.
    End(usize),
    /// It violates the syntax.
    Malformed,
}

/// Reads the line that begins at `start` and adds its field to the head. With `BARE_LF`, a line feed alone ends a line.
///
/// A name directly before its colon, no folded lines, no control characters but tabs, and in a strict head CRLF after each line.
#[inline]
pub(crate) fn read<const BARE_LF: bool>(input: &[u8], start: usize, head: &mut Head) -> Line {
    let line = input.get(start..).unwrap_or_default();
    match line {
        [] | [b'\r'] => return Line::More,
        [b'\r', b'\n', ..] => return Line::End(start + 2),
        [b'\n', ..] if BARE_LF => return Line::End(start + 1),
        _ => {}
    }
    let Some(name_length) = scan::colon(line) else {
        return if memchr::memchr(b'\n', line).is_some() { Line::Malformed } else { Line::More };
    };
    let name = &line[..name_length];
    let (known, class) = match KnownHeader::of(name) {
        Some(known) => (Some(known), NameClass::Plain),
        None => match class(name) {
            Some(class) => (None, class),
            None => return Line::Malformed,
        },
    };
    let mut value = name_length + 1;
    while matches!(line.get(value), Some(b' ' | b'\t')) {
        value += 1;
    }
    let Some(length) = scan::control(&line[value..]) else { return Line::More };
    let line_end = value + length;
    let next = match &line[line_end..] {
        [b'\r', b'\n', ..] => line_end + 2,
        [b'\r'] => return Line::More,
        [b'\n', ..] if BARE_LF => {
            head.set_irregular();
            line_end + 1
        }
        _ => return Line::Malformed,
    };
    let mut value_end = line_end;
    while value_end > value && matches!(line[value_end - 1], b' ' | b'\t') {
        value_end -= 1;
    }
    if name_length > usize::from(u16::MAX) || head.len() >= MAX_FIELDS || start + next > u32::MAX as usize {
        return Line::Malformed;
    }
    head.push(FieldSpan {
        name: start as u32,
        value: (start + value) as u32,
        value_end: (start + value_end) as u32,
        name_length: name_length as u16,
        known,
        class,
    });
    Line::Next(start + next)
}

/// Writes a field of an HTTP/2 head as a line, and adds it to the list. The name is at most 64 KiB long, which h2 ensures.
pub(crate) fn write(head: &mut Head, name: &[u8], value: &[u8], buffer: &mut BytesMut) {
    let start = buffer.len();
    buffer.put_slice(name);
    buffer.put_slice(b": ");
    let from = buffer.len();
    buffer.put_slice(value);
    let leading = value.len() - value.trim_ascii_start().len();
    let value_end = from + value.trim_ascii_end().len();
    buffer.put_slice(b"\r\n");
    head.push(FieldSpan {
        name: start as u32,
        value: (from + leading).min(value_end) as u32,
        value_end: value_end as u32,
        name_length: name.len() as u16,
        known: KnownHeader::of(name),
        class: class(name).unwrap_or(NameClass::Token),
    });
}

/// Which bytes a name has; `None` if it is empty or no token.
#[inline]
pub(crate) fn class(name: &[u8]) -> Option<NameClass> {
    let highest = name.iter().fold(0, |highest: u8, byte| highest.max(CLASSES[usize::from(*byte)]));
    match highest {
        _ if name.is_empty() => None,
        0 => Some(NameClass::Plain),
        1 => Some(NameClass::Underscores),
        2 => Some(NameClass::Token),
        _ => None,
    }
}

/// The class of each byte; 3 for those that are not part of a token.
const CLASSES: [u8; 256] = {
    let mut classes = [3; 256];
    let mut byte = 0;
    while byte < 256 {
        if crate::request_head::TOKEN[byte] {
            classes[byte] = match byte as u8 {
                b'_' => 1,
                b'-' => 0,
                byte if byte.is_ascii_alphanumeric() => 0,
                _ => 2,
            };
        }
        byte += 1;
    }
    classes
};
