//! Texts with variables: those of requests, of routes, those that `set` sets, and groups of regular expressions.

use std::borrow::Cow;
use std::sync::Arc;

use super::known_names::KnownNames;
use super::state::SnippetState;
use crate::exchange::Exchange;
use crate::path::{encode, encode_unsafe};
use crate::template::{TemplatePart, split};
use crate::variables::RequestVariable;

/// The longest value of a text with variables in bytes. `set` could otherwise double a value with each directive.
pub(crate) const MAX_VALUE: usize = 64 << 10;

/// A value is longer than [`MAX_VALUE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// The values of variables that are the same for all requests of a route.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct RouteNames {
    pub server_name: String,
    pub location_path: String,
    pub namespace: String,
    pub ingress_name: String,
    pub service_name: String,
    pub service_port: String,
}

/// A variable of [`RouteNames`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum RouteVariable {
    ServerName,
    LocationPath,
    Namespace,
    IngressName,
    ServiceName,
    ServicePort,
}

impl RouteVariable {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "server_name" => Self::ServerName,
            "location_path" => Self::LocationPath,
            "namespace" => Self::Namespace,
            "ingress_name" => Self::IngressName,
            "service_name" => Self::ServiceName,
            "service_port" => Self::ServicePort,
            _ => return None,
        })
    }

    fn value(self, names: &RouteNames) -> &str {
        match self {
            Self::ServerName => &names.server_name,
            Self::LocationPath => &names.location_path,
            Self::Namespace => &names.namespace,
            Self::IngressName => &names.ingress_name,
            Self::ServiceName => &names.service_name,
            Self::ServicePort => &names.service_port,
        }
    }
}

/// Whether nginx or ingress-nginx has a variable of this name that a snippet may read. `set` cannot change it.
pub(crate) fn is_variable(name: &str) -> bool {
    RouteVariable::parse(name).is_some() || RequestVariable::parse(name).is_some()
}

/// Variables of ingress-nginx that its locations set and that Portolan does not read: with a snippet they would choose another upstream
/// or other headers.
const SET_BY_CONTROLLER: &[&str] = &[
    "proxy_upstream_name",
    "proxy_host",
    "proxy_alternative_upstream_name",
    "balancer_ewma_score",
    "best_http_host",
    "pass_access_scheme",
    "pass_server_port",
    "pass_port",
];

/// The shared name of a variable that a directive sets, written with its dollar sign.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn variable_name(text: &str, known: &KnownNames) -> Result<Arc<str>, String> {
    let name = text.strip_prefix('$').ok_or_else(|| format!("{text:?} should begin with a dollar sign"))?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(is_name) || name.as_bytes()[0].is_ascii_digit() {
        return Err(format!("${name} is not the name of a variable"));
    }
    if is_variable(name) || SET_BY_CONTROLLER.contains(&name) {
        return Err(format!("${name} cannot be changed"));
    }
    known.get(name).ok_or_else(|| "is not known".to_owned())
}

/// What variables are taken from.
#[derive(Clone, Copy, Debug)]
pub struct TextValues<'v> {
    /// The request.
    pub exchange: &'v Exchange,
    /// Of its route.
    pub names: &'v RouteNames,
    /// What snippets have set so far.
    pub state: &'v SnippetState,
}

/// A text with variables.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SnippetText(Vec<TextPart>);

#[derive(Clone, Debug, PartialEq)]
enum TextPart {
    Text(String),
    Group(usize),
    /// Of `set`, or a named group.
    Set(Arc<str>),
    Route(RouteVariable),
    Request(RequestVariable),
}

/// How the values of variables are written.
#[derive(Clone, Copy, PartialEq)]
enum Escape {
    None,
    /// What could end a header is percent-encoded.
    Header,
    /// What cannot be in a query is percent-encoded.
    Query,
    /// The same in the replacement of a rewrite, in which nginx encodes groups as parts of a query.
    Url,
}

impl SnippetText {
    /// Reads a text. The error says what is wrong.
    pub(crate) fn parse(text: &str, known: &KnownNames) -> Result<Self, String> {
        let parts = split(text).map_err(|error| error.what)?;
        let part = |part| {
            Ok(match part {
                TemplatePart::Text(text) => TextPart::Text(text),
                TemplatePart::Group(number) if known.has_pattern => TextPart::Group(number),
                TemplatePart::Group(number) => {
                    return Err(format!("${number} needs a regular expression of this snippet before it"));
                }
                TemplatePart::Name(name) => Self::variable(&name, known)?,
            })
        };
        Ok(Self(parts.into_iter().map(|(_, it)| part(it)).collect::<Result<_, String>>()?))
    }

    fn variable(name: &str, known: &KnownNames) -> Result<TextPart, String> {
        if let Some(variable) = RouteVariable::parse(name) {
            return Ok(TextPart::Route(variable));
        }
        match RequestVariable::parse(name) {
            Some(RequestVariable::Geo(variable)) if !known.geo.has(variable) => {
                return Err(known.geo.missing(variable));
            }
            Some(variable) => return Ok(TextPart::Request(variable)),
            None => {}
        }
        known.get(name).map(TextPart::Set).ok_or_else(|| format!("${name} is not a known variable"))
    }

    /// Whether the text has no variables and no characters.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is a single variable.
    pub(crate) fn is_variable(&self) -> bool {
        matches!(self.0.as_slice(), [part] if !matches!(part, TextPart::Text(_)))
    }

    /// The parts of the text that are the same for all requests.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            TextPart::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The value with variables as they are.
    pub(crate) fn plain(&self, values: &TextValues<'_>) -> Result<Cow<'_, str>, TooLong> {
        self.fill(values, Escape::None)
    }

    /// The value for the query of the request.
    pub(crate) fn query(&self, values: &TextValues<'_>) -> Result<Cow<'_, str>, TooLong> {
        self.fill(values, Escape::Query)
    }

    /// The value for the replacement of a rewrite: for a URL that the client gets, or for a query.
    pub(crate) fn url(&self, values: &TextValues<'_>) -> Result<Cow<'_, str>, TooLong> {
        self.fill(values, Escape::Url)
    }

    /// The value for a header; empty if it is too long. Hot: a text without variables is borrowed.
    pub(crate) fn header(&self, values: &TextValues<'_>) -> Cow<'_, [u8]> {
        match self.fill(values, Escape::Header) {
            Ok(Cow::Borrowed(value)) => Cow::Borrowed(value.as_bytes()),
            Ok(Cow::Owned(value)) => Cow::Owned(value.into_bytes()),
            Err(TooLong) => Cow::Borrowed(b""),
        }
    }

    fn fill(&self, values: &TextValues<'_>, escape: Escape) -> Result<Cow<'_, str>, TooLong> {
        if let [TextPart::Text(text)] = self.0.as_slice() {
            return Ok(Cow::Borrowed(text));
        }
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                TextPart::Text(text) => filled.push_str(text),
                TextPart::Group(number) if escape == Escape::Url => {
                    filled.push_str(&values.exchange.encoded_part(values.state.group(*number)));
                }
                TextPart::Group(number) => push(&mut filled, values.state.group(*number), escape, true),
                TextPart::Set(name) => push(&mut filled, values.state.variable(name), escape, false),
                TextPart::Route(variable) => push(&mut filled, variable.value(values.names), escape, false),
                TextPart::Request(variable) => {
                    push(&mut filled, &variable.value(values.exchange), escape, false);
                }
            }
            if filled.len() > MAX_VALUE {
                return Err(TooLong);
            }
        }
        Ok(Cow::Owned(filled))
    }
}

fn push(filled: &mut String, value: &str, escape: Escape, is_group: bool) {
    match escape {
        Escape::None => filled.push_str(value),
        // Groups are parts of the decoded path.
        Escape::Query | Escape::Url if is_group => filled.push_str(&encode(value)),
        Escape::Query | Escape::Url => filled.push_str(&encode_unsafe(value)),
        Escape::Header => {
            for c in value.chars() {
                if c.is_control() || !c.is_ascii() {
                    filled.push_str(&encode(c.encode_utf8(&mut [0; 4])));
                } else {
                    filled.push(c);
                }
            }
        }
    }
}
