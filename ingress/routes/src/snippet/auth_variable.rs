//! `auth_request_set`: variables with values of the authentication server's response.

use std::sync::Arc;

use http::HeaderName;
use http::header::SET_COOKIE;

use super::known_names::KnownNames;
use super::state::SnippetState;
use super::text::{MAX_VALUE, RouteNames, SnippetText, TextValues};
use crate::exchange::Exchange;
use crate::plan::subrequest::SubrequestResponse;
use crate::template::{TemplatePart, split};

/// A variable that gets its value when the server has answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AuthVariable {
    name: Arc<str>,
    value: Vec<AuthPart>,
}

/// A part of the value.
#[derive(Clone, Debug, PartialEq)]
enum AuthPart {
    /// `$upstream_status`.
    Status,
    /// `$upstream_http_name`: several fields are one list.
    Field(HeaderName),
    /// `$upstream_cookie_name`.
    Cookie(String),
    /// A text without variables, or a variable of the client's request.
    Text(SnippetText),
}

impl AuthVariable {
    /// Reads a value. The error says what is wrong.
    pub(crate) fn parse(name: Arc<str>, value: &str, known: &KnownNames) -> Result<Self, String> {
        let parts = split(value).map_err(|error| error.what)?;
        let part = |part| {
            Ok(match part {
                TemplatePart::Name(name) => match response_part(&name) {
                    Some(part) => part,
                    None => AuthPart::Text(SnippetText::parse(&format!("${{{name}}}"), known)?),
                },
                TemplatePart::Group(number) => {
                    AuthPart::Text(SnippetText::parse(&format!("${number}"), known)?)
                }
                TemplatePart::Text(text) => AuthPart::Text(SnippetText::parse(&text, known)?),
            })
        };
        let value = parts.into_iter().map(|(_, it)| part(it)).collect::<Result<_, String>>()?;
        Ok(Self { name, value })
    }

    /// Sets the variables of a request in their order. A value that is too long is empty.
    pub(crate) fn set_all(
        variables: &[Self],
        exchange: &mut Exchange,
        names: &RouteNames,
        response: &SubrequestResponse,
    ) {
        if variables.is_empty() {
            return;
        }
        let mut state = exchange.values.take::<SnippetState>().unwrap_or_default();
        for Self { name, value } in variables {
            let values = TextValues { exchange, names, state: &state };
            let mut text = String::new();
            for part in value {
                match part {
                    AuthPart::Status => text.push_str(response.status.as_str()),
                    AuthPart::Field(name) => push_field(&mut text, response, name),
                    AuthPart::Cookie(name) => text.push_str(&cookie(response, name)),
                    AuthPart::Text(part) => text.push_str(&part.plain(&values).unwrap_or_default()),
                }
            }
            if text.len() > MAX_VALUE {
                text.clear();
            }
            state.set(name, text);
        }
        exchange.values.set(state);
    }
}

fn response_part(name: &str) -> Option<AuthPart> {
    if name == "upstream_status" {
        return Some(AuthPart::Status);
    }
    if let Some(cookie) = name.strip_prefix("upstream_cookie_").filter(|cookie| !cookie.is_empty()) {
        return Some(AuthPart::Cookie(cookie.to_owned()));
    }
    let field = name.strip_prefix("upstream_http_")?;
    HeaderName::try_from(field.replace('_', "-")).ok().map(AuthPart::Field)
}

fn push_field(text: &mut String, response: &SubrequestResponse, name: &HeaderName) {
    for (at, value) in response.headers.get_all(name).iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        text.push_str(&String::from_utf8_lossy(value.as_bytes()));
    }
}

/// The value of a cookie that the response sets.
fn cookie(response: &SubrequestResponse, name: &str) -> String {
    let cookies = response.headers.get_all(SET_COOKIE).iter();
    let mut values = cookies.filter_map(|cookie| {
        let cookie = String::from_utf8_lossy(cookie.as_bytes());
        let (found, rest) = cookie.split_once('=')?;
        let is_it = found.trim().eq_ignore_ascii_case(name);
        is_it.then(|| rest.split(';').next().unwrap_or_default().trim().to_owned())
    });
    values.next().unwrap_or_default()
}
