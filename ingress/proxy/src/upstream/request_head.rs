//! The head of the request to an endpoint, with ingress-nginx's `X-Forwarded-*`, `X-Real-IP` and `X-Request-ID` fields.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, Method};
use ingress_routes::plan::head_edits::HeadEdits;
use ingress_routes::plan::head_options::FieldNames;
use ingress_wire::request_head::RequestHead;

use crate::observe::format::number;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// How the body is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyLength {
    /// There is none.
    None,
    Known(u64),
    Chunked,
}

/// The parts of the head other than the client's header fields.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UpstreamHead<'a> {
    pub(crate) method: &'a Method,
    /// Path and query, as the client sent them or as a filter has rewritten them.
    pub(crate) target: &'a [u8],
    /// `Host`.
    pub(crate) host: &'a [u8],
    /// The client's host and port, for `X-Forwarded-Host`.
    pub(crate) authority: &'a [u8],
    /// `X-Request-ID`.
    pub(crate) request_id: &'a [u8],
    /// The client's address as text.
    pub(crate) client: &'a str,
    pub(crate) port: u16,
    pub(crate) scheme: &'static str,
    pub(crate) body: BodyLength,
    /// The id in `CDN-Loop` (RFC 8586), for endpoints that may send the request back.
    pub(crate) loop_id: Option<&'a [u8]>,
    /// The names of the client's fields that are passed on.
    pub(crate) names: FieldNames,
    /// The client asks to switch protocols (RFC 9110 §7.8).
    pub(crate) upgrade: Option<&'a [u8]>,
    /// `proxy-http-version: 1.0`.
    pub(crate) is_http10: bool,
}

/// The client's header fields.
pub(crate) enum ClientHeaders<'a> {
    /// As received: order, letter case and duplicates are kept.
    Raw(&'a RequestHead),
    /// As parsed, for HTTP/2.
    Map,
}

impl UpstreamHead<'_> {
    /// Writes the head. Hot: no allocation once the buffer has grown.
    ///
    /// Headers whose value would be empty are left out, as nginx does.
    ///
    /// `given` are the client's parsed fields. `edits` are the changes of filters: they apply to the client's fields and to those
    /// written here.
    pub(crate) fn write(
        &self,
        client: &ClientHeaders<'_>,
        given: &HeaderMap,
        edits: &HeadEdits<'_>,
        out: &mut BytesMut,
    ) {
        out.reserve(1024);
        let host = edits.value(b"host").unwrap_or(self.host);
        let version: &[u8] = if self.is_http10 { b" HTTP/1.0\r\nHost: " } else { b" HTTP/1.1\r\nHost: " };
        put(out, &[self.method.as_str().as_bytes(), b" ", self.target, version, host, b"\r\n"]);
        let field = |out: &mut BytesMut, name: &str, value: &[u8]| {
            if edits.is_empty() || !edits.replace(name.as_bytes()) {
                put(out, &[name.as_bytes(), b": ", value, b"\r\n"]);
            }
        };
        if let Some(protocol) = self.upgrade {
            field(out, "Upgrade", protocol);
            field(out, "Connection", b"upgrade");
        }
        if !self.request_id.is_empty() {
            field(out, "X-Request-ID", self.request_id);
        }
        field(out, "X-Real-IP", self.client.as_bytes());
        field(out, "X-Forwarded-For", self.client.as_bytes());
        field(out, "X-Forwarded-Host", self.authority);
        field(out, "X-Forwarded-Port", itoa::Buffer::new().format(self.port).as_bytes());
        let scheme = self.scheme.as_bytes();
        for name in ["X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Scheme"] {
            field(out, name, scheme);
        }
        for (from, name) in
            [(&X_FORWARDED_FOR, "X-Original-Forwarded-For"), (&X_FORWARDED_HOST, "X-Original-Forwarded-Host")]
        {
            if edits.replace(name.as_bytes()) {
                continue;
            }
            // Several fields are one list (RFC 9110 §5.3), and the client's address may be in any of them.
            let mut values = given.get_all(from).iter().filter(|value| !value.is_empty());
            let Some(first) = values.next() else { continue };
            put(out, &[name.as_bytes(), b": ", first.as_bytes()]);
            for value in values {
                put(out, &[b", ", value.as_bytes()]);
            }
            out.put_slice(b"\r\n");
        }
        match self.body {
            BodyLength::None => {}
            BodyLength::Known(length) => {
                out.put_slice(b"Content-Length: ");
                number(out, length);
                out.put_slice(b"\r\n");
            }
            BodyLength::Chunked => out.put_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        let options = ConnectionOptions::of(given);
        let is_forwarded = |name: &[u8]| {
            passes(name, self.names) && !options.has(name) && (edits.is_empty() || !edits.replace(name))
        };
        match client {
            ClientHeaders::Raw(head) => {
                for (name, line) in head.lines() {
                    if is_forwarded(name) {
                        out.put_slice(line);
                    }
                }
            }
            ClientHeaders::Map => {
                for (name, value) in given.iter().filter(|(name, _)| **name != COOKIE) {
                    let name = name.as_str().as_bytes();
                    if is_forwarded(name) {
                        put(out, &[name, b": ", value.as_bytes(), b"\r\n"]);
                    }
                }
                if !edits.replace(COOKIE.as_str().as_bytes()) {
                    cookies(given, out);
                }
            }
        }
        for (name, value) in edits.added().filter(|(name, _)| may_be_added(name)) {
            put(out, &[name.as_bytes(), b": ", value, b"\r\n"]);
        }
        if let Some(id) = self.loop_id {
            put(out, &[b"CDN-Loop: ", id, b"\r\n"]);
        }
        if wants_trailers(given) {
            out.put_slice(b"TE: trailers\r\n");
        }
        out.put_slice(b"\r\n");
    }
}

/// Whether filters may add a field of this name here: `Host` has been written, and the framing of the body is not theirs.
fn may_be_added(name: &str) -> bool {
    let own: &[&str] = match name.len() {
        4 => &["host"],
        14 => &["content-length"],
        17 => &["transfer-encoding"],
        _ => return true,
    };
    !own.iter().any(|own| name.eq_ignore_ascii_case(own))
}

/// HTTP/2 clients may send cookies in several fields; HTTP/1.1 requires one (RFC 9113 §8.2.3).
fn cookies(headers: &HeaderMap, out: &mut BytesMut) {
    for (at, value) in headers.get_all(COOKIE).iter().enumerate() {
        put(out, &[if at == 0 { b"cookie: " } else { b"; " }, value.as_bytes()]);
    }
    if headers.contains_key(COOKIE) {
        out.put_slice(b"\r\n");
    }
}

/// gRPC requires `TE: trailers`; all other values of `TE` concern this hop only.
fn wants_trailers(headers: &HeaderMap) -> bool {
    headers.get(http::header::TE).is_some_and(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

/// The fields that `Connection` lists (RFC 9110 §7.6.1). Almost always none.
struct ConnectionOptions<'a>(Option<&'a HeaderMap>);

impl<'a> ConnectionOptions<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let plain = |value: &[u8]| {
            value.eq_ignore_ascii_case(b"keep-alive")
                || value.eq_ignore_ascii_case(b"close")
                || value.is_empty()
        };
        let named = headers.get_all(http::header::CONNECTION).iter().any(|value| !plain(value.as_bytes()));
        Self(named.then_some(headers))
    }

    fn has(&self, name: &[u8]) -> bool {
        let Some(headers) = self.0 else { return false };
        let values = headers.get_all(http::header::CONNECTION);
        let mut tokens = values.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(name))
    }
}

/// Whether a client's field is forwarded: not if it concerns this hop only, is written by the proxy itself, or has a name
/// that nginx drops (by default, those with underscores and punctuation other than hyphens). The same applies to trailers,
/// because some servers merge them into the header (RFC 9110 §6.5.1).
pub(crate) fn passes(name: &[u8], names: FieldNames) -> bool {
    if !names.contain(name) {
        return false;
    }
    let own: &[&[u8]] = match name.len() {
        2 => &[b"te"],
        4 => &[b"host"],
        5 => &[b"proxy"],
        6 => &[b"expect"],
        7 => &[b"upgrade"],
        8 => &[b"x-scheme"],
        9 => &[b"x-real-ip"],
        10 => &[b"connection", b"keep-alive"],
        12 => &[b"x-request-id"],
        14 => &[b"content-length"],
        15 => &[b"x-forwarded-for"],
        16 => &[b"x-forwarded-host", b"x-forwarded-port", b"proxy-connection"],
        17 => &[b"transfer-encoding", b"x-forwarded-proto"],
        18 => &[b"x-forwarded-scheme"],
        24 => &[b"x-original-forwarded-for"],
        25 => &[b"x-original-forwarded-host"],
        _ => return true,
    };
    !own.iter().any(|own| name.eq_ignore_ascii_case(own))
}

fn put(out: &mut BytesMut, parts: &[&[u8]]) {
    for part in parts {
        out.put_slice(part);
    }
}

/// The protocol that a client asks to switch to, unless it is h2c: RFC 9113 has removed h2c, and further requests on such a
/// connection would bypass the routes.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<&[u8]> {
    let protocol = headers.get(http::header::UPGRADE)?.as_bytes();
    let mut names = protocol.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    (!protocol.is_empty() && !names.any(|name| name.to_ascii_lowercase().starts_with(b"h2")))
        .then_some(protocol)
}

/// Takes the head out of the buffer. The buffer reuses the memory once the head has been sent.
pub(crate) fn take(buffer: &mut BytesMut) -> Bytes {
    buffer.split().freeze()
}

#[cfg(test)]
mod tests;
