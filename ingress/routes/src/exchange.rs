//! One request, as routing and filters use it.

use std::cell::Cell;
use std::net::{IpAddr, SocketAddr};

use cluster::CompactString;
use http::header::{COOKIE, HOST};
use http::request::Parts;

use crate::path::{BadPath, normalise};
use crate::pattern::StepBudget;

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
    /// No Host (RFC 9112 §3.2); HTTP/1.0 may leave it out.
    NoHost,
    /// More than one Host (RFC 9112 §3.2).
    ManyHosts,
    /// The Host is not a host name or address with an optional port.
    BadHost,
    /// The path has no normal form.
    BadPath(BadPath),
}

impl std::fmt::Display for BadRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoHost => f.write_str("the request has no Host"),
            Self::ManyHosts => f.write_str("the request has more than one Host"),
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
    /// The request's head as the client sent it.
    pub request: Parts,
    /// The client.
    pub peer: SocketAddr,
    /// Scheme of the client's connection.
    pub scheme: RequestScheme,
    /// Path and query for the upstream, if a filter rewrote them. Otherwise the request target is passed on byte for
    /// byte, as in nginx.
    pub target: Option<String>,
    /// The host has a certificate entry, which any `tls` section of its Ingresses gives; set when the route is found.
    pub certificate: bool,
    /// The steps that regular expressions may still take.
    pub step_budget: Cell<StepBudget>,
    authority: CompactString,
    host_len: usize,
    lowered: Option<CompactString>,
    normal: Option<Box<str>>,
}

impl Exchange {
    /// Reads host and path of a request. An authority in the request target (absolute form, HTTP/2) wins over Host.
    pub fn new(request: Parts, peer: SocketAddr, scheme: RequestScheme) -> Result<Self, BadRequest> {
        let authority = authority(&request)?;
        let host_len = host_len(&authority).ok_or(BadRequest::BadHost)?;
        let host = &authority[..host_len];
        let lowered =
            host.bytes().any(|byte| byte.is_ascii_uppercase()).then(|| host.to_ascii_lowercase().into());
        let normal = match normalise(request.uri.path()) {
            Ok(std::borrow::Cow::Borrowed(_)) => None,
            Ok(std::borrow::Cow::Owned(path)) => Some(path.into()),
            Err(bad) => return Err(BadRequest::BadPath(bad)),
        };
        Ok(Self {
            request,
            peer,
            scheme,
            target: None,
            certificate: false,
            step_budget: Cell::default(),
            authority,
            host_len,
            lowered,
            normal,
        })
    }

    /// The address of the client (nginx's `$remote_addr`).
    pub fn client_ip(&self) -> IpAddr {
        self.peer.ip().to_canonical()
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
        self.normal.as_deref().unwrap_or(self.request.uri.path())
    }

    /// Path and query as the client sent them (nginx's `$request_uri`).
    pub fn request_target(&self) -> &str {
        self.request.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// The method as the client sent it.
    pub fn method_name(&self) -> &str {
        self.request.method.as_str()
    }

    /// The query, without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.request.uri.query()
    }

    /// Value of a request header, the first where there are several, if it is text.
    pub fn header(&self, name: &http::HeaderName) -> Option<&str> {
        self.request.headers.get(name)?.to_str().ok()
    }

    /// Value of a cookie, the first where there are several.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        cookies(&self.request.headers).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// The same, ignoring the case of the name.
    pub(crate) fn cookie_ignoring_case(&self, name: &str) -> Option<&str> {
        let found = cookies(&self.request.headers).find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }
}

/// Names and values of all cookies of a request (RFC 6265 §5.4). HTTP/2 may split them over several headers. A cookie
/// that is not UTF-8 does not hide the others of its header.
fn cookies(headers: &http::HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let values = headers.get_all(COOKIE).into_iter().map(http::HeaderValue::as_bytes);
    let pairs = values.flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.filter_map(|pair| std::str::from_utf8(pair.trim_ascii()).ok()?.split_once('='))
}

fn authority(request: &Parts) -> Result<CompactString, BadRequest> {
    if let Some(authority) = request.uri.authority() {
        let host = authority.as_str();
        return Ok(host.rsplit_once('@').map_or(host, |(_, host)| host).into());
    }
    let mut hosts = request.headers.get_all(HOST).into_iter();
    let Some(host) = hosts.next() else {
        return if request.version < http::Version::HTTP_11 {
            Ok(CompactString::default())
        } else {
            Err(BadRequest::NoHost)
        };
    };
    if hosts.next().is_some() {
        return Err(BadRequest::ManyHosts);
    }
    host.to_str().map(CompactString::from).map_err(|_| BadRequest::BadHost)
}

/// Length of the host name within `host:port`, without a final dot; `None` where there is no such name.
fn host_len(authority: &str) -> Option<usize> {
    let end = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
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
    use super::*;

    /// A GET of a URL over HTTP/1.1, with headers.
    pub(crate) fn get(url: &str, headers: &[(&str, &str)]) -> Exchange {
        request("GET", url, headers)
    }

    /// The same, with another method.
    pub(crate) fn request(method: &str, url: &str, headers: &[(&str, &str)]) -> Exchange {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let target = if at == rest.len() { "/" } else { &rest[at..] };
        let mut request = http::Request::builder().method(method).uri(target).header("host", &rest[..at]);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).expect(url).into_parts().0;
        let scheme = if scheme == "https" { RequestScheme::Https } else { RequestScheme::Http };
        Exchange::new(parts, SocketAddr::from(([192, 0, 2, 7], 4711)), scheme).expect(url)
    }

    fn new(uri: &str, hosts: &[&str]) -> Result<Exchange, BadRequest> {
        let mut request = http::Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        let parts = request.body(()).expect(uri).into_parts().0;
        Exchange::new(parts, SocketAddr::from(([192, 0, 2, 7], 4711)), RequestScheme::Http)
    }

    #[test]
    fn hosts_are_read_as_nginx_reads_them() {
        for (uri, hosts, host) in [
            ("/", vec!["shop.example"], Ok("shop.example")),
            ("/", vec!["Shop.Example.:8080"], Ok("shop.example")),
            ("/", vec!["[fd00::1]:8080"], Ok("[fd00::1]")),
            ("http://other.example/", vec!["shop.example"], Ok("other.example")),
            ("/", vec![], Err(BadRequest::NoHost)),
            ("/", vec!["a", "b"], Err(BadRequest::ManyHosts)),
            ("/", vec!["a/b"], Err(BadRequest::BadHost)),
            ("/", vec!["a:b"], Err(BadRequest::BadHost)),
            ("/", vec!["a b"], Err(BadRequest::BadHost)),
            ("/../x", vec!["a"], Err(BadRequest::BadPath(BadPath::AboveRoot))),
        ] {
            let read = new(uri, &hosts);
            assert_eq!(read.as_ref().map(Exchange::host).map_err(|bad| *bad), host, "{uri} {hosts:?}");
        }
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
        let mut exchange = get("a.example/", &[]);
        let header =
            http::HeaderValue::from_bytes(b"name=Jos\xc3\xa9; old=\xe9; route=k|b").expect("a value");
        exchange.request.headers.insert(COOKIE, header);
        for (name, value) in [("name", Some("Jos\u{e9}")), ("old", None), ("route", Some("k|b"))] {
            assert_eq!(exchange.cookie(name), value, "{name}");
        }
    }
}
