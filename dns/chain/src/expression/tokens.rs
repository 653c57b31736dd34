//! Splits an expression into tokens.

use std::fmt;

use super::ExprValue;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum ExprToken {
    Number(ExprValue),
    Text(String),
    Word(String),
    Sign(&'static str),
    End,
}

/// Signs, longer ones before their beginnings.
const SIGNS: [&str; 33] = [
    "==", "!=", "<=", ">=", "&&", "||", "??", "?.", "**", "..", "<", ">", "!", "+", "-", "*", "/", "%", "^",
    "?", ":", "(", ")", "[", "]", ",", "|", "#", ";", "=", "{", "}", ".",
];

/// The tokens, each with its column, counted from 1. The last one is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<(ExprToken, usize)>, String> {
    let (mut tokens, mut rest) = (Vec::new(), text.trim_start());
    let mut at = 1 + text.chars().count() - rest.chars().count();
    while let Some(first) = rest.chars().next() {
        let failed = |what: String| format!("{what} (column {at})");
        let end = |is: &dyn Fn(char) -> bool| rest.find(|ch| !is(ch)).unwrap_or(rest.len());
        let (token, length) = if matches!(first, '"' | '\'' | '`') {
            let found = quoted(rest, first).ok_or_else(|| failed("a quote is not closed".to_owned()))?;
            (ExprToken::Text(found.0), found.1)
        } else if first.is_ascii_digit() {
            let length = end(&|ch| ch.is_ascii_alphanumeric() || ch == '.' || ch == '_');
            // `1..3` is a range.
            let length = rest[..length].find("..").unwrap_or(length);
            (ExprToken::Number(number(&rest[..length]).map_err(failed)?), length)
        } else if first.is_ascii_alphabetic() || first == '_' {
            let length = end(&|ch| ch.is_ascii_alphanumeric() || ch == '_');
            (ExprToken::Word(rest[..length].to_owned()), length)
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| failed(format!("unexpected {first}")))?;
            (ExprToken::Sign(sign), sign.len())
        };
        tokens.push((token, at));
        let after = rest[length..].trim_start();
        at += rest[..rest.len() - after.len()].chars().count();
        rest = after;
    }
    tokens.push((ExprToken::End, at));
    Ok(tokens)
}

fn number(text: &str) -> Result<ExprValue, String> {
    let digits = text.replace('_', "");
    let whole = match digits.get(..2) {
        Some("0x") => i64::from_str_radix(&digits[2..], 16).ok(),
        Some("0b") => i64::from_str_radix(&digits[2..], 2).ok(),
        Some("0o") => i64::from_str_radix(&digits[2..], 8).ok(),
        _ => digits.parse().ok(),
    };
    let value = whole.map(ExprValue::Int).or_else(|| digits.parse().ok().map(ExprValue::Float));
    value.ok_or_else(|| format!("{text} is not a number"))
}

/// The text of a string, and its length with quotes. Backquotes know no escapes.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let (mut value, mut chars) = (String::new(), text.char_indices().skip(1));
    loop {
        match chars.next()? {
            (at, ch) if ch == quote => return Some((value, at + 1)),
            (_, '\\') if quote != '`' => value.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            (_, ch) => value.push(ch),
        }
    }
}

impl fmt::Display for ExprToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(value) => value.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Word(word) => f.write_str(word),
            Self::Sign(sign) => f.write_str(sign),
            Self::End => f.write_str("end"),
        }
    }
}
