//! Words of nginx's configuration syntax, as `ngx_conf_read_token` splits them.

/// A position in a snippet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// A word without its quotes and escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnippetWord {
    pub(crate) text: String,
    pub(crate) at: Position,
}

/// A part of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SnippetToken {
    Word(SnippetWord),
    Semicolon,
    OpenBrace,
    CloseBrace,
    End,
}

/// What is wrong with the text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) at: Position,
    pub(crate) what: String,
    /// Where the part that cannot be read begins, in bytes.
    pub(crate) offset: usize,
}

/// Splits a text into tokens.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    /// In bytes.
    offset: usize,
    here: Position,
    /// Where the last token begins, in bytes as well.
    start: (Position, usize),
    /// A quoted word has ended, so that a separator must follow.
    needs_separator: bool,
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let here = Position { line: 1, column: 1 };
        Self { text, offset: 0, here, start: (here, 0), needs_separator: false }
    }

    /// Where the last token begins, and its offset in bytes.
    pub(crate) fn start(&self) -> (Position, usize) {
        self.start
    }

    fn peek(&self) -> Option<char> {
        self.text[self.offset..].chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.offset += c.len_utf8();
        if c == '\n' {
            self.here = Position { line: self.here.line + 1, column: 1 };
        } else {
            self.here.column += 1;
        }
        Some(c)
    }

    fn error(&self, what: impl Into<String>) -> SyntaxError {
        SyntaxError { at: self.here, what: what.into(), offset: self.offset }
    }

    /// The next token. After the end it is [`SnippetToken::End`] for ever.
    pub(crate) fn next_token(&mut self) -> Result<SnippetToken, SyntaxError> {
        loop {
            self.start = (self.here, self.offset);
            let Some(c) = self.peek() else { return Ok(SnippetToken::End) };
            // nginx allows a parenthesis after a quoted word, for conditions of `if`.
            let separates = is_space(c) || matches!(c, ';' | '{' | ')');
            if std::mem::take(&mut self.needs_separator) && !separates {
                return Err(self.error(format!("unexpected {c:?} after a quoted word")));
            }
            let token = match c {
                c if is_space(c) => {
                    self.advance();
                    continue;
                }
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n') {
                        self.advance();
                    }
                    continue;
                }
                ';' => SnippetToken::Semicolon,
                '{' => SnippetToken::OpenBrace,
                '}' => SnippetToken::CloseBrace,
                '"' | '\'' => return self.quoted(c),
                _ => return Ok(self.bare()),
            };
            self.advance();
            return Ok(token);
        }
    }

    /// Skips a block in another language after its opening brace, to the brace that closes it; false if there is none. Quotes and comments
    /// of that language are not known.
    pub(crate) fn skip_block(&mut self) -> bool {
        let mut depth = 1;
        while let Some(c) = self.advance() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return true;
            }
        }
        false
    }

    fn quoted(&mut self, quote: char) -> Result<SnippetToken, SyntaxError> {
        let opened = self.error(format!("the quote {quote} is not closed"));
        let at = self.here;
        self.advance();
        let mut text = String::new();
        while let Some(c) = self.advance() {
            match c {
                c if c == quote => {
                    self.needs_separator = true;
                    return Ok(SnippetToken::Word(SnippetWord { text, at }));
                }
                '\\' => self.escaped(&mut text),
                c => text.push(c),
            }
        }
        Err(opened)
    }

    /// A word without quotes. A brace right after a dollar sign belongs to a variable.
    fn bare(&mut self) -> SnippetToken {
        let at = self.here;
        let (mut text, mut after_dollar) = (String::new(), false);
        while let Some(c) = self.peek() {
            if is_space(c) || c == ';' || c == '{' && !after_dollar {
                break;
            }
            self.advance();
            after_dollar = c == '$';
            match c {
                '\\' => self.escaped(&mut text),
                c => text.push(c),
            }
        }
        SnippetToken::Word(SnippetWord { text, at })
    }

    /// The character after a backslash. Only quotes, backslashes and three control characters lose it, so that regular
    /// expressions keep theirs.
    fn escaped(&mut self, text: &mut String) {
        match self.advance() {
            Some(c @ ('"' | '\'' | '\\')) => text.push(c),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some('n') => text.push('\n'),
            Some(c) => text.extend(['\\', c]),
            None => text.push('\\'),
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens, words as `text@line:column`.
    fn tokens(text: &str) -> Result<Vec<String>, String> {
        let mut lexer = Lexer::new(text);
        let mut all = Vec::new();
        loop {
            match lexer.next_token() {
                Ok(SnippetToken::End) => return Ok(all),
                Ok(SnippetToken::Semicolon) => all.push(";".into()),
                Ok(SnippetToken::OpenBrace) => all.push("{".into()),
                Ok(SnippetToken::CloseBrace) => all.push("}".into()),
                Ok(SnippetToken::Word(SnippetWord { text, at })) => {
                    all.push(format!("{text}@{}:{}", at.line, at.column));
                }
                Err(error) => return Err(format!("{}: {}", error.at, error.what)),
            }
        }
    }

    #[test]
    fn a_text_is_split_as_nginx_splits_it() {
        for (text, wanted) in [
            ("", &[][..]),
            ("a b;", &["a@1:1", "b@1:3", ";"]),
            ("# c { ;\n  a;\r\nb", &["a@2:3", ";", "b@3:1"]),
            ("a 'b  c;' \"{d}\";", &["a@1:1", "b  c;@1:3", "{d}@1:11", ";"]),
            ("a ${b}c;", &["a@1:1", "${b}c@1:3", ";"]),
            ("a$b{c;}", &["a$b@1:1", "{", "c@1:5", ";", "}"]),
            ("a b#c;", &["a@1:1", "b#c@1:3", ";"]),
            ("^/a{2};", &["^/a@1:1", "{", "2}@1:5", ";"]),
            (r#"\.x "\"\.\\" 'it''s'"#, &[r"\.x@1:1", r#""\.\@1:5"#]),
            ("if ($a = \"b\") {", &["if@1:1", "($a@1:4", "=@1:8", "b@1:10", ")@1:13", "{"]),
            ("\u{e9} x\"y;", &["\u{e9}@1:1", "x\"y@1:3", ";"]),
            ("a\\tb\\n;", &["a\tb\n@1:1", ";"]),
        ] {
            match tokens(text) {
                Ok(all) => assert_eq!(all, wanted, "{text}"),
                Err(error) => assert!(text.contains("'it''s'"), "{text}: {error}"),
            }
        }
        for (text, wanted) in [
            ("a;\n 'b", "line 2, column 2: the quote ' is not closed"),
            ("a 'b'c;", "line 1, column 6: unexpected 'c' after a quoted word"),
            ("a 'b'}", "line 1, column 6: unexpected '}' after a quoted word"),
        ] {
            assert_eq!(tokens(text), Err(wanted.to_owned()), "{text}");
        }
    }
}
