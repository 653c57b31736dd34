//! An explanation: sentences, each with the sentences that give its reasons.

use serde::{Deserialize, Serialize};

/// A sentence with its reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The sentence.
    pub text: String,
    /// Its reasons or parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Tree>,
}

impl Tree {
    /// A sentence without parts.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), parts: Vec::new() }
    }

    /// Adds a part.
    #[must_use]
    pub fn with(mut self, part: impl Into<Tree>) -> Self {
        self.parts.push(part.into());
        self
    }

    /// Adds parts.
    #[must_use]
    pub fn with_all(mut self, parts: impl IntoIterator<Item = impl Into<Tree>>) -> Self {
        self.parts.extend(parts.into_iter().map(Into::into));
        self
    }

    /// The tree as text, a line for each sentence.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        push_line(&mut text, &self.text);
        self.write_parts(&mut text, "");
        text
    }

    /// The tree as JSON: `{"text": …, "parts": […]}`.
    pub fn to_json(&self) -> String {
        // Text and lists can always be serialised.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    fn write_parts(&self, text: &mut String, indent: &str) {
        for (at, part) in self.parts.iter().enumerate() {
            let is_last = at + 1 == self.parts.len();
            let (branch, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            text.push_str(indent);
            text.push_str(branch);
            push_line(text, &part.text);
            part.write_parts(text, &format!("{indent}{below}"));
        }
    }
}

impl From<String> for Tree {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Appends a line. Control characters, which names and headers may have, are replaced.
fn push_line(text: &mut String, line: &str) {
    text.extend(line.chars().map(|ch| if ch.is_control() { '\u{fffd}' } else { ch }));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_a_line_for_each_sentence() {
        let tree = Tree::new("a").with(Tree::new("b").with("c\nd")).with("e");
        assert_eq!(tree.to_text(), "a\n├─ b\n│  └─ c\u{fffd}d\n└─ e\n");
        let json: serde_json::Value = serde_json::from_str(&tree.to_json()).unwrap();
        assert_eq!(json["parts"][0]["parts"][0]["text"], "c\nd");
    }
}
