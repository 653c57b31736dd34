//! Parses tokens into a tree by the grammar of coredns/caddy (caddyfile/parse.go).
//!
//! CoreDNS stops at the first error. This parser continues as long as the braces are balanced, to report all errors at once.

use std::sync::Arc;

use crate::corefile::{Corefile, Directive, ServerBlock};
use crate::env;
use crate::error::ConfigErrors;
use crate::fingerprint::{self, RawBlock};
use crate::input::Input;
use crate::lexer::Token;
use crate::loader::Loader;
use crate::location::SourceLocation;
use crate::near::nearest;
use crate::overlap;
use crate::word::Word;
use crate::zone;

/// Maximum nesting of braces; no plugin nests deeper than two.
const MAX_DEPTH: u32 = 16;

/// Inputs of the parser besides the text.
pub struct ParseOptions<'a> {
    /// Default port of server keys (`-dns.port`).
    pub dns_port: u16,
    /// Valid directive names; empty accepts all.
    pub directives: &'a [&'a str],
    /// Looks up an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl Default for ParseOptions<'_> {
    /// Port 53, all directives, no environment variables.
    fn default() -> Self {
        Self { dns_port: 53, directives: &[], env: &|_| None }
    }
}

impl Corefile {
    /// Parses a Corefile. `name` is the file name in errors; relative imports start at its directory.
    pub fn parse(
        name: &str,
        text: &str,
        loader: &dyn Loader,
        options: &ParseOptions<'_>,
    ) -> Result<Self, ConfigErrors> {
        let mut corefile = Self::read(name, text, loader, options)?;
        let mistakes = std::mem::take(&mut corefile.mistakes);
        if mistakes.is_empty() { Ok(corefile) } else { Err(ConfigErrors(mistakes)) }
    }

    /// Parses a Corefile that may have mistakes beside which the plugins can be checked.
    pub fn read(
        name: &str,
        text: &str,
        loader: &dyn Loader,
        options: &ParseOptions<'_>,
    ) -> Result<Self, ConfigErrors> {
        let input = Input::new(name, text, loader);
        let mut parser = Parser { input, options, raw: RawBlock::default(), spare_keys: Vec::new() };
        let (mut blocks, mut raw, mut spare_keys) = (Vec::new(), Vec::new(), Vec::new());
        while parser.input.peek().is_some() {
            if let Some(block) = parser.server_block() {
                blocks.push(block);
                raw.push(std::mem::take(&mut parser.raw));
                spare_keys.push(std::mem::take(&mut parser.spare_keys));
            }
        }
        let is_readable = parser.input.is_readable();
        let Input { mut errors, warnings, .. } = parser.input;
        // Blocks with `bind` are checked once the addresses that it names are known.
        let unbound = |_, block: &ServerBlock| match block.all("bind").next() {
            Some(_) => Vec::new(),
            None => vec![String::new()],
        };
        errors.extend(overlap::overlaps(&blocks, unbound));
        if !is_readable {
            return Err(ConfigErrors(errors));
        }
        for (block, spare) in blocks.iter_mut().zip(spare_keys).filter(|(block, _)| block.keys.is_empty()) {
            block.keys = spare;
        }
        blocks.retain(|block| errors.is_empty() || !block.keys.is_empty());
        // A text with other mistakes is another configuration.
        raw.extend(
            errors.iter().map(|error| RawBlock { keys: vec![error.to_string()], ..RawBlock::default() }),
        );
        let fingerprint = fingerprint::of(&raw, name);
        Ok(Self { name: name.to_owned(), blocks, fingerprint, warnings, mistakes: errors })
    }
}

struct Parser<'a> {
    input: Input<'a>,
    options: &'a ParseOptions<'a>,
    raw: RawBlock,
    /// The zones of the keys of a block that have an invalid port, with the default one.
    spare_keys: Vec<zone::ServerKey>,
}

/// What follows a directive: more of the server block, or its end.
#[derive(PartialEq)]
enum DirectiveEnd {
    More,
    Closed,
}

impl Parser<'_> {
    /// Parses `KEYS { … }`, or stores a snippet.
    fn server_block(&mut self) -> Option<ServerBlock> {
        (self.raw, self.spare_keys) = (RawBlock::default(), Vec::new());
        let start = self.input.peek()?.at.clone();
        let keys = self.key_words();
        if self.input.peek().is_some()
            && let [key] = keys.as_slice()
            && let Some(name) = key.strip_prefix('(').and_then(|name| name.strip_suffix(')'))
        {
            self.snippet(name, &key.at);
            return None;
        }
        let server_keys = keys.iter().flat_map(|key| self.server_keys(key)).collect();
        let directives = if self.input.peek().is_some() { self.directives() } else { Vec::new() };
        if keys.is_empty() {
            if !directives.is_empty() {
                self.input.warn(&start, "a server block without a key is ignored");
            }
            return None;
        }
        self.raw.keys = keys.iter().map(|key| key.text.clone()).collect();
        Some(ServerBlock { keys: server_keys, directives })
    }

    /// Parses the keys before the brace. They continue on the next line only after a comma.
    fn key_words(&mut self) -> Vec<Word> {
        let mut keys = Vec::new();
        let mut comma = false;
        while let Some(token) = self.input.peek().cloned() {
            let text = self.fill(&token);
            if text == "import" && token.starts_line {
                self.input.next();
                self.import();
                continue;
            }
            if text == "{" {
                if comma {
                    let what = "Expected another address but had '{' - check for extra comma";
                    self.input.error(&token.at, what, "a zone after the comma");
                }
                return keys;
            }
            self.input.next();
            if !text.is_empty() {
                comma = text.ends_with(',');
                let text = text.strip_suffix(',').unwrap_or(&text).to_owned();
                keys.push(Word::filled(text, &token));
            }
            if !comma && self.input.peek().is_none_or(|next| next.starts_line) {
                return keys;
            }
        }
        if comma {
            self.unexpected_end("a zone after the comma");
        }
        keys
    }

    fn server_keys(&mut self, key: &Word) -> Vec<zone::ServerKey> {
        match zone::keys(key, &key.at, self.options.dns_port) {
            Ok(keys) => {
                if keys.iter().any(|key| key.zone.contains([':', ',', '/', '{', '}'])) {
                    let what = format!("'{key}' is taken for a name as it stands");
                    self.input.warn(&key.at, what);
                }
                keys
            }
            Err(what) => {
                self.input.mistake(&key.at, what, "ZONE, ZONE:PORT or a reverse range, e.g. 10.0.0.0/24");
                let name = key.rsplit_once(':').map_or("", |(name, _)| name);
                self.spare_keys.extend(zone::keys(name, &key.at, self.options.dns_port).unwrap_or_default());
                Vec::new()
            }
        }
    }

    /// Stores the tokens between the braces.
    fn snippet(&mut self, name: &str, at: &SourceLocation) {
        if self.input.peek().is_none_or(|token| &*token.text != "{") {
            self.input.next();
            return self.syntax_error("{");
        }
        self.input.next();
        let mut tokens = Vec::new();
        let mut open = 1;
        while let Some(token) = self.input.next() {
            match &*token.text {
                "{" => open += 1,
                "}" => open -= 1,
                _ => {}
            }
            if open == 0 {
                return self.define_snippet(name, at, tokens);
            }
            tokens.push(token);
        }
        self.syntax_error("}");
    }

    /// Stores a snippet. A snippet that imports itself is an error even if it is never imported.
    fn define_snippet(&mut self, name: &str, at: &SourceLocation, tokens: Vec<Token>) {
        let mut pairs = tokens.windows(2);
        let itself = pairs
            .find(|pair| &*pair[0].text == "import" && pair[0].starts_line && self.fill(&pair[1]) == name);
        match itself {
            Some(pair) => self.input.snippet_cycle(&pair[1].at.clone(), name),
            None => self.input.define_snippet(name, at, tokens),
        }
    }

    /// Parses directives up to the closing brace or, if there was no opening brace, to the end of the text.
    fn directives(&mut self) -> Vec<Directive> {
        let mut directives = Vec::new();
        let braces = self.input.peek().is_some_and(|token| &*token.text == "{");
        let opened = if braces { self.input.next() } else { None };
        while let Some(token) = self.input.next() {
            match &*token.text {
                "}" => return directives,
                "import" => self.import(),
                _ => {
                    let (directive, then) = self.server_directive(token);
                    directives.extend(directive);
                    if then == DirectiveEnd::Closed {
                        return directives;
                    }
                }
            }
        }
        if let Some(opened) = opened {
            if self.input.last_text() == "}" {
                // CoreDNS accepts the last directive's brace as the end of the server block.
                self.input.warn(&opened.at, "this server block is never closed");
            } else {
                self.syntax_error("}");
            }
        }
        directives
    }

    fn server_directive(&mut self, token: Token) -> (Option<Directive>, DirectiveEnd) {
        let known = self.options.directives;
        let name = self.fill(&token);
        if &*token.text == "{" {
            self.input.error(&token.at, "Unexpected '{'", "a directive before it, on the same line");
            self.block(1, &mut Vec::new());
            return (None, DirectiveEnd::More);
        }
        if !known.is_empty() && !known.contains(&name.as_str()) {
            let list = format!("one of {}", known.join(", "));
            let wanted = nearest(&name, known).map_or(list.clone(), |near| format!("{near}? ({list})"));
            self.input.mistake(&token.at, format!("Unknown directive '{name}'"), wanted);
        }
        let mut raw = vec![(token.clone(), token.text.clone())];
        let (directive, then) = self.line(Word::filled(name.clone(), &token), 0, &mut raw);
        self.raw.directives.entry(name).or_default().extend(raw);
        (Some(directive), then)
    }

    /// Parses the rest of a line and its block, if any.
    fn line(
        &mut self,
        name: Word,
        depth: u32,
        raw: &mut Vec<(Token, Arc<str>)>,
    ) -> (Directive, DirectiveEnd) {
        let mut directive = Directive { name, args: Vec::new(), block: Vec::new() };
        while let Some(token) = self.input.peek().cloned() {
            if &*token.text == "{" {
                if token.starts_line {
                    let wanted = format!("the brace on the line of '{}'", directive.name);
                    self.input.error(&token.at, "Unexpected '{' at the start of a line", wanted);
                }
                self.input.next();
                raw.push((token.clone(), token.text));
                directive.block = self.block(depth + 1, raw);
                return (directive, self.line_end(raw));
            }
            if token.starts_line {
                break;
            }
            self.input.next();
            if &*token.text == "}" {
                if depth == 0 {
                    self.unexpected_brace(&token.at);
                } else {
                    // CoreDNS accepts it after properties that do not check their arguments, such as `stacktrace`.
                    let what = "'}' at the end of a property closes the block; CoreDNS refuses that for most properties";
                    self.input.warn(&token.at, what);
                    raw.push((token.clone(), token.text));
                }
                return (directive, DirectiveEnd::Closed);
            }
            let text = self.fill(&token);
            raw.push((token.clone(), text.as_str().into()));
            directive.args.push(Word::filled(text, &token));
        }
        (directive, DirectiveEnd::More)
    }

    /// Checks that nothing follows a closing brace on its line.
    fn line_end(&mut self, raw: &mut Vec<(Token, Arc<str>)>) -> DirectiveEnd {
        while let Some(token) = self.input.next_on_line() {
            match &*token.text {
                "}" => {
                    self.unexpected_brace(&token.at);
                    return DirectiveEnd::Closed;
                }
                "{" => {
                    self.input.error(&token.at, "Unexpected '{' after '}'", "a new line after '}'");
                    self.block(1, raw);
                }
                text => {
                    let what = format!("Unexpected '{text}' after '}}'");
                    self.input.error(&token.at, what, "a new line after '}'");
                }
            }
        }
        DirectiveEnd::More
    }

    /// Parses lines up to the closing brace.
    fn block(&mut self, depth: u32, raw: &mut Vec<(Token, Arc<str>)>) -> Vec<Directive> {
        let mut lines = Vec::new();
        if depth > MAX_DEPTH {
            let here = self.input.here();
            self.input.error(&here, format!("braces nested deeper than {MAX_DEPTH}"), "fewer braces");
            self.input.stop();
            return lines;
        }
        while let Some(token) = self.input.next() {
            match &*token.text {
                "}" => {
                    raw.push((token.clone(), token.text));
                    return lines;
                }
                "import" if token.starts_line => self.import(),
                "{" => {
                    self.input.error(&token.at, "Unexpected '{'", "a property before it, on the same line");
                    self.block(depth + 1, raw);
                }
                _ => {
                    let text = self.fill(&token);
                    raw.push((token.clone(), text.as_str().into()));
                    let (line, then) = self.line(Word::filled(text, &token), depth, raw);
                    lines.push(line);
                    if then == DirectiveEnd::Closed {
                        return lines;
                    }
                }
            }
        }
        self.unexpected_end("'}'");
        lines
    }

    /// Parses the rest of an `import` line.
    fn import(&mut self) {
        let Some(token) = self.input.next_on_line() else {
            let here = self.input.here();
            let what = "Wrong argument count or unexpected line ending after 'import'";
            return self.input.mistake(&here, what, "import SNIPPET or import FILE");
        };
        let pattern = self.fill(&token);
        if pattern.is_empty() {
            let what = "Import requires a non-empty filepath";
            return self.input.mistake(&token.at, what, "import SNIPPET or import FILE");
        }
        if self.input.peek().is_some_and(|next| !next.starts_line) {
            while self.input.next_on_line().is_some() {}
            let what = "Import takes only one argument (glob pattern or file)";
            return self.input.mistake(&token.at, what, "an import for each");
        }
        self.input.import(&token, &pattern);
    }

    fn fill(&self, token: &Token) -> String {
        env::fill(&token.text, self.options.env).into_owned()
    }

    fn unexpected_brace(&mut self, at: &SourceLocation) {
        let what = "Unexpected '}' because no matching opening brace";
        self.input.error(at, what, "each directive, each property and each '}' on a line of its own");
    }

    fn unexpected_end(&mut self, wanted: &str) {
        if self.input.is_stopped() {
            return;
        }
        let here = self.input.here();
        self.input.error(&here, "Unexpected EOF", wanted);
        self.input.stop();
    }

    /// Reports the last token as unexpected and discards the rest.
    fn syntax_error(&mut self, wanted: &str) {
        if self.input.is_stopped() {
            return;
        }
        let here = self.input.here();
        let found = self.input.last_text();
        let what = format!("Syntax error: Unexpected token '{found}', expecting '{wanted}'");
        self.input.error(&here, what, "");
        self.input.stop();
    }
}

#[cfg(test)]
mod tests;
