//! One request, as routing and filters use it.

mod header_values;
mod identity;
mod request_id;

use std::borrow::Cow;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cluster::{CompactString, HeldView};
use ingress_wire::request::{Method, ParsedRequest};
use ingress_wire::request_head::encoded_target;

use self::identity::ClientIdentity;
pub use self::identity::ProxiedConnection;
pub use self::request_id::RequestId;
use crate::client_certificate::ClientCertificate;
use crate::family_values::FamilyValues;
use crate::geo::GeoDatabases;
use crate::limits::ConnectionPermit;
use crate::path::{BadPath, encode, encode_argument, encode_unsafe, normalise};
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
    /// Where the variables `$geoip2_*` are looked up, with `use-geoip2`.
    pub geo: Option<Rc<HeldView<GeoDatabases>>>,
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
            let authority = authority.map_err(|_| BadRequest::BadHost)?;
            let host = HostSpan::of(authority).ok_or(BadRequest::BadHost)?;
            let encoded = encoded_target(request.target());
            let target = encoded.as_deref().unwrap_or_else(|| text(request.target()));
            let normal = match normalise(split_target(target).0) {
                Ok(Cow::Borrowed(_)) => None,
                Ok(Cow::Owned(path)) => Some(path.into()),
                Err(bad) => return Err(BadRequest::BadPath(bad)),
            };
            Ok((CompactString::from(authority), host, encoded.map(String::into_boxed_str), normal))
        };
        let (authority, host, encoded, normal) = match read() {
            Ok(read) => read,
            Err(bad) => return Err((bad, request)),
        };
        let lowered = host.has_capitals.then(|| authority[..host.length].to_ascii_lowercase().into());
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
            geo: None,
            step_budget: Cell::default(),
            drawn_backend: Cell::new(None),
            values: FamilyValues::default(),
            permits: Vec::new(),
            identity: ClientIdentity::of(peer),
            authority,
            host_len: host.length,
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

    /// A part of the normalised path for a URL that the client gets, or for a query. As in nginx, a path that was sent without codes needs
    /// none to keep its parts apart.
    pub(crate) fn encoded_part<'p>(&self, part: &'p str) -> Cow<'p, str> {
        let has_codes = split_target(self.request_target()).0.contains(['%', '+']);
        if has_codes { encode_argument(part) } else { encode_unsafe(part) }
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
}

/// A part of a head that can only be ASCII.
fn text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap_or_default()
}

/// Path and query of a target.
fn split_target(target: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'?', target.as_bytes()) {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}

/// The host name within `host:port`.
struct HostSpan {
    /// Its length without a final dot.
    length: usize,
    has_capitals: bool,
}

impl HostSpan {
    /// Finds the host name; `None` where there is none. Hot: one pass over its bytes, without a branch for each kind.
    fn of(authority: &str) -> Option<Self> {
        let bytes = authority.as_bytes();
        let is_bracketed = bytes.first() == Some(&b'[');
        let last = if is_bracketed { b']' } else { b':' };
        let (mut kinds, mut end) = (0, 0);
        while end < bytes.len() && bytes[end] != last {
            kinds |= HOST_BYTES[usize::from(bytes[end])];
            end += 1;
        }
        if is_bracketed {
            end += 1;
        }
        let (host, port) = bytes.split_at_checked(end)?;
        let port = port.strip_prefix(b":").unwrap_or(port);
        if kinds & NO_HOST != 0 || !port.iter().all(u8::is_ascii_digit) {
            return None;
        }
        Some(Self {
            length: host.strip_suffix(b".").unwrap_or(host).len(),
            has_capitals: kinds & CAPITAL != 0,
        })
    }
}

/// Bytes that no host has, and capital letters: bits of [`HOST_BYTES`].
const NO_HOST: u8 = 1;
const CAPITAL: u8 = 2;

static HOST_BYTES: [u8; 256] = {
    let (mut kinds, mut at) = ([0; 256], 0);
    while at < 256 {
        kinds[at] = match at as u8 {
            ..=b' ' | b'/' | b'\\' | b'@' | b'?' | b'#' | 127.. => NO_HOST,
            b'A'..=b'Z' => CAPITAL,
            _ => 0,
        };
        at += 1;
    }
    kinds
};

#[cfg(test)]
pub(crate) mod tests;
