//! Translates PCRE's syntax, as nginx uses it, to the syntax of the `regex` crate.
//!
//! nginx lets PCRE match bytes, so `\d`, `\w` and `\s` are ASCII. A brace that is not a count and a bracket within a class
//! are literal.

/// The same pattern in the syntax of the `regex` crate.
pub(super) fn translate(pattern: &str) -> String {
    translate_tokens(pattern, |_, _| {})
}

/// The number of characters of a pattern before a byte position of its translation.
pub(super) fn source_characters(pattern: &str, position: usize) -> usize {
    let mut source = 0;
    translate_tokens(pattern, |out, read| {
        if out <= position {
            source = read;
        }
    });
    pattern[..source].chars().count()
}

/// Calls `token` before each token with the bytes written and the bytes read so far.
fn translate_tokens(pattern: &str, mut token: impl FnMut(usize, usize)) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = Cursor(pattern);
    loop {
        token(out.len(), pattern.len() - rest.0.len());
        let Some(c) = rest.next() else { break };
        match c {
            '\\' => escape(&mut rest, &mut out, false),
            '[' => class(&mut rest, &mut out),
            '{' if !is_count(rest) => out.push_str(r"\{"),
            c => out.push(c),
        }
    }
    out
}

/// The rest of a pattern.
#[derive(Clone, Copy)]
struct Cursor<'p>(&'p str);

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.0.chars().next()
    }

    fn next_if(&mut self, accept: impl Fn(char) -> bool) -> Option<char> {
        self.peek().filter(|c| accept(*c))?;
        self.next()
    }

    fn next_if_eq(&mut self, wanted: char) -> Option<char> {
        self.next_if(|c| c == wanted)
    }
}

impl Iterator for Cursor<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let mut chars = self.0.chars();
        let next = chars.next();
        self.0 = chars.as_str();
        next
    }
}

/// After a backslash.
fn escape(rest: &mut Cursor<'_>, out: &mut String, in_class: bool) {
    let Some(c) = rest.next() else { return out.push('\\') };
    let members = match c.to_ascii_lowercase() {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        's' => r"\t-\r\x20",
        'h' => r"\t\x20",
        _ => {
            match c {
                'Q' => quoted(rest, out),
                'E' => {}
                '<' | '>' => out.push(c),
                _ => {
                    out.extend(['\\', c]);
                    if matches!(c, 'x' | 'p' | 'P' | 'k' | 'g' | 'o' | 'N') && rest.peek() == Some('{') {
                        while let Some(c) = rest.next_if(|c| c != '}') {
                            out.push(c);
                        }
                    }
                }
            }
            return;
        }
    };
    match (c.is_ascii_uppercase(), in_class) {
        (true, _) => out.extend(["[^", members, "]"]),
        (false, false) => out.extend(["[", members, "]"]),
        (false, true) => out.push_str(members),
    }
}

/// After `\Q`: every character is literal until `\E`.
fn quoted(rest: &mut Cursor<'_>, out: &mut String) {
    while let Some(c) = rest.next() {
        if c == '\\' && rest.next_if_eq('E').is_some() {
            return;
        }
        if c.is_ascii_punctuation() && c != '<' && c != '>' {
            out.push('\\');
        }
        out.push(c);
    }
}

/// After the bracket that opens a class. The `regex` crate has nested classes and operators on classes; PCRE does not.
fn class(rest: &mut Cursor<'_>, out: &mut String) {
    out.push('[');
    out.extend(rest.next_if_eq('^'));
    if rest.next_if_eq(']').is_some() {
        out.push_str(r"\]");
    }
    while let Some(c) = rest.next() {
        match c {
            '\\' => escape(rest, out, true),
            '[' if rest.peek() == Some(':') => {
                let mut last = ' ';
                out.push(c);
                for c in rest.by_ref() {
                    out.push(c);
                    if last == ':' && c == ']' {
                        break;
                    }
                    last = c;
                }
            }
            '[' | '&' | '~' => out.extend(['\\', c]),
            ']' => return out.push(c),
            c => out.push(c),
        }
    }
}

/// Whether what follows an opening brace is a count: `n}`, `n,}` or `n,m}`.
fn is_count(rest: Cursor<'_>) -> bool {
    // PCRE's largest count is 65535.
    let most: String = rest.take("65535,65535}".len()).collect();
    let Some((inside, _)) = most.split_once('}') else { return false };
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    !least.is_empty() && number(least) && number(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_translated() {
        for (pcre, rust) in [
            ("/shop(/|$)(.*)", "/shop(/|$)(.*)"),
            ("/a{b", r"/a\{b"),
            ("/{id}/x", r"/\{id}/x"),
            ("/a{2}{3,}{4,5}", "/a{2}{3,}{4,5}"),
            ("/a{,2}{ 2}{2", r"/a\{,2}\{ 2}\{2"),
            (r"/\d+\D", "/[0-9]+[^0-9]"),
            (r"/[\w.-]+[^\s\D]", r"/[0-9A-Za-z_.-]+[^\t-\r\x20[^0-9]]"),
            (r"/\h\H", r"/[\t\x20][^\t\x20]"),
            (r"/\Qa.b*\E.", r"/a\.b\*."),
            (r"/\Qa.b", r"/a\.b"),
            (r"/[[a&&~]", r"/[\[a\&\&\~]"),
            ("/[]a]{b", r"/[\]a]\{b"),
            ("/[^][:alpha:]]", r"/[^\][:alpha:]]"),
            (r"/\x{41}\p{L}\/\{", r"/\x{41}\p{L}\/\{"),
            (r"/\<a\>\", r"/<a>\"),
            ("/caf\u{e9}", "/caf\u{e9}"),
            ("/[a", "/[a"),
        ] {
            assert_eq!(translate(pcre), rust, "{pcre}");
        }
    }
}
