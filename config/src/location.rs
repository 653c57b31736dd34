//! Locations in configuration files.

use std::fmt;
use std::sync::Arc;

/// A text with its file name.
#[derive(Debug)]
pub(crate) struct SourceText {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A line of a file. Cheap to clone; gives access to the text of the line.
#[derive(Clone)]
pub struct SourceLocation {
    source: Arc<SourceText>,
    line: u32,
}

impl SourceLocation {
    pub(crate) fn new(source: &Arc<SourceText>, line: u32) -> Self {
        Self { source: source.clone(), line }
    }

    /// The location of a file that could not be read.
    pub fn unread(name: &str) -> Self {
        Self::new(&Arc::new(SourceText { name: name.to_owned(), text: String::new() }), 0)
    }

    /// File name as given or imported.
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// Line number from 1; 0 if the file could not be read.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Trimmed text of the line; empty past the end of the file.
    pub fn text(&self) -> &str {
        let index = (self.line as usize).saturating_sub(1);
        self.source.text.lines().nth(index).unwrap_or_default().trim()
    }
}

impl PartialEq for SourceLocation {
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line && self.file() == other.file()
    }
}

impl Eq for SourceLocation {}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file(), self.line)
    }
}

impl fmt::Debug for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
