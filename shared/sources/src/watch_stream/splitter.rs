//! Cuts JSON objects out of a response body as it arrives, so that only one of them is in memory at a time.

use super::error::ApiError;

/// The longest object that is read, and the longest line of a watch: ten times what etcd stores of one object by
/// default (1.5 MiB).
pub(super) const MAX_OBJECT: usize = 16 << 20;

/// Memory that a splitter keeps after an object.
const KEPT_CAPACITY: usize = 1 << 16;

/// A part of a list or of a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// The JSON of an object, or a line of a watch.
    Whole(&'a [u8]),
    /// It is longer than 16 MiB and is skipped. These are its first bytes.
    TooLong(&'a [u8]),
}

/// Cuts the items out of a list of any name and formatting.
///
/// Lists of Kubernetes have one array at their top level, `items`, and its elements are objects.
#[derive(Debug, Default)]
pub(crate) struct ListSplitter {
    depth: usize,
    in_string: bool,
    escaped: bool,
    in_items: bool,
    /// The beginning of an item that has not ended.
    item: Buffer,
    /// The list without its items.
    envelope: Buffer,
}

impl ListSplitter {
    /// Reads the next bytes and passes each complete item to `each`. Fails when the list without its items is too long.
    pub(crate) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Part<'_>)) -> Result<(), ApiError> {
        let (mut from, mut next) = (0, 0);
        while let Some(byte) = bytes.get(next) {
            if self.in_string {
                next += self.skip_in_string(&bytes[next..]);
                continue;
            }
            let at = next;
            next += 1;
            match byte {
                b'"' => self.in_string = true,
                b'[' if self.depth == 1 => {
                    self.envelope.push(&bytes[from..=at]);
                    (self.depth, self.in_items) = (2, true);
                }
                b'{' | b'[' => {
                    if self.in_items && self.depth == 2 {
                        from = at;
                    }
                    self.depth += 1;
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.in_items && self.depth == 2 {
                        self.item.push(&bytes[from..=at]);
                        self.item.take(&mut each);
                    } else if self.in_items && self.depth == 1 {
                        (self.in_items, from) = (false, at);
                    }
                }
                _ => {}
            }
        }
        let rest = if self.in_items && self.depth == 2 { &[] } else { &bytes[from..] };
        let buffer = if self.in_items { &mut self.item } else { &mut self.envelope };
        buffer.push(rest);
        if self.envelope.too_long {
            return Err(ApiError::Malformed(format!(
                "a list whose own fields take more than {MAX_OBJECT} bytes"
            )));
        }
        Ok(())
    }

    /// The list without its items, once it is complete.
    pub(crate) fn envelope(&self) -> Option<&[u8]> {
        (self.depth == 0 && !self.envelope.bytes.is_empty()).then_some(&self.envelope.bytes)
    }

    /// Skips bytes of a string, up to its end or into an escape sequence. Returns how many.
    fn skip_in_string(&mut self, bytes: &[u8]) -> usize {
        if std::mem::take(&mut self.escaped) {
            return 1;
        }
        let Some(at) = memchr::memchr2(b'"', b'\\', bytes) else { return bytes.len() };
        (self.escaped, self.in_string) = (bytes[at] == b'\\', bytes[at] == b'\\');
        at + 1
    }
}

/// Cuts a watch into its lines, each of which is an event.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    line: Buffer,
}

impl LineSplitter {
    /// Reads the next bytes and passes each complete line to `each`. A last line without a line end is incomplete.
    pub(crate) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Part<'_>)) {
        let mut rest = bytes;
        let mut each = |line: Part<'_>| match line {
            Part::Whole(line) if line.trim_ascii().is_empty() => {}
            line => each(line),
        };
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            rest = after;
            if self.line.is_empty() && line.len() <= MAX_OBJECT {
                // The common case: the line arrived in one piece, and is not copied.
                each(Part::Whole(line));
                continue;
            }
            self.line.push(line);
            self.line.take(&mut each);
        }
        self.line.push(rest);
    }
}

/// Collects the bytes of one object, up to [`MAX_OBJECT`]; of a longer one only the beginning is kept.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.too_long
    }

    fn push(&mut self, bytes: &[u8]) {
        if !self.too_long && self.bytes.len() + bytes.len() > MAX_OBJECT {
            self.too_long = true;
            self.bytes.truncate(KEPT_CAPACITY);
            self.bytes.shrink_to(KEPT_CAPACITY);
        }
        if !self.too_long {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Passes the collected bytes to `each`, and empties the buffer.
    fn take(&mut self, mut each: impl FnMut(Part<'_>)) {
        each(if self.too_long { Part::TooLong(&self.bytes) } else { Part::Whole(&self.bytes) });
        self.too_long = false;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_CAPACITY);
    }
}

#[cfg(test)]
mod tests;
