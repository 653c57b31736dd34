//! Why a list or a watch ended, and what the API server said about it.

use std::time::Duration;

use serde::Deserialize;

/// Why a list or a watch did not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApiError {
    /// The writer is gone.
    WriterStopped,
    /// The version asked for is too old, or a page of a list came too late (410 Gone).
    Expired,
    /// The API server says no.
    Refused {
        /// The HTTP status code.
        code: u16,
        /// What the server says.
        message: String,
        /// `Retry-After`.
        wait: Option<Duration>,
    },
    /// No connection, or one that broke, or that carries something else than Kubernetes' JSON.
    Broken(String),
    /// Nothing came for so long, not even a bookmark.
    Silent(Duration),
}

/// The API server's own account of a failure (meta/v1 Status).
#[derive(Deserialize, Default)]
struct Status {
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    message: Option<String>,
}

impl ApiError {
    /// What a response other than 200 says. Something in between may have written the body.
    pub(super) fn of_response(code: u16, retry_after: Option<&str>, body: &[u8]) -> Self {
        let status: Status = serde_json::from_slice(body).unwrap_or_default();
        let text = || String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
        let wait = retry_after.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
        Self::refused(code, status.message.unwrap_or_else(text), wait)
    }

    /// What an event of type ERROR in a watch says.
    pub(super) fn of_event(object: &str) -> Self {
        let status: Status = serde_json::from_str(object).unwrap_or_default();
        Self::refused(status.code.unwrap_or(500), status.message.unwrap_or_else(|| object.to_owned()), None)
    }

    fn refused(code: u16, message: String, wait: Option<Duration>) -> Self {
        if code == 410 { Self::Expired } else { Self::Refused { code, message, wait } }
    }

    /// The server does not know how to do this (streaming lists came with Kubernetes 1.27 to 1.34).
    pub(super) fn is_unsupported(&self) -> bool {
        matches!(self, Self::Refused { code: 400 | 405 | 422, .. })
    }

    /// Asking again soon is of no use: somebody has to change roles, or install something, first.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self, Self::Refused { code: 403..=405, .. })
    }

    /// The server does not know who we are.
    pub(super) fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Refused { code: 401, .. })
    }

    /// RBAC says no.
    pub(super) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { code: 403, .. })
    }

    /// There is no such resource.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// How long the server wants to be left alone.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Refused { wait, .. } => *wait,
            _ => None,
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::WriterStopped => f.write_str("stopped"),
            Self::Expired => f.write_str("410 Gone: the server no longer has that version"),
            Self::Refused { code, message, .. } => write!(f, "{code}: {message}"),
            Self::Broken(error) => f.write_str(error),
            Self::Silent(time) => write!(f, "nothing came for {} s", time.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORBIDDEN: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"ApiError","message":"secrets is forbidden: User \"dns\" cannot list resource \"secrets\" in API group \"\" at the cluster scope","reason":"Forbidden","details":{"kind":"secrets"},"code":403}"#;

    #[test]
    fn a_failure_says_what_the_server_says() {
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
        for (code, retry_after, body, said) in rows {
            assert_eq!(ApiError::of_response(code, retry_after, body.as_bytes()).to_string(), said);
        }
        assert_eq!(ApiError::of_response(429, Some(" 3"), b"").wait(), Some(Duration::from_secs(3)));
        assert_eq!(ApiError::of_response(503, Some("soon"), b"").wait(), None);
    }

    #[test]
    fn an_error_in_a_watch_is_a_failure() {
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
    fn failures_are_told_apart_by_what_helps_against_them() {
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
            let failure = ApiError::of_response(code, None, b"");
            let marks = [
                (failure.is_unsupported(), "unsupported"),
                (failure.is_lasting(), "lasting"),
                (failure.is_unauthorized(), "unauthorized"),
                (failure.is_forbidden(), "forbidden"),
                (failure.is_missing(), "missing"),
            ];
            let marks: Vec<_> = marks.into_iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
            assert_eq!(marks.join(" "), expected, "{code}");
        }
    }
}
