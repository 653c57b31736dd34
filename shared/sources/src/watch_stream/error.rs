//! Why a list or a watch ended, with the error message of the API server.

use std::time::Duration;

use serde::Deserialize;

use crate::decode::shorten;

/// Why a list or a watch ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApiError {
    /// The writer has stopped.
    Stopped,
    /// The resource version is too old, or a page of a list was requested too late (410 Gone).
    Expired,
    /// The API server rejects the request.
    Refused {
        /// The HTTP status code.
        code: u16,
        /// The message of the Status object, or the beginning of the body.
        message: String,
        /// `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// A connection could not be established, or broke.
    Connection {
        /// What has to be fixed.
        problem: ConnectionProblem,
        /// The error text of the system or of the TLS library.
        cause: String,
    },
    /// The server sends nothing, not even the head of a response or a bookmark.
    Silent(Duration),
    /// The server sends something other than Kubernetes' JSON, or ends a list or watch at an unexpected point.
    Malformed(String),
}

/// What is wrong with the connection to the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionProblem {
    /// There is no connection: the server or the network is down.
    Unreachable,
    /// The certificate of the API server is rejected.
    ServerCertificate,
    /// The API server rejects the client certificate.
    ClientCertificate,
    /// The credentials cannot be read or obtained: a token file is missing, a credential plugin fails.
    Credentials,
}

/// The API server's description of a failure (meta/v1 Status).
#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    message: Option<String>,
}

impl ApiError {
    /// A connection that could not be established, or that broke.
    pub(crate) fn unreachable(cause: impl Into<String>) -> Self {
        Self::Connection { problem: ConnectionProblem::Unreachable, cause: cause.into() }
    }

    /// The meaning of a response other than 200. A proxy in between may have written the body.
    pub(crate) fn of_response(code: u16, retry_after: Option<&str>, body: &[u8]) -> Self {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let text = || String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
        let wait = retry_after.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        Self::refused(code, status.message.unwrap_or_else(text), wait)
    }

    /// The meaning of an event of type ERROR in a watch.
    pub(super) fn of_event(object: &str) -> Self {
        let status: Status = serde_json::from_str(object).unwrap_or_default();
        Self::refused(status.code.unwrap_or(500), status.message.unwrap_or_else(|| object.to_owned()), None)
    }

    fn refused(code: u16, message: String, retry_after: Option<Duration>) -> Self {
        if code == 410 {
            Self::Expired
        } else {
            Self::Refused { code, message: shorten(&message).into_owned(), retry_after }
        }
    }

    /// Whether the server does not support the request (streaming lists were introduced in Kubernetes 1.27 to 1.34).
    pub(crate) fn is_unsupported(&self) -> bool {
        matches!(self, Self::Refused { code: 400 | 405 | 422, .. })
    }

    /// Whether an early retry is useless: a role has to be changed or a resource installed first.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(self, Self::Refused { code: 403..=405, .. })
    }

    /// Whether the server could not be reached, or does not answer.
    pub(crate) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connection { problem: ConnectionProblem::Unreachable, .. } | Self::Silent(_))
    }

    /// Whether the server rejects the credentials.
    pub(crate) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { code: 401, .. })
    }

    /// Whether RBAC forbids the request.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { code: 403, .. })
    }

    /// Whether there is no such resource.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// The pause that the server requests before a retry.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Expired => f.write_str("410 Gone: the server no longer has that version"),
            Self::Refused { code, message, .. } => write!(f, "{code}: {message}"),
            Self::Connection { cause, .. } => f.write_str(cause),
            Self::Silent(time) => write!(f, "no data for {} s", time.as_secs()),
            Self::Malformed(error) => f.write_str(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORBIDDEN: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"secrets is forbidden: User \"dns\" cannot list resource \"secrets\" in API group \"\" at the cluster scope","reason":"Forbidden","details":{"kind":"secrets"},"code":403}"#;

    #[test]
    fn a_rejection_has_the_message_of_the_server() {
        let rows = [
            (
                403,
                None,
                FORBIDDEN,
                "403: secrets is forbidden: User \"dns\" cannot list resource \"secrets\" in API group \"\" at the cluster scope",
            ),
            (
                410,
                None,
                r#"{"message":"too old resource version: 1 (2)","code":410}"#,
                "410 Gone: the server no longer has that version",
            ),
            (
                429,
                Some("3"),
                "Too many requests, please try again later.\n",
                "429: Too many requests, please try again later.",
            ),
            (502, None, "<html>Bad Gateway</html>", "502: <html>Bad Gateway</html>"),
            (500, None, "", "500: "),
        ];
        for (code, retry_after, body, text) in rows {
            assert_eq!(ApiError::of_response(code, retry_after, body.as_bytes()).to_string(), text);
        }
        let wait = |value| ApiError::of_response(429, Some(value), b"").retry_after();
        assert_eq!(wait(" 3"), Some(Duration::from_secs(3)));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn an_error_event_of_a_watch_is_an_error() {
        let expired =
            r#"{"kind":"Status","message":"too old resource version: 5 (9)","reason":"Expired","code":410}"#;
        assert_eq!(ApiError::of_event(expired), ApiError::Expired);
        assert_eq!(
            ApiError::of_event(r#"{"message":"etcd is gone","code":500}"#).to_string(),
            "500: etcd is gone"
        );
        assert_eq!(ApiError::of_event("{}").to_string(), "500: {}");
    }

    #[test]
    fn status_codes_are_classified_by_their_remedy() {
        let rows = [
            (400, "unsupported"),
            (401, "unauthorized"),
            (403, "lasting forbidden"),
            (404, "lasting missing"),
            (405, "unsupported lasting"),
            (422, "unsupported"),
            (429, ""),
            (500, ""),
            (503, ""),
        ];
        for (code, expected) in rows {
            let error = ApiError::of_response(code, None, b"");
            let marks = [
                (error.is_unsupported(), "unsupported"),
                (error.is_lasting(), "lasting"),
                (error.is_unauthorized(), "unauthorized"),
                (error.is_forbidden(), "forbidden"),
                (error.is_missing(), "missing"),
            ];
            let marks: Vec<_> = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
            assert_eq!(marks.join(" "), expected, "{code}");
        }
    }
}
