//! Compiles texts with variables of nginx in them, written `$name` or `${name}`.
//!
//! One compiler serves annotation values, headers and log lines. Which variables a text may have is the type parameter of
//! [`CompiledText`]: a text that is needed while a request runs cannot have a variable that is known only after its response.

/// A part of a text as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TemplatePart {
    Text(String),
    /// `$1` to `$9`.
    Group(usize),
    /// `$name` or `${name}`.
    Name(String),
}

/// Why a text cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// What is wrong.
    pub what: String,
    /// Where, as an offset in bytes.
    pub at: usize,
}

/// The parts of a text, each with its offset in bytes.
pub(crate) fn split(text: &str) -> Result<Vec<(usize, TemplatePart)>, TemplateError> {
    let (mut parts, mut at) = (Vec::new(), 0);
    while let Some(length) = text[at..].find('$') {
        if length > 0 {
            parts.push((at, TemplatePart::Text(text[at..at + length].into())));
        }
        at += length;
        let (part, length) =
            variable(&text[at + 1..]).map_err(|what| TemplateError { what: what.into(), at })?;
        parts.push((at, part));
        at += 1 + length;
    }
    if at < text.len() {
        parts.push((at, TemplatePart::Text(text[at..].into())));
    }
    Ok(parts)
}

/// The variable after a `$`, and its length.
fn variable(text: &str) -> Result<(TemplatePart, usize), &'static str> {
    if let Some(digit) = text.bytes().next().filter(|byte| (b'1'..=b'9').contains(byte)) {
        return Ok((TemplatePart::Group(usize::from(digit - b'0')), 1));
    }
    let (name, length) = match text.strip_prefix('{') {
        Some(braced) => {
            let end = braced.find('}').ok_or("the closing brace of a variable is missing")?;
            (&braced[..end], end + 2)
        }
        None => {
            let end = text.find(|c: char| !is_name_character(c)).unwrap_or(text.len());
            (&text[..end], end)
        }
    };
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(is_name_character);
    if is_name {
        Ok((TemplatePart::Name(name.into()), length))
    } else {
        Err("a $ is not followed by the name of a variable")
    }
}

/// Whether a character may be in the name of a variable.
pub(crate) fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A text whose variables are of the type `V`.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledText<V>(Vec<CompiledPart<V>>);

/// A part of a compiled text.
#[derive(Clone, Debug, PartialEq)]
pub enum CompiledPart<V> {
    /// The same for every request.
    Text(String),
    /// A value of the request.
    Variable(V),
}

impl<V> CompiledText<V> {
    pub(crate) fn with_capacity(parts: usize) -> Self {
        Self(Vec::with_capacity(parts))
    }

    /// Compiles a text without groups. `variable` finds the variable of a name.
    pub(crate) fn compile(text: &str, variable: impl Fn(&str) -> Option<V>) -> Result<Self, TemplateError> {
        let mut compiled = Self(Vec::new());
        for (at, part) in split(text)? {
            let name = match part {
                TemplatePart::Text(text) => {
                    compiled.push_text(&text);
                    continue;
                }
                TemplatePart::Group(number) => number.to_string(),
                TemplatePart::Name(name) => name,
            };
            let Some(variable) = variable(&name) else {
                return Err(TemplateError { what: format!("${name} is not a known variable"), at });
            };
            compiled.push(variable);
        }
        Ok(compiled)
    }

    /// Adds a text; joins it with one before.
    pub(crate) fn push_text(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(CompiledPart::Text(last)) => last.push_str(text),
            _ => self.0.push(CompiledPart::Text(text.into())),
        }
    }

    /// Adds a variable.
    pub(crate) fn push(&mut self, variable: V) {
        self.0.push(CompiledPart::Variable(variable));
    }

    /// The parts in order; no two texts follow each other.
    pub fn parts(&self) -> &[CompiledPart<V>] {
        &self.0
    }

    /// The variables in order.
    pub fn variables(&self) -> impl Iterator<Item = &V> {
        self.0.iter().filter_map(|part| match part {
            CompiledPart::Text(_) => None,
            CompiledPart::Variable(variable) => Some(variable),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(text: &str) -> Result<Vec<CompiledPart<char>>, (String, usize)> {
        let variable =
            |name: &str| ["a", "b_1"].contains(&name).then(|| name.chars().next().expect("a letter"));
        let compiled = CompiledText::compile(text, variable);
        compiled.map(|text| text.0).map_err(|error| (error.what, error.at))
    }

    #[test]
    fn variables_and_texts_are_told_apart() {
        let text = |text: &str| CompiledPart::Text(text.into());
        for (written, parts) in [
            ("", vec![]),
            ("x", vec![text("x")]),
            ("$a", vec![CompiledPart::Variable('a')]),
            (
                "<${a}b$b_1>",
                vec![
                    text("<"),
                    CompiledPart::Variable('a'),
                    text("b"),
                    CompiledPart::Variable('b'),
                    text(">"),
                ],
            ),
            ("é$a-", vec![text("é"), CompiledPart::Variable('a'), text("-")]),
        ] {
            assert_eq!(compile(written), Ok(parts), "{written}");
        }
    }

    #[test]
    fn an_error_has_its_position() {
        for (written, what, at) in [
            ("x$", "a $ is not followed by the name of a variable", 1),
            ("$a$-", "a $ is not followed by the name of a variable", 2),
            ("$a ${a", "the closing brace of a variable is missing", 3),
            ("${}", "a $ is not followed by the name of a variable", 0),
            ("${a b}", "a $ is not followed by the name of a variable", 0),
            ("$0", "a $ is not followed by the name of a variable", 0),
            ("ab$1", "$1 is not a known variable", 2),
            ("$a$c", "$c is not a known variable", 2),
        ] {
            assert_eq!(compile(written), Err((what.into(), at)), "{written}");
        }
    }
}
