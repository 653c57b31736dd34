//! Rust source as tokens: enough to see imports and declarations without compiling.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

use crate::workspace::short;

/// A module in a file of its own, without test code.
pub(crate) struct Module {
    /// Module names from the crate's root; empty for the root itself.
    pub(crate) path: Vec<String>,
    pub(crate) file: PathBuf,
    pub(crate) tokens: Vec<Token>,
    /// In the order of the `mod` lines.
    pub(crate) children: Vec<Module>,
}

/// A token; the delimiters of groups are tokens as well.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Module {
    /// Reads a crate from its `lib.rs` or `main.rs`, following its `mod` lines.
    pub(crate) fn crate_at(root: &Path) -> Self {
        let folder = root.parent().expect("a file lies in a folder").to_path_buf();
        Self::read(root.to_path_buf(), folder, Vec::new())
    }

    /// Reads a module from a file and its children from a folder, as if it were a root.
    pub(crate) fn in_file(file: &Path, folder: &Path) -> Self {
        Self::read(file.to_path_buf(), folder.to_path_buf(), Vec::new())
    }

    /// This module and all below it.
    pub(crate) fn all(&self) -> Vec<&Module> {
        let below = self.children.iter().flat_map(Module::all);
        std::iter::once(self).chain(below).collect()
    }

    /// Its name in the parent's `mod` line.
    pub(crate) fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// `file:line` of a token.
    pub(crate) fn at(&self, token: &Token) -> String {
        format!("{}:{}", short(&self.file), token.line)
    }

    /// Whether the tokens from `at` on are these; names and signs such as `::` are separate tokens.
    pub(crate) fn reads(&self, at: usize, wanted: &[&str]) -> bool {
        let tokens = self.tokens.get(at..at + wanted.len());
        tokens.is_some_and(|tokens| tokens.iter().zip(wanted).all(|(token, wanted)| token.text == *wanted))
    }

    /// The file that `#[path = "…"]` directly before a `mod` line names.
    fn path_attribute(&self, at: usize) -> Option<PathBuf> {
        let start = at.checked_sub(6).filter(|&start| self.reads(start, &["#", "[", "path", "="]))?;
        Some(self.file.parent()?.join(self.tokens[start + 4].text.trim_matches('"')))
    }

    fn read(file: PathBuf, folder: PathBuf, path: Vec<String>) -> Self {
        let mut tokens = Vec::new();
        flatten(shipped(parse(&file)), &mut tokens);
        let mut module = Self { path, file, tokens, children: Vec::new() };
        let declarations = (0..module.tokens.len())
            .filter(|&at| module.reads(at, &["mod"]) && module.reads(at + 2, &[";"]))
            .map(|at| (module.tokens[at + 1].text.clone(), module.path_attribute(at)));
        for (name, given) in declarations.collect::<Vec<_>>() {
            let flat = folder.join(format!("{name}.rs"));
            let file = match given {
                Some(file) => file,
                None if flat.exists() => flat,
                None => folder.join(&name).join("mod.rs"),
            };
            let path = module.path.iter().chain([&name]).cloned().collect();
            module.children.push(Self::read(file, folder.join(&name), path));
        }
        module
    }
}

/// First and last lines of each piece of test code in a file.
pub(crate) fn test_lines(file: &Path) -> Vec<(usize, usize)> {
    let mut lines = Vec::new();
    without_tests(parse(file), &mut |skipped| {
        if let (Some(first), Some(last)) = (skipped.first(), skipped.last()) {
            lines.push((first.span().start().line, last.span().end().line));
        }
    });
    lines
}

fn parse(file: &Path) -> TokenStream {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", short(file)));
    TokenStream::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", short(file)))
}

fn shipped(stream: TokenStream) -> Vec<TokenTree> {
    without_tests(stream, &mut |_| {})
}

/// The items of a stream except those behind `#[cfg(test)]`, `#[test]` or the `testing` feature, which go to `skipped`.
fn without_tests(stream: TokenStream, skipped: &mut impl FnMut(&[TokenTree])) -> Vec<TokenTree> {
    let tokens: Vec<_> = stream.into_iter().collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_test_attribute(&tokens[at..]) {
            let end = item_end(&tokens, at + 2);
            skipped(&tokens[at..end]);
            at = end;
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn is_test_attribute(tokens: &[TokenTree]) -> bool {
    let [TokenTree::Punct(hash), TokenTree::Group(group), ..] = tokens else { return false };
    if hash.as_char() != '#' || group.delimiter() != Delimiter::Bracket {
        return false;
    }
    let words: Vec<_> = words(group.stream());
    let has = |word: &str| words.iter().any(|it| it == word);
    words == ["test"] || has("cfg") && !has("not") && (has("test") || has("\"testing\""))
}

/// The position after the item that starts here: past its attributes, up to its body, semicolon or comma.
fn item_end(tokens: &[TokenTree], start: usize) -> usize {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(sign) => matches!(sign.as_char(), ';' | ','),
        _ => false,
    };
    tokens[start..].iter().position(ends).map_or(tokens.len(), |after| start + after + 1)
}

fn words(stream: TokenStream) -> Vec<String> {
    let mut tokens = Vec::new();
    flatten(stream.into_iter().collect(), &mut tokens);
    tokens.into_iter().map(|token| token.text).collect()
}

fn flatten(trees: Vec<TokenTree>, into: &mut Vec<Token>) {
    let mut joint = false;
    for tree in trees {
        let line = tree.span().start().line;
        let mut add = |text: &str| into.push(Token { text: text.to_owned(), line });
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                add(open);
                flatten(shipped(group.stream()), into);
                into.push(Token { text: close.to_owned(), line: group.span_close().start().line });
                joint = false;
            }
            TokenTree::Punct(sign) if sign.as_char() == ':' && joint => {
                into.last_mut().expect("a joint colon was pushed").text.push(':');
                joint = false;
            }
            TokenTree::Punct(sign) => {
                add(&sign.as_char().to_string());
                joint = sign.as_char() == ':' && sign.spacing() == Spacing::Joint;
            }
            other => {
                add(&other.to_string());
                joint = false;
            }
        }
    }
}
