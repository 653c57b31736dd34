//! What plugins say in explanations.

/// A plugin's notes about a query: sentences, and the Services that its records come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Sentences.
    pub lines: Vec<String>,
    /// Namespaces and names of Services.
    pub services: Vec<(String, String)>,
}

impl Notes {
    /// Adds a sentence.
    pub fn say(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }
}
