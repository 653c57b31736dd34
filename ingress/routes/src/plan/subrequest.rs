//! Requests that the proxy makes itself while it handles a request: external authentication, copies, error pages.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use super::subrequest_cache::CacheRule;
use crate::settings::KeepAlive;

/// A request to another server.
#[derive(Clone, Debug, PartialEq)]
pub struct Subrequest {
    /// Its method.
    pub method: Method,
    /// An absolute http or https URL.
    pub url: Uri,
    /// Its header fields, complete but for the framing of the body.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Its body; `None` without one.
    pub body: Option<Bytes>,
    /// How long the response may take, connecting included.
    pub timeout: Duration,
    /// Whether an earlier response may be used.
    pub cache: Option<CacheRule>,
    /// Whether a connection may serve several requests, and how many idle ones to the server a worker keeps.
    pub keep_alive: Option<KeepAlive>,
    /// Who runs the proxy has chosen the URL, so it may name a loopback or link-local address.
    pub allow_local: bool,
}

impl Subrequest {
    /// A GET without header fields, with nginx's default timeout.
    pub fn get(url: Uri) -> Self {
        Self {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: None,
            timeout: Duration::from_secs(60),
            cache: None,
            keep_alive: None,
            allow_local: false,
        }
    }
}

/// The response to a [`Subrequest`].
#[derive(Clone, Debug, PartialEq)]
pub struct SubrequestResponse {
    /// Its status; 502 or 504 if there was none.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: HeaderMap,
    /// Its body, up to the limit of the proxy.
    pub body: Bytes,
}

impl SubrequestResponse {
    /// A response without fields and body.
    pub fn status(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }
}
