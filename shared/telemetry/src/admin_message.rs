//! Requests and responses of admin pages.

use std::net::IpAddr;

use bytes::Bytes;
use http::StatusCode;

/// The response of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminResponse {
    /// The status code.
    pub status: StatusCode,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body; not sent to HEAD.
    pub body: Bytes,
}

impl AdminResponse {
    /// A response with a plain text body.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    /// A response with status 200 and a plain text body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::text(StatusCode::OK, body)
    }
}

/// A request to an admin page: method, URI, headers.
pub type AdminRequest = http::request::Parts;

/// The address of the client, among the extensions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdminPeer(pub IpAddr);
