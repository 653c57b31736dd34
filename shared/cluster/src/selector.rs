//! Label selectors as text (Kubernetes "Labels and Selectors": equality-based and set-based requirements).

use std::fmt;
use std::str::FromStr;

use crate::key::CompactString;

/// Requirements on labels. All of them must hold; without any, each object is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: CompactString,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Exists,
    Missing,
    In(Vec<CompactString>),
    /// Holds also where the label is missing.
    NotIn(Vec<CompactString>),
}

/// A text that is not a label selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLabelSelector {
    /// The text.
    pub selector: String,
    /// The unexpected token; empty when the text ended too early.
    pub found: String,
    /// What was expected instead.
    pub wanted: &'static str,
}

impl LabelSelector {
    /// Whether an object with these labels is selected.
    pub fn selects(&self, labels: &[(CompactString, CompactString)]) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = labels.iter().find(|(key, _)| *key == requirement.key).map(|(_, value)| value);
            match &requirement.test {
                Test::Exists => value.is_some(),
                Test::Missing => value.is_none(),
                Test::In(values) => value.is_some_and(|value| values.contains(value)),
                Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }
}

/// `key`, `!key`, `key=value`, `key==value`, `key!=value`, `key in (a, b)`, `key notin (a, b)`, joined by commas.
impl FromStr for LabelSelector {
    type Err = BadLabelSelector;

    fn from_str(text: &str) -> Result<Self, BadLabelSelector> {
        let mut tokens = Tokens { text, rest: text };
        let mut requirements = Vec::new();
        if tokens.peek().is_empty() {
            return Ok(Self::default());
        }
        loop {
            requirements.push(requirement(&mut tokens)?);
            match tokens.next() {
                "" => return Ok(Self { requirements }),
                "," => {}
                found => return Err(tokens.bad(found, "a comma or the end")),
            }
        }
    }
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, BadLabelSelector> {
    if tokens.peek() == "!" {
        tokens.next();
        return Ok(Requirement { key: word(tokens, "a label after !")?, test: Test::Missing });
    }
    let key = word(tokens, "a label")?;
    let test = match tokens.peek() {
        "" | "," => Test::Exists,
        "=" | "==" => {
            tokens.next();
            Test::In(vec![value(tokens)])
        }
        "!=" => {
            tokens.next();
            Test::NotIn(vec![value(tokens)])
        }
        "in" => {
            tokens.next();
            Test::In(values(tokens)?)
        }
        "notin" => {
            tokens.next();
            Test::NotIn(values(tokens)?)
        }
        found => return Err(tokens.bad(found, "one of =, ==, !=, in, notin")),
    };
    Ok(Requirement { key, test })
}

/// A value may be empty.
fn value(tokens: &mut Tokens<'_>) -> CompactString {
    if is_word(tokens.peek()) { tokens.next().into() } else { CompactString::default() }
}

fn values(tokens: &mut Tokens<'_>) -> Result<Vec<CompactString>, BadLabelSelector> {
    match tokens.next() {
        "(" => {}
        found => return Err(tokens.bad(found, "( and values")),
    }
    let mut values = Vec::new();
    loop {
        values.push(value(tokens));
        match tokens.next() {
            ")" => return Ok(values),
            "," => {}
            found => return Err(tokens.bad(found, "a comma or )")),
        }
    }
}

fn word(tokens: &mut Tokens<'_>, wanted: &'static str) -> Result<CompactString, BadLabelSelector> {
    match tokens.next() {
        found if is_word(found) => Ok(found.into()),
        found => Err(tokens.bad(found, wanted)),
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_ascii_alphanumeric())
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
}

struct Tokens<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    /// The next token, which is not consumed; empty at the end.
    fn peek(&self) -> &'a str {
        let rest = self.rest.trim_start();
        const SIGNS: &[char] = &['=', '!', ',', '(', ')', '<', '>'];
        for sign in ["==", "!="] {
            if rest.starts_with(sign) {
                return &rest[..2];
            }
        }
        if rest.starts_with(SIGNS) {
            return &rest[..1];
        }
        let end = rest.find(|c: char| c.is_whitespace() || SIGNS.contains(&c)).unwrap_or(rest.len());
        &rest[..end]
    }

    fn next(&mut self) -> &'a str {
        let token = self.peek();
        self.rest = &self.rest.trim_start()[token.len()..];
        token
    }

    fn bad(&self, found: &str, wanted: &'static str) -> BadLabelSelector {
        BadLabelSelector { selector: self.text.to_owned(), found: found.to_owned(), wanted }
    }
}

impl fmt::Display for BadLabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { selector, found, wanted } = self;
        match found.as_str() {
            "" => write!(f, "{selector:?} ends where {wanted} should be"),
            _ => write!(f, "{selector:?} has {found:?} where {wanted} should be"),
        }
    }
}

impl std::error::Error for BadLabelSelector {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_selects_by_equality_and_by_set() {
        let labels = [
            ("env".into(), "prod".into()),
            ("example.com/tier".into(), "web".into()),
            ("e".into(), "".into()),
        ];
        for (text, selected) in [
            ("", true),
            ("env", true),
            ("!env", false),
            ("!other", true),
            ("env=prod", true),
            ("env == prod", true),
            ("env=test", false),
            ("env!=test", true),
            ("other!=x", true),
            ("e=", true),
            ("env in (test, prod)", true),
            ("env in (test)", false),
            ("env notin (test,prod)", false),
            ("other notin (x)", true),
            ("env in (prod),example.com/tier=web", true),
            ("env=prod, example.com/tier in (db)", false),
            ("env,!other,env!=test", true),
        ] {
            let selector: LabelSelector = text.parse().expect(text);
            assert_eq!(selector.selects(&labels), selected, "{text:?}");
        }
    }

    #[test]
    fn an_invalid_selector_is_reported_with_the_expected_token() {
        for (text, error) in [
            (",", r#""," has "," where a label should be"#),
            ("env in prod", r#""env in prod" has "prod" where ( and values should be"#),
            ("env in (a", r#""env in (a" ends where a comma or ) should be"#),
            ("env=a b", r#""env=a b" has "b" where a comma or the end should be"#),
            ("env>1", r#""env>1" has ">" where one of =, ==, !=, in, notin should be"#),
            ("a,", r#""a," ends where a label should be"#),
            ("!", r#""!" ends where a label after ! should be"#),
        ] {
            assert_eq!(text.parse::<LabelSelector>().unwrap_err().to_string(), error, "{text:?}");
        }
    }
}
