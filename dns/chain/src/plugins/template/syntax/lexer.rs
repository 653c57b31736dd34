//! Splits a template into text and actions, and an action into tokens.

use std::fmt;

use crate::expression::ExprValue;

/// A part of a template.
pub(super) enum Piece<'a> {
    Text(&'a str),
    /// The text between `{{` and `}}`.
    Action(&'a str),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TemplateToken {
    Literal(ExprValue),
    /// `.a.b` as `["a", "b"]`; empty for the dot.
    Field(Vec<String>),
    /// `$name.a` as `name.a`; empty for `$`.
    Variable(String),
    Word(String),
    Assign,
    Comma,
    Pipe,
    Open,
    Close,
}

impl TemplateToken {
    /// The word; empty for another token.
    pub(super) fn word(&self) -> &str {
        match self {
            Self::Word(word) => word,
            _ => "",
        }
    }
}

impl fmt::Display for TemplateToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(value) => value.fmt(f),
            Self::Field(path) => write!(f, ".{}", path.join(".")),
            Self::Variable(name) => write!(f, "${name}"),
            Self::Word(word) => f.write_str(word),
            Self::Assign => f.write_str(":="),
            Self::Comma => f.write_str(","),
            Self::Pipe => f.write_str("|"),
            Self::Open => f.write_str("("),
            Self::Close => f.write_str(")"),
        }
    }
}

/// The parts of a template. `{{-` and `-}}` remove the blanks beside them; comments are left out.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, String> {
    let (mut pieces, mut rest, mut trims) = (Vec::new(), text, false);
    while let Some((before, after)) = rest.split_once("{{") {
        let (after, trims_before) = match after.strip_prefix("- ") {
            Some(after) => (after, true),
            None => (after, false),
        };
        let end = action_end(after).ok_or("an action is not closed by }}")?;
        let mut before = if trims { before.trim_start() } else { before };
        if trims_before {
            before = before.trim_end();
        }
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        let action = &after[..end];
        let (action, trims_after) = match action.strip_suffix(" -") {
            Some(action) => (action, true),
            None => (action, false),
        };
        let action = action.trim();
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            pieces.push(Piece::Action(action));
        }
        (rest, trims) = (&after[end + 2..], trims_after);
    }
    let rest = if trims { rest.trim_start() } else { rest };
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    Ok(pieces)
}

/// Where `}}` is that is not within a string.
fn action_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match quote {
            Some(b'"') if byte == b'\\' => {
                bytes.next();
            }
            Some(open) if byte == open => quote = None,
            Some(_) => {}
            None if matches!(byte, b'"' | b'`') => quote = Some(byte),
            None if text.as_bytes()[at..].starts_with(b"}}") => return Some(at),
            None => {}
        }
    }
    None
}

/// The tokens of an action.
pub(super) fn tokens(action: &str) -> Result<Vec<TemplateToken>, String> {
    let (mut tokens, mut rest) = (Vec::new(), action.trim_start());
    while let Some(first) = rest.chars().next() {
        let name_end = |from: usize| {
            let is_name = |ch: char| ch.is_alphanumeric() || ch == '_' || ch == '.';
            rest[from..].find(|ch| !is_name(ch)).map_or(rest.len(), |end| from + end)
        };
        let (token, length) = match first {
            '|' => (TemplateToken::Pipe, 1),
            '(' => (TemplateToken::Open, 1),
            ')' => (TemplateToken::Close, 1),
            ',' => (TemplateToken::Comma, 1),
            ':' if rest.starts_with(":=") => (TemplateToken::Assign, 2),
            '=' => (TemplateToken::Assign, 1),
            '"' => {
                let (text, length) = string(rest).ok_or("a string is not closed")?;
                (TemplateToken::Literal(ExprValue::Text(text)), length)
            }
            '`' => {
                let end = rest[1..].find('`').ok_or("a string is not closed")?;
                (TemplateToken::Literal(ExprValue::Text(rest[1..=end].to_owned())), end + 2)
            }
            '.' => {
                let end = name_end(1);
                let path = rest[1..end].split('.').filter(|name| !name.is_empty()).map(str::to_owned);
                (TemplateToken::Field(path.collect()), end)
            }
            '$' => {
                let end = name_end(1);
                (TemplateToken::Variable(rest[1..end].to_owned()), end)
            }
            '-' | '+' | '0'..='9' => {
                let end = name_end(1);
                let number = &rest[..end];
                let value =
                    number.parse().map(ExprValue::Int).or_else(|_| number.parse().map(ExprValue::Float));
                (TemplateToken::Literal(value.map_err(|_| format!("{number} is not a number"))?), end)
            }
            ch if ch.is_alphabetic() || ch == '_' => {
                let end = name_end(0);
                let token = match &rest[..end] {
                    "true" => TemplateToken::Literal(ExprValue::Bool(true)),
                    "false" => TemplateToken::Literal(ExprValue::Bool(false)),
                    "nil" => TemplateToken::Literal(ExprValue::Nil),
                    word => TemplateToken::Word(word.to_owned()),
                };
                (token, end)
            }
            other => return Err(format!("unexpected {other}")),
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// The text of a string in double quotes, and its length with quotes.
fn string(text: &str) -> Option<(String, usize)> {
    let (mut value, mut chars) = (String::new(), text.char_indices().skip(1));
    loop {
        match chars.next()? {
            (at, '"') => return Some((value, at + 1)),
            (_, '\\') => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            (_, ch) => value.push(ch),
        }
    }
}
