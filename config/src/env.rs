//! Substitutes environment variables: `{$NAME}` and `{%NAME%}`.

use std::borrow::Cow;

/// Substitutes the variables of a word, the Windows form first, as CoreDNS does. An unset variable is empty.
pub(crate) fn fill<'a>(word: &'a str, lookup: &dyn Fn(&str) -> Option<String>) -> Cow<'a, str> {
    if !word.contains("{%") && !word.contains("{$") {
        return Cow::Borrowed(word);
    }
    let word = fill_form(word.to_owned(), ("{%", "%}"), lookup);
    Cow::Owned(fill_form(word, ("{$", "}"), lookup))
}

/// Substitutes one form. References inside values are substituted too, up to [`MAX_REFERENCES`].
fn fill_form(mut word: String, form: (&str, &str), lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let (open, close) = form;
    for _ in 0..MAX_REFERENCES {
        let Some(start) = word.find(open) else { break };
        let Some(length) = word[start..].find(close) else { break };
        if length <= open.len() {
            break;
        }
        let reference = word[start..start + length + close.len()].to_owned();
        let value = lookup(&reference[open.len()..length]).unwrap_or_default();
        if word.len() + word.matches(&reference).count() * value.len() > MAX_LENGTH {
            break;
        }
        word = word.replace(&reference, &value);
    }
    word
}

/// Bounds a variable that refers to itself; CoreDNS does not terminate there.
const MAX_REFERENCES: usize = 100;
const MAX_LENGTH: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_anywhere_in_a_word() {
        let lookup = |name: &str| match name {
            "PORT" => Some("8080".to_owned()),
            "ADDRESS" => Some("servername.com".to_owned()),
            "DIR" => Some("r1".to_owned()),
            "AGAIN" => Some("{$PORT}".to_owned()),
            "SELF" => Some("x{$SELF}".to_owned()),
            _ => None,
        };
        for (word, filled) in [
            ("plain", "plain"),
            ("{$ADDRESS}", "servername.com"),
            ("di{$DIR}", "dir1"),
            ("{$ADDRESS}:{$PORT}", "servername.com:8080"),
            ("{%ADDRESS%}:{$PORT}", "servername.com:8080"),
            ("{$ADDRESS}:{%PORT%}", "servername.com:8080"),
            ("{$PORT}{$PORT}", "80808080"),
            ("{%ADDRESS}", "{%ADDRESS}"),
            (":{$PORT$}", ":"),
            ("{$UNSET}", ""),
            ("{$}", "{$}"),
            ("{%}", "{%}"),
            ("{$AGAIN}", "8080"),
            ("{{ $x }}", "{{ $x }}"),
            ("{{$x}}", "{}"),
        ] {
            assert_eq!(fill(word, &lookup), filled, "{word}");
        }
        assert!(fill("{$SELF}", &lookup).len() < 1000, "a variable that names itself ends");
    }
}
