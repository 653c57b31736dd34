//! `log-format-upstream`: the format of lines, compiled.

use super::variable::{LogVariable, ResponseField, ResponseSide};
use crate::template::{CompiledPart, CompiledText, TemplateError, TemplatePart, split};

/// The format of the lines of the access log.
#[derive(Clone, Debug, PartialEq)]
pub struct LineFormat {
    text: CompiledText<LogVariable>,
    escape: LogEscape,
}

/// How values are written; nginx's parameter `escape`. Numbers and times need no escaping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogEscape {
    /// A quote, a backslash and bytes that are not printable ASCII become `\xXX`; a value that was not found is `-`.
    #[default]
    Default,
    /// `log-format-escape-json`: as in JSON strings; a value that was not found is empty.
    Json,
    /// `log-format-escape-none`: as it is; a value that was not found is empty.
    None,
}

impl LineFormat {
    /// The format of ingress-nginx.
    pub const DEFAULT: &'static str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
        \"$http_referer\" \"$http_user_agent\" $request_length $request_time [$proxy_upstream_name] \
        [$proxy_alternative_upstream_name] $upstream_addr $upstream_response_length $upstream_response_time \
        $upstream_status $req_id";

    /// Compiles a format whose variables are all known. The position of an error counts characters from 1.
    pub fn parse(text: &str, escape: LogEscape) -> Result<Self, TemplateError> {
        let (format, unknown) = Self::compile(text, escape)?;
        unknown.into_iter().next().map_or(Ok(format), Err)
    }

    /// Compiles a format. Its unknown variables, which are returned with their positions, have no value in the lines.
    pub fn compile(text: &str, escape: LogEscape) -> Result<(Self, Vec<TemplateError>), TemplateError> {
        let (text, unknown) = compile(text, |name| LogVariable::parse(name).ok_or(LogVariable::Absent))?;
        Ok((Self { text, escape }, unknown))
    }

    /// Its parts in order.
    pub fn parts(&self) -> &[CompiledPart<LogVariable>] {
        self.text.parts()
    }

    /// How values are written.
    pub fn escape(&self) -> LogEscape {
        self.escape
    }

    /// The fields of a response's head that lines have.
    pub fn response_fields(&self, side: ResponseSide) -> impl Iterator<Item = &ResponseField> {
        self.text.variables().filter_map(move |variable| match variable {
            LogVariable::ResponseField(field) if field.side == side => Some(field),
            _ => None,
        })
    }
}

/// Compiles a format. `parse` returns what stands for an unknown variable as its error. Also returns the unknown variables with their
/// positions.
pub(super) fn compile<V>(
    text: &str,
    parse: impl Fn(&str) -> Result<V, V>,
) -> Result<(CompiledText<V>, Vec<TemplateError>), TemplateError> {
    let (plain, characters) = unquoted(text)?;
    let placed = |error: TemplateError| TemplateError { at: characters[error.at], ..error };
    let known_or_absent = |name: &str| Some(parse(name).unwrap_or_else(|absent| absent));
    let compiled = CompiledText::compile(&plain, known_or_absent).map_err(placed)?;
    let mut unknown = Vec::new();
    for (at, part) in split(&plain).map_err(placed)? {
        let name = match part {
            TemplatePart::Text(_) => continue,
            TemplatePart::Group(number) => number.to_string(),
            TemplatePart::Name(name) => name,
        };
        if parse(&name).is_err() {
            unknown.push(placed(TemplateError { what: format!("${name} is not a known variable"), at }));
        }
    }
    Ok((compiled, unknown))
}

/// The text as nginx reads it: ingress-nginx writes the value between single quotes into the configuration, where a backslash
/// escapes quotes and itself, and `\t`, `\r` and `\n` are control characters. Also the number of the character of each byte.
fn unquoted(text: &str) -> Result<(String, Vec<usize>), TemplateError> {
    let (mut plain, mut characters) = (String::with_capacity(text.len()), Vec::with_capacity(text.len()));
    let mut rest = text.chars().enumerate().peekable();
    while let Some((at, c)) = rest.next() {
        let escaped = match (c, rest.peek()) {
            ('\\', Some((_, next @ ('\\' | '\'' | '"')))) => Some(*next),
            ('\\', Some((_, 't'))) => Some('\t'),
            ('\\', Some((_, 'r'))) => Some('\r'),
            ('\\', Some((_, 'n'))) => Some('\n'),
            ('\'', _) => {
                let what = "a single quote ends the format in nginx; \\' writes one".into();
                return Err(TemplateError { what, at: at + 1 });
            }
            _ => None,
        };
        if escaped.is_some() {
            rest.next();
        }
        let c = escaped.unwrap_or(c);
        plain.push(c);
        characters.extend(std::iter::repeat_n(at + 1, c.len_utf8()));
    }
    Ok((plain, characters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_compiled() {
        let format = LineFormat::parse(LineFormat::DEFAULT, LogEscape::Default).unwrap();
        assert_eq!(format.text.variables().count(), 17);
    }

    #[test]
    fn quotes_and_control_characters_are_read_as_nginx_reads_them() {
        for (written, text) in [
            (r#"{"a": 1}"#, r#"{"a": 1}"#),
            (r#"{\"a\"}"#, r#"{"a"}"#),
            (r"\'x\'", "'x'"),
            (r"a\\n\tb", "a\\n\tb"),
            (r"\x22 \", r"\x22 \"),
            ("two\nlines é", "two\nlines é"),
        ] {
            let format = LineFormat::parse(written, LogEscape::Default).unwrap();
            assert_eq!(format.parts(), [CompiledPart::Text(text.into())], "{written}");
        }
    }

    #[test]
    fn an_error_has_the_character_of_the_written_text() {
        for (written, at) in [
            ("$status $none", 9),
            (r#"\"é\" $none"#, 7),
            ("it's", 3),
            ("${status", 1),
            ("100 $", 5),
            ("$1", 1),
        ] {
            let error = LineFormat::parse(written, LogEscape::Default).unwrap_err();
            assert_eq!(error.at, at, "{written}: {}", error.what);
        }
    }

    #[test]
    fn the_fields_of_responses_are_listed() {
        let text = "$sent_http_etag $upstream_http_x $sent_http_server $http_etag";
        let format = LineFormat::parse(text, LogEscape::None).unwrap();
        let names = |side| format.response_fields(side).map(|field| field.name.as_str()).collect::<Vec<_>>();
        assert_eq!(
            (names(ResponseSide::Sent), names(ResponseSide::Upstream)),
            (vec!["etag", "server"], vec!["x"])
        );
    }
}
