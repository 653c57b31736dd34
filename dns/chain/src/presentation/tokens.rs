//! The tokens of a zone file: words and quoted strings, entries that parentheses continue over lines, comments (RFC 1035 §5.1).

use dns_wire::Name;

use super::InvalidRecord;

/// A word, or a quoted string without its quotes. Escapes are not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ZoneToken<'a> {
    pub text: &'a str,
    pub quoted: bool,
}

/// The tokens of one record or directive.
#[derive(Debug)]
pub(super) struct ZoneLine<'a> {
    /// The line on which it begins.
    pub line: usize,
    /// Whether the line begins with a blank: the owner is that of the record before.
    pub indented: bool,
    pub tokens: Vec<ZoneToken<'a>>,
}

/// The entries of a text that have tokens.
pub(super) fn entries(text: &str) -> impl Iterator<Item = Result<ZoneLine<'_>, InvalidRecord>> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed {
            return None;
        }
        let entry = lexer.entry().transpose();
        failed = matches!(entry, Some(Err(_)));
        entry
    })
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn entry(&mut self) -> Result<Option<ZoneLine<'a>>, InvalidRecord> {
        let bytes = self.text.as_bytes();
        let mut entry = ZoneLine { line: self.line, indented: false, tokens: Vec::new() };
        let (mut depth, mut at_start) = (0_usize, true);
        while let Some(&byte) = bytes.get(self.at) {
            let line = self.line;
            let failed = |what: &str| InvalidRecord { line, what: what.to_owned() };
            match byte {
                b'\n' => {
                    self.at += 1;
                    self.line += 1;
                    if depth == 0 {
                        if !entry.tokens.is_empty() {
                            return Ok(Some(entry));
                        }
                        entry.line = self.line;
                        (entry.indented, at_start) = (false, true);
                        continue;
                    }
                }
                b' ' | b'\t' | b'\r' => {
                    entry.indented |= at_start;
                    self.at += 1;
                }
                b';' => self.at = self.find(|byte| byte == b'\n'),
                b'(' => {
                    depth += 1;
                    self.at += 1;
                }
                b')' => {
                    depth = depth.checked_sub(1).ok_or_else(|| failed("')' without '('"))?;
                    self.at += 1;
                }
                b'"' => {
                    let start = self.at + 1;
                    let end = self.quote_end().ok_or_else(|| failed("a quote is not closed"))?;
                    entry.tokens.push(ZoneToken { text: &self.text[start..end], quoted: true });
                    self.at = end + 1;
                }
                _ => {
                    let start = self.at;
                    self.word().ok_or_else(|| failed("a quote is not closed"))?;
                    entry.tokens.push(ZoneToken { text: &self.text[start..self.at], quoted: false });
                }
            }
            at_start = false;
        }
        if depth > 0 {
            return Err(InvalidRecord { line: entry.line, what: "'(' is not closed".to_owned() });
        }
        Ok((!entry.tokens.is_empty()).then_some(entry))
    }

    /// Where the next byte with this property is, or the end.
    fn find(&self, is: impl Fn(u8) -> bool) -> usize {
        let rest = &self.text.as_bytes()[self.at..];
        rest.iter().position(|byte| is(*byte)).map_or(self.text.len(), |position| self.at + position)
    }

    /// Where the quoted string that begins here ends. Counts its lines.
    fn quote_end(&mut self) -> Option<usize> {
        let mut at = self.at + 1;
        loop {
            match self.text.as_bytes().get(at)? {
                b'"' => return Some(at),
                b'\\' => at += 2,
                b'\n' => {
                    self.line += 1;
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    /// Moves behind a word. It may have a quoted part: `alpn="h2,h3"`.
    fn word(&mut self) -> Option<()> {
        while let Some(&byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b';' | b'(' | b')' => break,
                b'"' => self.at = self.quote_end()? + 1,
                b'\\' => {
                    self.at += 1;
                    self.at += self.text[self.at..].chars().next().map_or(0, char::len_utf8);
                }
                _ => self.at += 1,
            }
        }
        Some(())
    }
}

impl ZoneToken<'_> {
    /// A domain name; relative ones end in the origin.
    pub(super) fn name(&self, origin: &Name) -> Result<Name, String> {
        let text = self.text;
        if text == "@" {
            return Ok(*origin);
        }
        let dots = text
            .strip_suffix('.')
            .map(|before| before.bytes().rev().take_while(|byte| *byte == b'\\').count());
        let is_absolute = dots.is_some_and(|escapes| escapes % 2 == 0);
        let full = match (is_absolute, *origin == Name::ROOT) {
            (true, _) | (_, true) => text.to_owned(),
            _ => format!("{text}.{origin}"),
        };
        if full.is_empty() {
            return Err("an empty name".to_owned());
        }
        full.parse().map_err(|error: dns_wire::InvalidName| error.to_string())
    }

    /// A number of seconds, or one with units: `1h30m`.
    pub(super) fn ttl(&self) -> Result<u32, String> {
        let wrong = || format!("{:?} is not a number of seconds", self.text);
        if self.quoted || !self.text.starts_with(|ch: char| ch.is_ascii_digit()) {
            return Err(wrong());
        }
        let (mut total, mut number) = (0_u32, None::<u32>);
        for ch in self.text.chars() {
            if let Some(digit) = ch.to_digit(10) {
                let next = number.unwrap_or(0).checked_mul(10).and_then(|tens| tens.checked_add(digit));
                number = Some(next.ok_or_else(wrong)?);
                continue;
            }
            let unit = match ch.to_ascii_lowercase() {
                's' => 1,
                'm' => 60,
                'h' => 3600,
                'd' => 86_400,
                'w' => 604_800,
                _ => return Err(wrong()),
            };
            let part = number.take().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)?;
            total = total.checked_add(part).ok_or_else(wrong)?;
        }
        total.checked_add(number.unwrap_or(0)).ok_or_else(wrong)
    }

    /// The bytes with escapes resolved: `\"` and `\065`.
    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        unescape(self.text).ok_or_else(|| format!("{:?} has an escape that is not \\DDD", self.text))
    }
}

/// The bytes of a text with escapes resolved.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let first = rest.next()?;
        if !first.is_ascii_digit() {
            bytes.push(first);
            continue;
        }
        let digits = [first, rest.next()?, rest.next()?];
        let value = digits.iter().try_fold(0_u16, |value, digit| {
            digit.is_ascii_digit().then(|| value * 10 + u16::from(digit - b'0'))
        })?;
        bytes.push(u8::try_from(value).ok()?);
    }
    Some(bytes)
}

/// A word of `$GENERATE` with its number: `$` or `${OFFSET,WIDTH,BASE}`; `\$` is a dollar sign.
pub(super) fn numbered(text: &str, number: u32) -> Option<String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(['$', '\\']) {
        out.push_str(&rest[..at]);
        let (sign, after) = rest[at..].split_at(1);
        rest = after;
        if sign == "\\" {
            let escaped = rest.chars().next()?;
            if escaped != '$' {
                out.push('\\');
            }
            out.push(escaped);
            rest = &rest[escaped.len_utf8()..];
        } else if let Some(modifier) = rest.strip_prefix('{') {
            let (modifier, after) = modifier.split_once('}')?;
            rest = after;
            let mut parts = modifier.split(',');
            let offset: i64 = parts.next()?.parse().ok()?;
            let width: usize = parts.next().map_or(Some(0), |width| width.parse().ok())?;
            let value = u32::try_from(i64::from(number).checked_add(offset)?).ok()?;
            // A wider number would not fit into a label.
            let width = width.min(63);
            match parts.next().unwrap_or("d") {
                "d" => out.push_str(&format!("{value:0width$}")),
                "o" => out.push_str(&format!("{value:0width$o}")),
                "x" => out.push_str(&format!("{value:0width$x}")),
                "X" => out.push_str(&format!("{value:0width$X}")),
                _ => return None,
            }
        } else {
            out.push_str(&number.to_string());
        }
    }
    out.push_str(rest);
    Some(out)
}
