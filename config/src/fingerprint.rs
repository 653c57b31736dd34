//! The hash that identifies a configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha512};

use crate::lexer::Token;

/// SHA-512 over the parsed words, imports included. Equal to the value that CoreDNS computes for the same text, which it
/// exports in `coredns_reload_version_info`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 64]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A server block as CoreDNS represents it: keys as written and, by directive, all words including braces.
#[derive(Default)]
pub(crate) struct RawBlock {
    pub(crate) keys: Vec<String>,
    pub(crate) directives: BTreeMap<String, Vec<(Token, Arc<str>)>>,
}

/// Hashes the blocks in Go's JSON form of `[]caddyfile.ServerBlock`. Words of the main file have an empty file name.
pub(crate) fn of(blocks: &[RawBlock], main: &str) -> Fingerprint {
    let mut json = String::new();
    if blocks.is_empty() {
        json.push_str("null");
    } else {
        list(&mut json, '[', ']', blocks, |json, block| raw_block(json, block, main));
    }
    Fingerprint(Sha512::digest(json.as_bytes()).into())
}

fn raw_block(json: &mut String, block: &RawBlock, main: &str) {
    json.push_str("{\"Keys\":");
    list(json, '[', ']', &block.keys, |json, key| string(json, key));
    json.push_str(",\"Tokens\":");
    list(json, '{', '}', &block.directives, |json, (name, words)| {
        string(json, name);
        json.push(':');
        list(json, '[', ']', words, |json, (token, text)| {
            json.push_str("{\"File\":");
            string(json, if token.at.file() == main { "" } else { token.at.file() });
            json.push_str(&format!(",\"Line\":{},\"Text\":", token.at.line()));
            string(json, text);
            json.push('}');
        });
    });
    json.push('}');
}

fn list<T>(
    json: &mut String,
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    mut one: impl FnMut(&mut String, T),
) {
    json.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        one(json, item);
    }
    json.push(close);
}

/// Writes a string like Go's encoding/json, which also escapes `<`, `>`, `&` and the two Unicode line separators.
fn string(json: &mut String, text: &str) {
    json.push('"');
    for ch in text.chars() {
        match ch {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\0'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                json.push_str(&format!("\\u{:04x}", u32::from(ch)));
            }
            _ => json.push(ch),
        }
    }
    json.push('"');
}
