//! A request to an endpoint, whatever its protocol.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use ingress_wire::response::ParsedResponse;

use crate::upstream::connection::UpstreamConnection;
use crate::upstream::error::UpstreamError;
use crate::upstream::http2_request::Http2Request;
use crate::upstream::request_body::RequestBody;
use crate::upstream::stream_request::StreamRequest;

/// A request to an endpoint, and its response.
pub(crate) enum UpstreamRequest {
    /// It has a connection for itself.
    Stream(Box<StreamRequest>),
    /// It shares a connection.
    Http2(Box<Http2Request>),
}

impl UpstreamRequest {
    /// The endpoint's address as text.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Stream(request) => request.name(),
            Self::Http2(request) => request.name(),
        }
    }

    /// The request's body.
    pub(crate) fn body(&self) -> &RequestBody {
        match self {
            Self::Stream(request) => &request.body,
            Self::Http2(request) => &request.body,
        }
    }

    /// Ends the request and returns its body.
    pub(crate) fn into_body(self) -> RequestBody {
        match self {
            Self::Stream(request) => request.body,
            Self::Http2(request) => request.body,
        }
    }

    /// Ends the request without its response. Returns the request's body, and the connection if it may be kept.
    pub(crate) fn discard(self, cx: &mut Context<'_>) -> (RequestBody, Option<Box<UpstreamConnection>>) {
        match self {
            Self::Stream(request) => request.discard(cx),
            Self::Http2(request) => (request.body, None),
        }
    }

    /// Whether nothing has been sent, so that a retry cannot carry out the request twice.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            Self::Stream(request) => request.is_unsent(),
            Self::Http2(request) => request.is_unsent(),
        }
    }

    /// Sends the request and reads the response's head into `response`. Skips interim responses (1xx), as nginx does.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut ParsedResponse,
    ) -> Poll<Result<(), UpstreamError>> {
        match self {
            Self::Stream(request) => request.poll_head(cx, response),
            Self::Http2(request) => request.poll_head(cx, response),
        }
    }

    /// Sets the timeout for the client to take a piece of the response.
    pub(crate) fn wait_for_client(&mut self) {
        match self {
            Self::Stream(request) => request.wait_for_client(),
            Self::Http2(request) => request.wait_for_client(),
        }
    }

    /// How many bytes of the response's body are left, if that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Self::Stream(request) => request.left(),
            Self::Http2(request) => request.left(),
        }
    }

    /// Sends what can be sent of the request while the response is not read. An error is reported by the next
    /// [`Self::poll_frame`].
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Stream(request) => request.poll_send(cx),
            Self::Http2(request) => request.poll_send(cx),
        }
    }

    /// The next piece of the response's body, or its trailers. At most `most` bytes are read for it.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match self {
            Self::Stream(request) => request.poll_frame(cx, most),
            Self::Http2(request) => request.poll_frame(cx, most),
        }
    }

    /// Whether the whole response has been returned.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Stream(request) => request.is_over(),
            Self::Http2(request) => request.is_over(),
        }
    }
}
