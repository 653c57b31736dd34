//! Errors of requests to endpoints.

use std::io;

use ingress_routes::RetryCondition;
use ingress_wire::response::ResponseError;

/// Which timeout applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeoutKind {
    /// `proxy-send-timeout`: the endpoint does not read the request.
    Send,
    /// `proxy-read-timeout`: the endpoint sends nothing.
    Read,
    /// `client-body-timeout`: the client does not send its body.
    Body,
    /// The client does not read the response; handled by its connection.
    Client,
}

/// Why a request to an endpoint has failed.
#[derive(Debug)]
pub(crate) enum UpstreamError {
    /// The endpoint closed the connection before its response was complete.
    Closed,
    /// Sending or receiving failed.
    Io(io::Error),
    /// The endpoint has reset the stream of the request, or has violated HTTP/2.
    Reset(h2::Error),
    /// The response is malformed.
    Invalid(&'static str),
    /// A timeout has passed.
    Timeout(TimeoutKind),
    /// The client's body is larger than `proxy-body-size`.
    TooLarge,
    /// The client's body is incomplete or malformed.
    Client,
}

impl UpstreamError {
    /// Whether the client is the cause, not the endpoint.
    pub(crate) fn is_of_client(&self) -> bool {
        matches!(self, Self::TooLarge | Self::Client | Self::Timeout(TimeoutKind::Body | TimeoutKind::Client))
    }

    /// Whether nothing more can be read of the client's request.
    pub(crate) fn is_broken_client(&self) -> bool {
        self.is_of_client() && !matches!(self, Self::TooLarge)
    }

    /// The code with which the client's stream is reset: that of the endpoint, which clients of gRPC read.
    pub(crate) fn reset_reason(&self) -> h2::Reason {
        match self {
            Self::Reset(error) => error.reason().unwrap_or(h2::Reason::INTERNAL_ERROR),
            _ => h2::Reason::INTERNAL_ERROR,
        }
    }

    /// The word of `proxy-next-upstream` that allows another endpoint after it.
    pub(crate) fn retry_condition(&self) -> Option<RetryCondition> {
        match self {
            Self::Closed | Self::Io(_) | Self::Reset(_) => Some(RetryCondition::Error),
            Self::Timeout(TimeoutKind::Send | TimeoutKind::Read) => Some(RetryCondition::Timeout),
            Self::Invalid(_) => Some(RetryCondition::InvalidHeader),
            Self::Timeout(TimeoutKind::Body | TimeoutKind::Client) | Self::TooLarge | Self::Client => None,
        }
    }
}

impl From<ResponseError> for UpstreamError {
    fn from(error: ResponseError) -> Self {
        Self::Invalid(match error {
            ResponseError::TooLarge => "its head is longer than proxy-buffer-size",
            error => error.reason(),
        })
    }
}

impl std::fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => f.write_str("the endpoint closed the connection early"),
            Self::Io(error) => write!(f, "{error}"),
            Self::Reset(error) => write!(f, "{error}"),
            Self::Invalid(what) => write!(f, "the endpoint sent an invalid response: {what}"),
            Self::Timeout(TimeoutKind::Send) => f.write_str("the endpoint did not read the request in time"),
            Self::Timeout(TimeoutKind::Body) => f.write_str("the client did not send its body in time"),
            Self::Timeout(_) => f.write_str("the endpoint did not answer in time"),
            Self::TooLarge => f.write_str("the client's body is too large"),
            Self::Client => f.write_str("the client's body is incomplete or malformed"),
        }
    }
}

impl std::error::Error for UpstreamError {}
