//! `proxy-next-upstream`: after which failures a request is sent to another endpoint.

use http::StatusCode;

/// A word of `proxy-next-upstream`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryCondition {
    /// `error`: no connection, or it ended before the head of a response.
    Error,
    /// `timeout`: the endpoint did not accept the connection, read the request or answer in time.
    Timeout,
    /// `invalid_header`: the head of the response is malformed or too large.
    InvalidHeader,
    /// `non_idempotent`: also requests with POST, LOCK or PATCH that an endpoint may have received.
    NonIdempotent,
    /// `http_403`, `http_404`, `http_429`, `http_500`, `http_502`, `http_503` or `http_504`: such a response.
    Status(u16),
}

use RetryCondition::{Error, InvalidHeader, NonIdempotent, Status, Timeout};

/// All words but `off`; the position of a word is its bit in [`NextUpstream`].
const WORDS: [(&str, RetryCondition); 11] = [
    ("error", Error),
    ("timeout", Timeout),
    ("invalid_header", InvalidHeader),
    ("non_idempotent", NonIdempotent),
    ("http_403", Status(403)),
    ("http_404", Status(404)),
    ("http_429", Status(429)),
    ("http_500", Status(500)),
    ("http_502", Status(502)),
    ("http_503", Status(503)),
    ("http_504", Status(504)),
];

/// A set of conditions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NextUpstream(u16);

impl NextUpstream {
    /// Reads words between spaces. As in nginx, `off` allows nothing, whatever is next to it.
    pub fn parse(value: &str) -> Option<Self> {
        let (mut set, mut off) = (Self(0), false);
        for word in value.split_ascii_whitespace() {
            match WORDS.iter().find(|(known, _)| *known == word) {
                Some((_, condition)) => set = set.with(*condition),
                None if word == "off" => off = true,
                None => return None,
            }
        }
        Some(if off { Self(0) } else { set })
    }

    /// The set with one more condition.
    #[must_use]
    pub fn with(self, condition: RetryCondition) -> Self {
        Self(self.0 | Self::bit(condition))
    }

    /// Whether it has a condition.
    pub fn has(self, condition: RetryCondition) -> bool {
        self.0 & Self::bit(condition) != 0
    }

    /// Whether it has the status of a response.
    pub fn has_status(self, status: StatusCode) -> bool {
        // Nearly every response is a success.
        status.as_u16() >= 400 && self.has(Status(status.as_u16()))
    }

    fn bit(condition: RetryCondition) -> u16 {
        WORDS.iter().position(|(_, known)| *known == condition).map_or(0, |at| 1 << at)
    }
}

/// `error timeout`.
impl Default for NextUpstream {
    fn default() -> Self {
        Self(0).with(Error).with(Timeout)
    }
}

/// The words of the set.
impl std::fmt::Debug for NextUpstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(WORDS.iter().filter(|(_, one)| self.has(*one)).map(|(word, _)| word)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_conditions() {
        for (value, words) in [
            ("error timeout", r#"{"error", "timeout"}"#),
            ("timeout   http_503 error", r#"{"error", "timeout", "http_503"}"#),
            ("http_429 non_idempotent invalid_header", r#"{"invalid_header", "non_idempotent", "http_429"}"#),
            ("off", "{}"),
            ("error off http_502", "{}"),
        ] {
            assert_eq!(format!("{:?}", NextUpstream::parse(value).unwrap()), words, "{value}");
        }
        for odd in ["errors", "error,timeout", "http_501", "Error", "updating"] {
            assert_eq!(NextUpstream::parse(odd), None, "{odd}");
        }
        assert_eq!(NextUpstream::parse("error timeout"), Some(NextUpstream::default()));
    }

    #[test]
    fn only_listed_statuses_are_retried() {
        let set = NextUpstream::parse("http_404 http_502").unwrap();
        for (status, listed) in
            [(200, false), (404, true), (403, false), (502, true), (503, false), (501, false)]
        {
            assert_eq!(set.has_status(StatusCode::from_u16(status).unwrap()), listed, "{status}");
        }
    }
}
