//! Requests and responses of admin pages.

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
    /// Plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    /// Plain text with 200.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::text(StatusCode::OK, body)
    }
}

/// The request as a page sees it: method, URI, headers.
pub type AdminRequest = http::request::Parts;
