//! The token stream: the main text with imported tokens inserted.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::error::{ConfigError, ConfigWarning};
use crate::lexer::{self, Token};
use crate::loader::Loader;
use crate::location::{SourceLocation, SourceText};

const MAX_SNIPPETS: u32 = 10_000;
const MAX_FILES: u32 = 100_000;
/// Words of the main file and of one path of imports, and words after expansion. CoreDNS has no such limit: a few nested
/// snippets expand to gigabytes there.
const MAX_WORDS: u32 = 1_000_000;
/// Total size of all files in bytes.
const MAX_BYTES: usize = 64 << 20;
/// Errors and warnings after which the rest of the text is discarded.
const MAX_REPORTS: usize = 100;

/// Returns tokens and inserts imports. The stack of open imports reveals import cycles.
pub(crate) struct Input<'a> {
    loader: &'a dyn Loader,
    frames: Vec<Frame>,
    snippets: HashMap<String, Arc<[Token]>>,
    snippets_expanded: u32,
    files_expanded: u32,
    words: u32,
    words_loaded: usize,
    bytes_loaded: usize,
    /// The token returned last; errors at the end of the text are located there.
    last: Option<Token>,
    start: SourceLocation,
    stopped: bool,
    /// How many of the errors leave the rest of the text readable.
    mistakes: usize,
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
        let mut input = Self {
            loader,
            frames: Vec::new(),
            snippets: HashMap::new(),
            snippets_expanded: 0,
            files_expanded: 0,
            words: 0,
            words_loaded: 0,
            bytes_loaded: 0,
            last: None,
            start: SourceLocation::new(&source, 1),
            stopped: false,
            mistakes: 0,
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        let start = input.start.clone();
        input.load(&source, FrameOrigin::File(name.to_owned()), &start);
        input
    }

    /// Splits a file into tokens and puts it on the stack. `at` is the location of the import, or the file's start.
    fn load(&mut self, source: &Arc<SourceText>, origin: FrameOrigin, at: &SourceLocation) {
        self.bytes_loaded += source.text.len();
        if self.bytes_loaded > MAX_BYTES {
            self.error(at, format!("more than {} MiB of configuration", MAX_BYTES >> 20), "smaller files");
            return self.stop();
        }
        let tokens = lexer::tokens(source, MAX_WORDS as usize + 1, &mut self.warnings);
        self.words_loaded += tokens.len();
        if self.words_loaded > MAX_WORDS as usize {
            self.error(at, format!("more than {MAX_WORDS} words"), "a smaller configuration");
            return self.stop();
        }
        self.frames.push(Frame { origin, tokens: tokens.into(), next: 0 });
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

    /// The next token, if it is on the same line.
    pub(crate) fn next_on_line(&mut self) -> Option<Token> {
        if self.peek()?.starts_line { None } else { self.next() }
    }

    pub(crate) fn last_text(&self) -> &str {
        self.last.as_ref().map_or("", |token| &token.text)
    }

    /// The current location.
    pub(crate) fn here(&self) -> SourceLocation {
        self.last.as_ref().map_or(&self.start, |token| &token.at).clone()
    }

    /// Discards the rest of the text, which cannot be parsed reliably after this error.
    pub(crate) fn stop(&mut self) {
        self.frames.clear();
        self.stopped = true;
    }

    /// Whether the rest of the text was discarded after an error.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether all errors leave the rest of the text readable.
    pub(crate) fn is_readable(&self) -> bool {
        !self.stopped && self.mistakes == self.errors.len()
    }

    /// Adds an error that leaves the rest of the text readable.
    pub(crate) fn mistake(
        &mut self,
        at: &SourceLocation,
        what: impl Into<String>,
        wanted: impl Into<String>,
    ) {
        self.mistakes += 1;
        self.error(at, what, wanted);
    }

    pub(crate) fn error(&mut self, at: &SourceLocation, what: impl Into<String>, wanted: impl Into<String>) {
        self.errors.push(ConfigError::new(at, what, wanted));
        if self.errors.len() == MAX_REPORTS {
            self.errors.push(ConfigError::new(at, "too many errors; the rest of the text was not read", ""));
            self.stop();
        }
        self.errors.truncate(MAX_REPORTS + 1);
    }

    pub(crate) fn warn(&mut self, at: &SourceLocation, what: impl Into<String>) {
        if self.warnings.len() < MAX_REPORTS {
            self.warnings.push(ConfigWarning::new(at, what));
        }
    }

    /// Stores the tokens of the snippet `(name) { … }`.
    pub(crate) fn define_snippet(&mut self, name: &str, at: &SourceLocation, tokens: Vec<Token>) {
        if self.snippets.contains_key(name) {
            self.error(at, format!("redeclaration of previously declared snippet {name}"), "another name");
            return;
        }
        self.snippets.insert(name.to_owned(), tokens.into());
    }

    /// Inserts an import. `pattern` is the argument of `import` with its variables substituted.
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
            self.snippet_cycle(&word.at, name);
            return self.stop();
        }
        self.frames.push(Frame { origin, tokens, next: 0 });
    }

    pub(crate) fn snippet_cycle(&mut self, at: &SourceLocation, name: &str) {
        let what = format!("maximum snippet import depth ({MAX_SNIPPETS}) exceeded: {name}");
        self.error(at, what, "snippets that do not import themselves");
    }

    fn import_files(&mut self, word: &Token, pattern: &str) {
        self.files_expanded += 1;
        if self.files_expanded > MAX_FILES {
            return self.file_cycle(&word.at, pattern);
        }
        let folder = Path::new(word.at.file()).parent().unwrap_or(Path::new(""));
        let path = folder.join(pattern).to_string_lossy().into_owned();
        let many = |wildcard| path.matches(wildcard).count() > 1;
        if many('*') || many('?') || (path.contains('[') && path.contains(']')) {
            let what = format!("Glob pattern may only contain one wildcard (*), but has others: {path}");
            return self.mistake(&word.at, what, "one wildcard");
        }
        let paths = if path.contains(['*', '?']) { self.loader.glob(&path) } else { Ok(vec![path]) };
        match paths {
            // Pushed in reverse order, so that the first file is read first. A pattern without a match is a place for optional
            // files, as in K3s's Corefile, and no mistake.
            Ok(paths) => {
                for path in paths.into_iter().rev() {
                    if self.stopped {
                        break;
                    }
                    self.import_file(word, pattern, path);
                }
            }
            Err(error) => {
                let what = format!("Failed to use import pattern {pattern}: {error}");
                self.mistake(&word.at, what, "a readable folder");
            }
        }
    }

    fn import_file(&mut self, word: &Token, pattern: &str, path: String) {
        let origin = FrameOrigin::File(path.clone());
        // A frame without consumed tokens is another match of the same pattern, not an enclosing import.
        if self.frames.iter().any(|frame| frame.next > 0 && frame.origin == origin) {
            return self.file_cycle(&word.at, &path);
        }
        match self.loader.read(&path) {
            Ok(text) => {
                let source = Arc::new(SourceText { name: path, text });
                self.load(&source, origin, &word.at);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.mistake(
                    &word.at,
                    format!("File to import not found: {pattern}"),
                    "a snippet's name or a file",
                );
            }
            Err(error) => {
                self.mistake(&word.at, format!("Could not import {path}: {error}"), "a readable file")
            }
        }
    }

    fn file_cycle(&mut self, at: &SourceLocation, path: &str) {
        let what = format!("maximum file import depth ({MAX_FILES}) exceeded: {path}");
        self.error(at, what, "files that do not import themselves");
        self.stop();
    }
}
