//! Splits text into words like the Caddyfile lexer of CoreDNS (coredns/caddy, caddyfile/lexer.go).

use std::sync::Arc;

use crate::error::ConfigWarning;
use crate::location::{SourceLocation, SourceText};

/// A word before substitution of environment variables.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: Arc<str>,
    pub(crate) at: SourceLocation,
    /// Whether it is the first token of a line. Line breaks inside a quoted word do not count.
    pub(crate) starts_line: bool,
}

/// Splits a text into tokens, at most `limit` of them. Every text is valid: there are no lexical errors.
pub(crate) fn tokens(
    source: &Arc<SourceText>,
    limit: usize,
    warnings: &mut Vec<ConfigWarning>,
) -> Vec<Token> {
    let mut lexer = Lexer { source, limit, line: 1, last_line: 0, tokens: Vec::new(), warnings };
    lexer.run();
    lexer.tokens
}

struct Lexer<'a> {
    source: &'a Arc<SourceText>,
    limit: usize,
    line: u32,
    /// The line on which the last token ended; 0 before the first.
    last_line: u32,
    tokens: Vec<Token>,
    warnings: &'a mut Vec<ConfigWarning>,
}

impl Lexer<'_> {
    fn run(&mut self) {
        let source = self.source.clone();
        let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
        let mut chars = text.chars();
        let mut word = String::new();
        let mut comment = false;
        while self.tokens.len() < self.limit
            && let Some(ch) = chars.next()
        {
            if ch.is_whitespace() {
                match ch {
                    '\r' => continue,
                    '\n' => comment = false,
                    // In CoreDNS a comment that directly follows a word ends at the first blank; the rest of the line is words.
                    _ if comment && !word.is_empty() => {
                        comment = false;
                        self.warn(
                            "a comment glued to a word ends at the next blank; write a blank before '#'",
                        );
                    }
                    _ => {}
                }
                self.push(&mut word, self.line);
                self.line += u32::from(ch == '\n');
            } else if comment || ch == '#' {
                comment = true;
            } else if ch == '"' && word.is_empty() {
                self.quoted(&mut chars);
            } else {
                word.push(ch);
            }
        }
        if self.tokens.len() < self.limit {
            self.push(&mut word, self.line);
        }
    }

    /// Reads up to the closing quote. The only escape is `\"`.
    fn quoted(&mut self, chars: &mut std::str::Chars<'_>) {
        let first = self.line;
        let mut word = String::new();
        let mut escaped = false;
        for ch in chars.by_ref() {
            if !escaped && ch == '"' {
                return self.push_quoted(word, first);
            }
            if !escaped && ch == '\\' {
                escaped = true;
                continue;
            }
            self.line += u32::from(ch == '\n');
            if escaped && ch != '"' {
                word.push('\\');
            }
            word.push(ch);
            escaped = false;
        }
        let at = SourceLocation::new(self.source, first);
        self.warnings.push(ConfigWarning::new(&at, "this quote is never closed"));
        if !word.is_empty() {
            self.push_quoted(word, first);
        }
    }

    fn push(&mut self, word: &mut String, first: u32) {
        if !word.is_empty() {
            self.push_quoted(std::mem::take(word), first);
        }
    }

    fn push_quoted(&mut self, word: String, first: u32) {
        let at = SourceLocation::new(self.source, first);
        self.tokens.push(Token { text: word.into(), at, starts_line: first != self.last_line });
        self.last_line = self.line;
    }

    fn warn(&mut self, what: &str) {
        self.warnings.push(ConfigWarning::new(&SourceLocation::new(self.source, self.line), what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, Vec<ConfigWarning>) {
        let source = Arc::new(SourceText { name: "Corefile".into(), text: text.into() });
        let mut warnings = Vec::new();
        let mut shown = String::new();
        for token in tokens(&source, usize::MAX, &mut warnings) {
            let new = if token.starts_line { format!("|{}:", token.at.line()) } else { " ".into() };
            shown = format!("{shown}{new}{}", token.text);
        }
        (shown, warnings)
    }

    #[test]
    fn text_is_cut_as_coredns_cuts_it() {
        for (text, tokens) in [
            ("", ""),
            (" \n\t\n", ""),
            ("host:123", "|1:host:123"),
            ("host:123\n\n\tdirective", "|1:host:123|3:directive"),
            ("host:123 { directive }", "|1:host:123 { directive }"),
            ("a {\n#comment\n  d\n # x\n f # y\n}", "|1:a {|3:d|5:f|6:}"),
            ("a \"quoted value\" b\nfoobar", "|1:a quoted value b|2:foobar"),
            (r#"A "quoted \"value\" inside" B"#, r#"|1:A quoted "value" inside B"#),
            (r#""don't\escape" "C:\php\\x""#, r"|1:don't\escape C:\php\\x"),
            ("A \"two\n lines\" {\n f\n}", "|1:A two\n lines {|3:f|4:}"),
            ("empty \"\" string", "|1:empty  string"),
            ("skip those\r\nCR chara\rcters", "|1:skip those|2:CR characters"),
            ("\u{feff}:8080", "|1::8080"),
            ("a\"b c\"", "|1:a\"b c\""),
            ("\"a\"b", "|1:a b"),
            ("log#x\nerrors", "|1:log|2:errors"),
            ("\"open\nend", "|1:open\nend"),
            ("\"", ""),
            ("a\u{a0}b\u{2003}c", "|1:a b c"),
        ] {
            assert_eq!(read(text).0, tokens, "{text:?}");
        }
    }

    #[test]
    fn a_glued_comment_ends_at_a_blank_and_says_so() {
        let (tokens, warnings) = read("forward . 1.1.1.1#one 8.8.8.8\nlog");
        assert_eq!(tokens, "|1:forward . 1.1.1.1 8.8.8.8|2:log");
        assert_eq!(warnings.len(), 1);
    }
}
