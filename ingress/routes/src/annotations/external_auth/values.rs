//! Single values: URLs, methods, names.

use http::{HeaderName, Method};

use crate::annotations::template::Template;
use crate::external_name::{ExternalNameError, ExternalTarget};

/// A description of the address, if an annotation must not name it: the proxy's own ports, other programs of its machine and the metadata
/// service of a cloud are not for those who write Ingresses. Addresses that a name resolves to are checked for each request.
pub(super) fn refused_host(url: &str) -> Option<&'static str> {
    let authority = url.split("//").nth(1)?.split(['/', '?']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => authority.split(':').next()?,
    };
    match ExternalTarget::parse(host) {
        Err(ExternalNameError::RefusedAddress(kind)) => Some(kind),
        _ => None,
    }
}

/// Whether a text can be a URL: visible ASCII without quotes, brackets of markup and backslashes.
fn is_url_text(text: &str) -> bool {
    text.bytes().all(|byte| {
        byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'\\' | b'`' | b';')
    })
}

/// Groups of regular expressions, `$1` to `$9`.
fn group_at(text: &str) -> Option<usize> {
    text.as_bytes().windows(2).position(|pair| pair[0] == b'$' && (b'1'..=b'9').contains(&pair[1]))
}

/// Whether a URL has groups of regular expressions.
pub(super) fn has_groups(text: &str) -> bool {
    group_at(text).is_some()
}

/// A URL with variables, apart from its fragment. Groups of regular expressions are empty: nginx does not pass them to subrequests.
pub(super) fn url(text: &str) -> Option<Template> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let is_host = !host.is_empty() && !host.starts_with(':') && !host.contains("..") && !host.contains('@');
    if !is_host || !is_url_text(text) || text.contains('#') {
        return None;
    }
    let mut text = text.to_owned();
    while let Some(at) = group_at(&text) {
        text.replace_range(at..at + 2, "");
    }
    Template::parse(&text, None)
}

/// A method that nginx knows.
pub(super) fn method(text: &str) -> Option<Method> {
    const METHODS: [Method; 8] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
    ];
    METHODS.into_iter().find(|method| method.as_str() == text)
}

/// Names of header fields between commas, and the items that are none.
pub(super) fn header_names(text: &str) -> (Vec<String>, Vec<&str>) {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let (valid, invalid): (Vec<_>, Vec<_>) = names.partition(|name| HeaderName::try_from(*name).is_ok());
    (valid.into_iter().map(str::to_owned).collect(), invalid)
}

/// The name of a query parameter.
pub(super) fn param(text: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().all(is_plain).then_some(text)
}

/// The URL of the page to sign in. The requested URL is added as a parameter, unless there is one of this name.
pub(super) fn sign_in(text: &str, param: &str) -> Option<Template> {
    if !is_url_text(text) {
        return None;
    }
    let query = text.split_once('?').map_or("", |(_, query)| query.split('#').next().unwrap_or_default());
    let is_param =
        |pair: &str| pair.split_once('=').is_some_and(|(name, value)| name == param && !value.is_empty());
    if query.split('&').any(is_param) {
        return Template::parse(text, None);
    }
    let separator = if query.is_empty() { '?' } else { '&' };
    let text = text.strip_suffix('?').unwrap_or(text);
    let original = "$pass_access_scheme://$http_host$escaped_request_uri";
    Template::parse(&format!("{text}{separator}{param}={original}"), None)
}
