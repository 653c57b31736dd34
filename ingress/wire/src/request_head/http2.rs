//! The checks of a request head that came over HTTP/2.

use http::{HeaderValue, Method};

use super::byte_classes::{valid_host, valid_method};
use super::{HeadError, HeadLimits};

/// Checks an HTTP/2 head as strictly as an HTTP/1 head. h2 has already checked the rules of HTTP/2 itself (pseudo-header
/// fields, connection-specific fields; RFC 9113 §8.2, §8.3).
pub fn check_h2(parts: &http::request::Parts) -> Result<(), HeadError> {
    check_h2_within(parts, &HeadLimits::default())
}

/// The same with other limits.
pub fn check_h2_within(parts: &http::request::Parts, limits: &HeadLimits) -> Result<(), HeadError> {
    if !valid_method(parts.method.as_str().as_bytes()) {
        return Err(HeadError::Malformed);
    }
    if matches!(parts.method, Method::CONNECT | Method::TRACE) {
        return Err(HeadError::Method);
    }
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let mut hosts = parts.headers.get_all(http::header::HOST).iter().map(HeaderValue::as_bytes);
    let host = hosts.next();
    let host = match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(HeadError::Malformed);
        }
        (authority, host) => authority.or(host).ok_or(HeadError::Malformed)?,
    };
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    if hosts.next().is_some() || !valid_host(host) || !target.starts_with('/') {
        return Err(HeadError::Malformed);
    }
    if target.len() > limits.line {
        return Err(HeadError::UriTooLong);
    }
    // A target with an authority has a scheme, unless `:scheme` is empty, which RFC 9113 §8.3.1 forbids.
    if parts.uri.authority().is_some() && parts.uri.scheme_str().is_none_or(str::is_empty) {
        return Err(HeadError::Malformed);
    }
    // Limits bytes, not fields: a client may send each cookie in a field of its own (RFC 9113 §8.2.3).
    let mut total = target.len();
    for (name, value) in &parts.headers {
        let length = name.as_str().len() + value.len();
        total += length;
        if length > limits.line || total > limits.head {
            return Err(HeadError::HeaderTooLarge);
        }
    }
    Ok(())
}
