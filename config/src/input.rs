//! The stream of tokens: the main text with its imports spliced in.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::error::{ConfigError, ConfigWarning};
use crate::lexer::{self, Token};
use crate::loader::Loader;
use crate::location::{SourceLocation, SourceText};

const MAX_SNIPPETS: u32 = 10_000;
const MAX_FILES: u32 = 100_000;
/// CoreDNS has no such limit; without one a few lines of snippets grow to gigabytes.
const MAX_WORDS: u32 = 1_000_000;

/// Hands out tokens and splices imports in. Whoever imports is on the stack, so a circle is seen at once.
pub(crate) struct Input<'a> {
    loader: &'a dyn Loader,
    frames: Vec<Frame>,
    snippets: HashMap<String, Arc<[Token]>>,
    snippets_expanded: u32,
    files_expanded: u32,
    words: u32,
    /// The last token handed out; mistakes at the end of the text stand there.
    last: Option<Token>,
    start: SourceLocation,
    stopped: bool,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<ConfigWarning>,
}

struct Frame {
    origin: FrameOrigin,
    tokens: Arc<[Token]>,
    next: usize,
}

#[derive(PartialEq)]
enum FrameOrigin {
    Snippet(String),
    File(String),
}

impl<'a> Input<'a> {
    pub(crate) fn new(name: &str, text: &str, loader: &'a dyn Loader) -> Self {
        let source = Arc::new(SourceText { name: name.to_owned(), text: text.to_owned() });
        let mut warnings = Vec::new();
        let tokens = lexer::tokens(&source, &mut warnings).into();
        Self {
            loader,
            frames: vec![Frame { origin: FrameOrigin::File(name.to_owned()), tokens, next: 0 }],
            snippets: HashMap::new(),
            snippets_expanded: 0,
            files_expanded: 0,
            words: 0,
            last: None,
            start: SourceLocation::new(&source, 1),
            stopped: false,
            errors: Vec::new(),
            warnings,
        }
    }

    pub(crate) fn peek(&self) -> Option<&Token> {
        self.frames.iter().rev().find_map(|frame| frame.tokens.get(frame.next))
    }

    pub(crate) fn next(&mut self) -> Option<Token> {
        while self.frames.last().is_some_and(|frame| frame.next == frame.tokens.len()) {
            self.frames.pop();
        }
        let frame = self.frames.last_mut()?;
        let token = frame.tokens[frame.next].clone();
        frame.next += 1;
        self.words += 1;
        if self.words > MAX_WORDS {
            self.error(&token.at, format!("imports expand to more than {MAX_WORDS} words"), "fewer imports");
            self.stop();
        }
        self.last = Some(token.clone());
        Some(token)
    }

    /// The next token, if it stands on the same line.
    pub(crate) fn next_on_line(&mut self) -> Option<Token> {
        if self.peek()?.starts_line { None } else { self.next() }
    }

    pub(crate) fn last_text(&self) -> &str {
        self.last.as_ref().map_or("", |token| &token.text)
    }

    /// Where the reading is.
    pub(crate) fn here(&self) -> SourceLocation {
        self.last.as_ref().map_or(&self.start, |token| &token.at).clone()
    }

    /// Ends the text here: what follows cannot be understood any more.
    pub(crate) fn stop(&mut self) {
        self.frames.clear();
        self.stopped = true;
    }

    /// Whether the end of the text has been reported already.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    pub(crate) fn error(&mut self, at: &SourceLocation, what: impl Into<String>, wanted: impl Into<String>) {
        self.errors.push(ConfigError::new(at, what, wanted));
    }

    pub(crate) fn warn(&mut self, at: &SourceLocation, what: impl Into<String>) {
        self.warnings.push(ConfigWarning::new(at, what));
    }

    /// Keeps the tokens of `(name) { … }` for later imports.
    pub(crate) fn define_snippet(&mut self, name: &str, at: &SourceLocation, tokens: Vec<Token>) {
        if self.snippets.contains_key(name) {
            self.error(at, format!("redeclaration of previously declared snippet {name}"), "another name");
            return;
        }
        self.snippets.insert(name.to_owned(), tokens.into());
    }

    /// Splices in what an `import` names; `word` is its argument, or what it says with variables filled in.
    pub(crate) fn import(&mut self, word: &Token, pattern: &str) {
        if let Some(tokens) = self.snippets.get(pattern).cloned() {
            self.import_snippet(word, pattern, tokens);
        } else {
            self.import_files(word, pattern);
        }
    }

    fn import_snippet(&mut self, word: &Token, name: &str, tokens: Arc<[Token]>) {
        let origin = FrameOrigin::Snippet(name.to_owned());
        self.snippets_expanded += 1;
        if self.snippets_expanded > MAX_SNIPPETS || self.frames.iter().any(|frame| frame.origin == origin) {
            self.snippet_circle(&word.at, name);
            return self.stop();
        }
        self.frames.push(Frame { origin, tokens, next: 0 });
    }

    pub(crate) fn snippet_circle(&mut self, at: &SourceLocation, name: &str) {
        let what = format!("maximum snippet import depth ({MAX_SNIPPETS}) exceeded: {name}");
        self.error(at, what, "snippets that do not import themselves");
    }

    fn import_files(&mut self, word: &Token, pattern: &str) {
        self.files_expanded += 1;
        if self.files_expanded > MAX_FILES {
            return self.file_circle(&word.at, pattern);
        }
        let folder = Path::new(word.at.file()).parent().unwrap_or(Path::new(""));
        let path = folder.join(pattern).to_string_lossy().into_owned();
        let many = |wildcard| path.matches(wildcard).count() > 1;
        if many('*') || many('?') || (path.contains('[') && path.contains(']')) {
            let what = format!("Glob pattern may only contain one wildcard (*), but has others: {path}");
            return self.error(&word.at, what, "one wildcard");
        }
        let paths = if path.contains(['*', '?']) { self.loader.glob(&path) } else { Ok(vec![path]) };
        match paths {
            Ok(paths) if paths.is_empty() => {
                self.warn(&word.at, format!("No files matching import glob pattern: {pattern}"));
            }
            // Pushed backwards, so that the first is read first.
            Ok(paths) => paths.into_iter().rev().for_each(|path| self.import_file(word, pattern, path)),
            Err(error) => {
                let what = format!("Failed to use import pattern {pattern}: {error}");
                self.error(&word.at, what, "a readable folder");
            }
        }
    }

    fn import_file(&mut self, word: &Token, pattern: &str, path: String) {
        let origin = FrameOrigin::File(path.clone());
        // A frame not begun yet is only a neighbour from the same pattern.
        if self.frames.iter().any(|frame| frame.next > 0 && frame.origin == origin) {
            return self.file_circle(&word.at, &path);
        }
        match self.loader.read(&path) {
            Ok(text) => {
                let source = Arc::new(SourceText { name: path, text });
                let tokens = lexer::tokens(&source, &mut self.warnings).into();
                self.frames.push(Frame { origin, tokens, next: 0 });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.error(
                    &word.at,
                    format!("File to import not found: {pattern}"),
                    "a snippet's name or a file",
                );
            }
            Err(error) => {
                self.error(&word.at, format!("Could not import {path}: {error}"), "a readable file")
            }
        }
    }

    fn file_circle(&mut self, at: &SourceLocation, path: &str) {
        let what = format!("maximum file import depth ({MAX_FILES}) exceeded: {path}");
        self.error(at, what, "files that do not import themselves");
        self.stop();
    }
}
