//! Reads JSON as the API server writes it, for the kinds of which a cluster has the most objects.
//!
//! A list of a large cluster has hundreds of megabytes, of which a small part is used. The scanner finds the end of everything else
//! without decoding it, three times as fast as serde. It gives up (`None`) on anything unusual in what is used: white space, escapes, `null`,
//! a field that occurs twice, a value of another type. The caller then decodes the text with serde, which also says what is wrong. What is
//! skipped is checked for the number of brackets and the ends of strings only.

use cluster::CompactString;

/// A position in a JSON text.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

/// The fields of an object that were read.
#[derive(Default)]
pub(super) struct SeenFields(u32);

impl SeenFields {
    /// Records field number `field`; `None` if it was read before.
    pub(super) fn add(&mut self, field: u32) -> Option<()> {
        let bit = 1 << field;
        let is_new = self.0 & bit == 0;
        self.0 |= bit;
        is_new.then_some(())
    }
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// Whether the whole text was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Reads an object. `field` gets the name of each field, and reads or skips its value.
    pub(super) fn object(&mut self, mut field: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            return self.expect(b'}');
        }
        loop {
            let name = self.string_bytes()?;
            self.expect(b':')?;
            field(self, name)?;
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Reads an array. `element` reads each of its values, which are added to `elements`.
    pub(super) fn array<T, L: Extend<T>>(
        &mut self,
        mut elements: L,
        mut element: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<L> {
        self.expect(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(elements);
        }
        loop {
            elements.extend(Some(element(self)?));
            match self.next()? {
                b',' => {}
                b']' => return Some(elements),
                _ => return None,
            }
        }
    }

    /// Whether a string follows.
    pub(super) fn is_at_string(&self) -> bool {
        self.peek() == Some(b'"')
    }

    /// Reads a string without escapes.
    pub(super) fn text(&mut self) -> Option<CompactString> {
        self.borrowed_text().map(CompactString::new)
    }

    /// Reads a string without escapes, and borrows it.
    pub(super) fn borrowed_text(&mut self) -> Option<&'a str> {
        let bytes = self.string_bytes()?;
        let is_printable = bytes.iter().all(|byte| *byte >= b' ');
        std::str::from_utf8(bytes).ok().filter(|_| is_printable)
    }

    /// The bytes of a string without escapes.
    pub(super) fn string_bytes(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let rest = self.text.get(self.at..)?;
        let end = quote_or_backslash(rest)?;
        self.at += end + 1;
        (rest[end] == b'"').then(|| &rest[..end])
    }

    /// Reads `true` or `false`.
    pub(super) fn boolean(&mut self) -> Option<bool> {
        let rest = self.text.get(self.at..)?;
        let value = rest.starts_with(b"true");
        let word: &[u8] = if value { b"true" } else { b"false" };
        self.at += word.len();
        rest.starts_with(word).then_some(value)
    }

    /// Reads a port number, 1 to 65535.
    pub(super) fn port(&mut self) -> Option<u16> {
        let start = self.at;
        while self.peek()?.is_ascii_digit() {
            self.at += 1;
        }
        let digits = std::str::from_utf8(&self.text[start..self.at]).ok()?;
        // JSON has no numbers with leading zeros.
        let number = digits.parse().ok().filter(|_| !digits.starts_with('0'));
        number.filter(|_| matches!(self.peek(), Some(b',' | b'}' | b']')))
    }

    /// Skips a value.
    pub(super) fn skip(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            match self.next()? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => depth += 1,
                // The end of what contains a number or a word.
                b'}' | b']' | b',' if depth == 0 => {
                    self.at -= 1;
                    return Some(());
                }
                b'}' | b']' => depth -= 1,
                _ => continue,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Skips the rest of a string.
    fn skip_string(&mut self) -> Option<()> {
        loop {
            let rest = self.text.get(self.at..)?;
            let end = quote_or_backslash(rest)?;
            if rest[end] == b'"' {
                self.at += end + 1;
                return Some(());
            }
            self.at += end + 2;
        }
    }
}

/// The index of the first quotation mark or backslash. Most strings are short: for those this takes half the time of `memchr`.
fn quote_or_backslash(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let with = |word: u64, byte: u8| {
        let word = word ^ (ONES * u64::from(byte));
        // The high bit of each byte that is zero, and perhaps of some after the first of them.
        word.wrapping_sub(ONES) & !word & (ONES << 7)
    };
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        let found = with(word, b'"') | with(word, b'\\');
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    Some(at + rest)
}

#[cfg(test)]
mod tests;
