//! The header fields of a subrequest that are made from those of a client's request.

use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};
use ingress_wire::head::{HeaderField, NameClass};
use ingress_wire::known_header::KnownHeader;

use crate::exchange::Exchange;

/// The client's fields with names that are passed on, apart from those of the connection, the body and the admin side.
pub(super) fn of_client(exchange: &Exchange, names: NameClass) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(32);
    let mut cookies = Vec::new();
    for field in exchange.request.head().fields() {
        let HeaderField { known, class, name, value } = field;
        if class > names || is_of_connection(name) {
            continue;
        }
        if known == Some(KnownHeader::Cookie) {
            // HTTP/2 clients may send several; HTTP/1.1 requires one (RFC 9113 §8.2.3).
            if !cookies.is_empty() {
                cookies.extend_from_slice(b"; ");
            }
            cookies.extend_from_slice(value);
        } else if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    set(&mut headers, COOKIE, &cookies);
    if let Some(context) = exchange.trace_context() {
        for (name, value) in context.fields() {
            set(&mut headers, name.clone(), value.as_bytes());
        }
    }
    headers
}

/// Replaces all fields of a name; an empty value removes them.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &[u8]) {
    match HeaderValue::from_bytes(value) {
        Ok(value) if !value.is_empty() => {
            headers.insert(name, value);
        }
        _ => {
            headers.remove(name);
        }
    }
}

/// The fields as a list, `Host` first.
pub(super) fn list(headers: HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = Vec::with_capacity(headers.len());
    let mut last = None;
    for (name, value) in headers {
        // A field without a name has that of the one before.
        last = name.or(last);
        if let Some(name) = &last {
            fields.push((name.clone(), value));
        }
    }
    fields.sort_by_key(|(name, _)| *name != HOST);
    fields
}

fn is_of_connection(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 13] = [
        // A secret of the admin side.
        KnownHeader::XPortolanFollow.name().as_bytes(),
        b"host",
        b"connection",
        b"content-length",
        b"transfer-encoding",
        b"te",
        b"trailer",
        b"keep-alive",
        b"expect",
        b"upgrade",
        b"proxy",
        b"proxy-connection",
        b"http2-settings",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}
