//! One request, as routing and filters use it.

mod identity;
mod request_id;

use std::borrow::Cow;
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster::CompactString;
use ingress_wire::head::Head;
use ingress_wire::known_header::KnownHeader;
use ingress_wire::request::{Method, ParsedRequest};
use ingress_wire::request_head::encoded_target;
use percent_encoding::{CONTROLS, percent_encode};

use self::identity::ClientIdentity;
pub use self::identity::ProxiedConnection;
pub use self::request_id::RequestId;
use crate::client_certificate::ClientCertificate;
use crate::family_values::FamilyValues;
use crate::limits::ConnectionPermit;
use crate::path::{BadPath, encode, normalise};
use crate::pattern::StepBudget;
use crate::trace_context::TraceContext;

/// Scheme of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum RequestScheme {
    Http,
    Https,
}

impl RequestScheme {
    /// The scheme as in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Why a request is answered 400 before routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// The Host is not a host name or address with an optional port.
    BadHost,
    /// The path has no normal form.
    BadPath(BadPath),
}

impl std::fmt::Display for BadRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BadHost => f.write_str("the Host is not a host name"),
            Self::BadPath(bad) => bad.fmt(f),
        }
    }
}

/// A request while its route is found and its filters are applied.
///
/// Hot: building one allocates only for a Host beyond 24 bytes or with capitals, and for a path that is not normal.
#[derive(Debug)]
pub struct Exchange {
    /// The request's head as the client sent it, which has been checked.
    pub request: Box<ParsedRequest>,
    /// The peer of the connection.
    pub peer: SocketAddr,
    /// Scheme of the client's connection.
    pub scheme: RequestScheme,
    /// When it began, since the Unix epoch.
    pub began: Duration,
    /// `X-Request-ID` of the request to the upstream.
    pub request_id: RequestId,
    /// Path and query for the upstream, if a filter rewrote them. Otherwise the request target is passed on byte for
    /// byte, as in nginx.
    pub target: Option<String>,
    /// A snippet has changed the path, and the rule of the new one is to be searched.
    pub new_uri: bool,
    /// A snippet has ended the directives of nginx's rewrite module, to which redirect annotations and `rewrite-target` belong.
    pub rewrite_ended: bool,
    /// The host has a certificate entry, which any `tls` section of its Ingresses gives; set when the route is found.
    pub certificate: bool,
    /// What is known about the certificate of the client, if the host has rules about it (`auth-tls-*`).
    pub client_certificate: Option<Arc<ClientCertificate>>,
    /// The steps that regular expressions may still take.
    pub step_budget: Cell<StepBudget>,
    /// The number of its backend, if the route has several and one was drawn. It decides for all phases.
    pub(crate) drawn_backend: Cell<Option<usize>>,
    /// What annotation families keep of this request from one phase to another.
    pub values: FamilyValues,
    /// What limits on connections count until the request ends.
    pub permits: Vec<ConnectionPermit>,
    /// What others report about the client; see [`Exchange::identify`].
    identity: ClientIdentity,
    authority: CompactString,
    host_len: usize,
    lowered: Option<CompactString>,
    /// The target, if it has bytes that must be encoded before it is a text.
    encoded: Option<Box<str>>,
    normal: Option<Box<str>>,
    /// The query after a rewrite of a snippet; empty for none.
    rewritten_query: Option<Box<str>>,
}

impl Exchange {
    /// Reads host and path of a request. An authority in the request target (absolute form) wins over Host.
    ///
    /// # Errors
    /// When the request must be answered 400. The head is returned for the log.
    pub fn new(
        request: Box<ParsedRequest>,
        peer: SocketAddr,
        scheme: RequestScheme,
    ) -> Result<Self, (BadRequest, Box<ParsedRequest>)> {
        let read = || {
            // HTTP/1.0 may leave it out.
            let authority = std::str::from_utf8(request.authority().unwrap_or_default());
            let authority = authority.ok().filter(|host| host.is_ascii()).ok_or(BadRequest::BadHost)?;
            let host_len = host_len(authority).ok_or(BadRequest::BadHost)?;
            let encoded = encoded_target(request.target());
            let target = encoded.as_deref().unwrap_or_else(|| text(request.target()));
            let normal = match normalise(split_target(target).0) {
                Ok(Cow::Borrowed(_)) => None,
                Ok(Cow::Owned(path)) => Some(path.into()),
                Err(bad) => return Err(BadRequest::BadPath(bad)),
            };
            Ok((CompactString::from(authority), host_len, encoded.map(String::into_boxed_str), normal))
        };
        let (authority, host_len, encoded, normal) = match read() {
            Ok(read) => read,
            Err(bad) => return Err((bad, request)),
        };
        let host = &authority[..host_len];
        let lowered =
            host.bytes().any(|byte| byte.is_ascii_uppercase()).then(|| host.to_ascii_lowercase().into());
        Ok(Self {
            request,
            peer,
            scheme,
            began: Duration::ZERO,
            request_id: RequestId::None,
            target: None,
            new_uri: false,
            rewrite_ended: false,
            certificate: false,
            client_certificate: None,
            step_budget: Cell::default(),
            drawn_backend: Cell::new(None),
            values: FamilyValues::default(),
            permits: Vec::new(),
            identity: ClientIdentity::of(peer),
            authority,
            host_len,
            lowered,
            encoded,
            normal,
            rewritten_query: None,
        })
    }

    /// Host and port as the client sent them (nginx's `$http_host`).
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The requested host: without port and final dot, in lower case.
    pub fn host(&self) -> &str {
        self.lowered.as_deref().unwrap_or(&self.authority[..self.host_len])
    }

    /// The host as the client wrote it, without port and final dot.
    pub fn host_as_sent(&self) -> &str {
        &self.authority[..self.host_len]
    }

    /// The normalised path.
    pub fn path(&self) -> &str {
        self.normal.as_deref().unwrap_or_else(|| split_target(self.request_target()).0)
    }

    /// Path and query as the client sent them (nginx's `$request_uri`); bytes that make no text are percent-encoded.
    pub fn request_target(&self) -> &str {
        self.encoded.as_deref().unwrap_or_else(|| text(self.request.target()))
    }

    /// The context of its span, if it has one.
    pub fn trace_context(&self) -> Option<&TraceContext> {
        self.values.get()
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.request.method()
    }

    /// The method as the client sent it.
    pub fn method_name(&self) -> &str {
        text(self.request.method_name())
    }

    /// The query, without its question mark.
    pub fn query(&self) -> Option<&str> {
        match &self.rewritten_query {
            Some(query) => Some(&**query).filter(|query| !query.is_empty()),
            None => split_target(self.request_target()).1,
        }
    }

    /// Makes the path that snippets have made normal, so that it is found as that of a request is; false if it has no normal form.
    pub(crate) fn normalise_rewritten(&mut self) -> bool {
        let normal = match normalise(&encode(self.path())) {
            Ok(normal) if normal == self.path() => return true,
            Ok(normal) => normal.into_owned(),
            Err(_) => return false,
        };
        let query = self.query().map(str::to_owned);
        self.rewrite_uri(normal, query);
        true
    }

    /// Replaces path and query, as nginx's `rewrite` does: the endpoint gets them, and later directives see them. The path is not
    /// encoded, the query is.
    pub(crate) fn rewrite_uri(&mut self, path: String, query: Option<String>) {
        let encoded = encode(&path);
        self.target = Some(match &query {
            Some(query) => format!("{encoded}?{query}"),
            None => encoded.into_owned(),
        });
        self.normal = Some(path.into());
        self.rewritten_query = Some(query.unwrap_or_default().into());
    }

    /// Value of a request header, the first where there are several, if it is text.
    pub fn header(&self, name: &http::HeaderName) -> Option<&str> {
        let (name, head) = (name.as_str().as_bytes(), self.request.head());
        let value = match KnownHeader::of(name) {
            Some(known) => head.get(known),
            None => head.fields().find(|field| field.is_named(name)).map(|field| field.value),
        };
        visible(value?)
    }

    /// Values of all request headers of a name, in order; `None` for one that is not text.
    pub fn header_values<'a>(&'a self, name: &'a http::HeaderName) -> impl Iterator<Item = Option<&'a str>> {
        self.request.head().get_named(name.as_str().as_bytes()).map(visible)
    }

    /// Values of all request headers of a name as the client sent them, in order.
    pub fn header_bytes<'a>(&'a self, name: &'a http::HeaderName) -> impl Iterator<Item = &'a [u8]> {
        self.request.head().get_named(name.as_str().as_bytes())
    }

    /// The value of a request header as nginx's `$http_name`: several fields are one list (RFC 9110 §5.3), and cookies are joined as
    /// HTTP/2 splits them (RFC 9113 §8.2.3). Bytes that are not visible ASCII are percent-encoded, so that different values stay
    /// different: the value may be a key. Allocates only for several fields or such bytes.
    pub fn joined_header(&self, name: &http::HeaderName) -> Option<Cow<'_, str>> {
        let mut values = self.request.head().get_named(name.as_str().as_bytes());
        let first = readable(values.next()?);
        let separator = if name == http::header::COOKIE { "; " } else { ", " };
        Some(values.fold(first, |mut all, value| {
            let text = all.to_mut();
            text.push_str(separator);
            text.push_str(&readable(value));
            all
        }))
    }

    /// The value of a cookie as nginx's `$cookie_name`, which ignores the case of the name. Bytes are encoded as in
    /// [`Exchange::joined_header`].
    pub(crate) fn cookie_text(&self, name: &str) -> Option<Cow<'_, str>> {
        let found =
            cookie_pairs(self.request.head()).find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| readable(value))
    }

    /// Value of a cookie, the first where there are several.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        cookies(self.request.head()).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The same, ignoring the case of the name.
    pub(crate) fn cookie_ignoring_case(&self, name: &str) -> Option<&str> {
        let found = cookies(self.request.head()).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

/// Names and values of all cookies of a request (RFC 6265 §5.4). HTTP/2 may split them over several headers. A cookie
/// that is not UTF-8 does not hide the others of its header.
fn cookies(head: &Head) -> impl Iterator<Item = (&str, &str)> {
    let utf8 = |text| std::str::from_utf8(text).ok();
    cookie_pairs(head).filter_map(move |(name, value)| Some((utf8(name)?, utf8(value)?)))
}

fn cookie_pairs(head: &Head) -> impl Iterator<Item = (&[u8], &[u8])> {
    let pairs = head.get_all(KnownHeader::Cookie).flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let pair = pair.trim_ascii();
        let equals = memchr::memchr(b'=', pair)?;
        Some((&pair[..equals], &pair[equals + 1..]))
    })
}

/// A value as text, with bytes that are not visible ASCII percent-encoded.
fn readable(value: &[u8]) -> Cow<'_, str> {
    visible(value).map_or_else(|| percent_encode(value, CONTROLS).to_string().into(), Cow::Borrowed)
}

/// A part of a head that can only be ASCII.
fn text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap_or_default()
}

/// A header value, if it is visible ASCII and white space.
fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = |byte: &u8| matches!(*byte, b' '..=b'~' | b'\t');
    value.iter().all(is_visible).then(|| text(value))
}

/// Path and query of a target.
fn split_target(target: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'?', target.as_bytes()) {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}

/// Length of the host name within `host:port`, without a final dot; `None` where there is no such name.
fn host_len(authority: &str) -> Option<usize> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        memchr::memchr(b':', authority.as_bytes()).unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(end);
    let port = port.strip_prefix(':').unwrap_or(port);
    let is_valid =
        host.bytes().all(|byte| byte > b' ' && !matches!(byte, b'/' | b'\\' | b'@' | b'?' | b'#' | 127..))
            && port.bytes().all(|byte| byte.is_ascii_digit());
    is_valid.then_some(host.strip_suffix('.').unwrap_or(host).len())
}

#[cfg(test)]
pub(crate) mod tests {
    use bytes::BytesMut;
    use ingress_wire::request_head::HeadLimits;

    use super::*;

    /// A head over HTTP/1.1, or over HTTP/1.0 if the host is empty.
    pub(crate) fn parsed(method: &str, target: &str, headers: &[(&str, &[u8])]) -> Box<ParsedRequest> {
        let without_host = headers.contains(&("host", b""));
        let version = if without_host { "HTTP/1.0" } else { "HTTP/1.1" };
        let mut text = format!("{method} {target} {version}\r\n").into_bytes();
        for (name, value) in headers.iter().filter(|(name, _)| !without_host || *name != "host") {
            text.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        text.extend_from_slice(b"\r\n");
        let mut request = Box::<ParsedRequest>::default();
        let parsed = request.parse(&mut BytesMut::from(&text[..]), &HeadLimits::default());
        assert_eq!(parsed, Ok(true), "{target}");
        request
    }

    /// A GET of `http://shop.example/` with headers that are bytes.
    pub(crate) fn with_bytes(headers: &[(&str, &[u8])]) -> Exchange {
        let all: Vec<_> =
            [("host", &b"shop.example"[..])].into_iter().chain(headers.iter().copied()).collect();
        Exchange::new(parsed("GET", "/", &all), SocketAddr::from(([192, 0, 2, 7], 4711)), RequestScheme::Http)
            .expect("a request")
    }

    /// A GET of a URL over HTTP/1.1, with headers.
    pub(crate) fn get(url: &str, headers: &[(&str, &str)]) -> Exchange {
        request("GET", url, headers)
    }

    /// The same, with another method.
    pub(crate) fn request(method: &str, url: &str, headers: &[(&str, &str)]) -> Exchange {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let target = match &rest[at..] {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            target => target.to_owned(),
        };
        let mut all = vec![("host", &rest.as_bytes()[..at])];
        all.extend(headers.iter().map(|(name, value)| (*name, value.as_bytes())));
        let scheme = if scheme == "https" { RequestScheme::Https } else { RequestScheme::Http };
        Exchange::new(parsed(method, &target, &all), SocketAddr::from(([192, 0, 2, 7], 4711)), scheme)
            .expect(url)
    }

    fn new(target: &str, host: &str) -> Result<Exchange, BadRequest> {
        let request = parsed("GET", target, &[("host", host.as_bytes())]);
        let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
        Exchange::new(request, peer, RequestScheme::Http).map_err(|(bad, _)| bad)
    }

    #[test]
    fn hosts_are_read_as_nginx_reads_them() {
        for (target, sent, host) in [
            ("/", "shop.example", Ok("shop.example")),
            ("/", "Shop.Example.:8080", Ok("shop.example")),
            ("/", "[fd00::1]:8080", Ok("[fd00::1]")),
            ("http://Other.example:80/", "other.example:80", Ok("other.example")),
            ("/", "a:b", Err(BadRequest::BadHost)),
            ("/", "\u{e9}", Err(BadRequest::BadHost)),
            ("/../x", "a", Err(BadRequest::BadPath(BadPath::AboveRoot))),
        ] {
            let read = new(target, sent);
            assert_eq!(read.as_ref().map(Exchange::host).map_err(|bad| *bad), host, "{target} {sent}");
        }
        assert_eq!(new("/", "").unwrap().host(), "", "HTTP/1.0");
    }

    #[test]
    fn bytes_that_make_no_text_are_encoded_in_the_target() {
        let exchange = new("/a<\u{e9}?b=`", "a").unwrap();
        assert_eq!(exchange.request_target(), "/a%3C%C3%A9?b=%60");
        assert_eq!((exchange.path(), exchange.query()), ("/a<\u{e9}", Some("b=%60")));
        assert_eq!(exchange.request.target(), "/a<\u{e9}?b=`".as_bytes());
    }

    #[test]
    fn cookies_are_found_in_every_header() {
        let exchange = get("a.example/", &[("cookie", "a=1; b=2"), ("cookie", "c=x=y")]);
        for (name, value) in [("a", Some("1")), ("b", Some("2")), ("c", Some("x=y")), ("d", None)] {
            assert_eq!(exchange.cookie(name), value, "{name}");
        }
    }

    #[test]
    fn a_cookie_that_is_not_ascii_does_not_hide_others() {
        let cookies = &b"name=Jos\xc3\xa9; old=\xe9; route=k|b"[..];
        let request = parsed("GET", "/", &[("host", b"a"), ("cookie", cookies)]);
        let peer = SocketAddr::from(([192, 0, 2, 7], 4711));
        let exchange = Exchange::new(request, peer, RequestScheme::Http).unwrap();
        for (name, value) in [("name", Some("Jos\u{e9}")), ("old", None), ("route", Some("k|b"))] {
            assert_eq!(exchange.cookie(name), value, "{name}");
        }
    }
}
