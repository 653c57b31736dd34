//! The directives of `auth-snippet` and `global-auth-snippet` that can be honoured: `proxy_set_header`.

use http::{HeaderName, HeaderValue};

use crate::annotations::SettingReader;
use crate::annotations::template::Template;
use crate::problem::Effect;

/// Names and values of the directives of a snippet. With any other directive the routes are closed, because it may be an access
/// rule.
pub(super) fn header_lines(
    reader: &mut SettingReader<'_>,
    name: &'static str,
) -> Option<Vec<(String, Template)>> {
    let text = reader.text(name)?;
    let headers = directives(text).map(|words| {
        let words = words?;
        match words.as_slice() {
            [directive, name, value] if directive == "proxy_set_header" => {
                HeaderName::try_from(name.as_str()).ok()?;
                HeaderValue::try_from(value.as_str()).ok()?;
                Some((name.clone(), Template::parse(value, None)?))
            }
            _ => None,
        }
    });
    let headers: Option<Vec<_>> = headers.collect();
    if headers.is_none() {
        let what = format!("{text:?} should have directives proxy_set_header with known variables only");
        reader.problem(name, what, Effect::Closed);
    }
    headers
}

/// The words of each directive; `None` for one that is not complete.
fn directives(text: &str) -> impl Iterator<Item = Option<Vec<String>>> {
    let mut rest = text.trim();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (words, after) = match directive(rest) {
            Some((words, after)) => (Some(words), after),
            None => (None, ""),
        };
        rest = after;
        Some(words)
    })
}

/// The words before a semicolon, and what follows it. Quotes keep spaces and semicolons together; comments and blocks are not read.
fn directive(text: &str) -> Option<(Vec<String>, &str)> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') if word.is_none() => {
                quote = Some(c);
                word = Some(String::new());
            }
            (None, ';') => {
                words.extend(word.take());
                return Some((words, text[at + 1..].trim_start()));
            }
            (None, '{' | '}') if word.as_ref().is_none_or(|word| !word.contains('$')) => return None,
            (_, '\\' | '#') => return None,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_split_into_words() {
        let read = |text: &str| directives(text).collect::<Option<Vec<_>>>();
        for (text, wanted) in [
            ("", Some(vec![])),
            ("a b c;", Some(vec![vec!["a", "b", "c"]])),
            (" a 'b  c;' \"d\";\n e ${f} ; ", Some(vec![vec!["a", "b  c;", "d"], vec!["e", "${f}"]])),
            ("a b", None),
            ("a { b; }", None),
            ("a 'b;", None),
            ("# a;", None),
            ("a \\;;", None),
        ] {
            let wanted = wanted.map(|all: Vec<Vec<&str>>| {
                all.into_iter().map(|words| words.into_iter().map(String::from).collect()).collect()
            });
            assert_eq!(read(text), wanted, "{text}");
        }
    }
}
