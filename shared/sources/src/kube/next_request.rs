//! The next request of a reflector, in particular after a failure.

use cluster::CompactString;

use crate::watch_stream::ApiError;

/// How a list is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListMethod {
    /// As a watch that begins with all existing objects (`sendInitialEvents`), which the API server sends from its cache one
    /// by one.
    Streaming,
    /// In pages, for servers without streaming lists.
    Paged,
    /// In one response, after a page was requested too late for its list. The body is split into objects as it arrives, so
    /// it takes no more memory here than a page.
    Unpaged,
}

/// The next request of a reflector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NextRequest {
    /// All objects.
    List(ListMethod),
    /// Changes since a version.
    Watch {
        /// `metadata.resourceVersion` of the list or of the last event.
        since: CompactString,
        /// How to list if the version has expired.
        list_method: ListMethod,
    },
}

impl NextRequest {
    /// The next request after a failure, and whether to send it at once. After a broken connection the request is
    /// repeated; only a version that the server no longer has requires a new list.
    pub(super) fn after(self, failure: &ApiError) -> (Self, bool) {
        match (self, failure) {
            (Self::List(ListMethod::Streaming), failure) if failure.is_unsupported() => {
                (Self::List(ListMethod::Paged), true)
            }
            (Self::List(ListMethod::Paged), ApiError::Expired) => (Self::List(ListMethod::Unpaged), true),
            (Self::List(ListMethod::Unpaged), _) => (Self::List(ListMethod::Paged), false),
            (Self::Watch { list_method, .. }, ApiError::Expired) => (Self::List(list_method), false),
            // The server would reject the same request again.
            (Self::Watch { list_method, .. }, failure) if failure.is_unsupported() => {
                (Self::List(list_method), false)
            }
            (request, _) => (request, false),
        }
    }

    /// The next request after an outage of the server. It may be back from a backup, and a watch could continue in the middle of
    /// another history. A restarted server rarely has the version of an old watch, so the list is seldom an additional one.
    pub(super) fn after_outage(self) -> Self {
        match self {
            Self::Watch { list_method, .. } => Self::List(list_method),
            list => list,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_the_right_next_request() {
        let refused = |code| ApiError::of_response(code, None, b"");
        let broken = || ApiError::unreachable("reset");
        let watch = || NextRequest::Watch { since: "7".into(), list_method: ListMethod::Streaming };
        let (stream, pages, whole) = (
            NextRequest::List(ListMethod::Streaming),
            NextRequest::List(ListMethod::Paged),
            NextRequest::List(ListMethod::Unpaged),
        );
        let rows = [
            (stream.clone(), refused(422), pages.clone(), true),
            (stream.clone(), refused(400), pages.clone(), true),
            (stream.clone(), refused(403), stream.clone(), false),
            (stream.clone(), refused(503), stream.clone(), false),
            (stream.clone(), broken(), stream.clone(), false),
            (stream.clone(), ApiError::Expired, stream.clone(), false),
            (pages.clone(), ApiError::Expired, whole.clone(), true),
            (pages.clone(), refused(400), pages.clone(), false),
            (pages.clone(), broken(), pages.clone(), false),
            (whole.clone(), broken(), pages.clone(), false),
            (whole, ApiError::Expired, pages, false),
            (watch(), ApiError::Expired, stream.clone(), false),
            (watch(), broken(), watch(), false),
            (watch(), refused(429), watch(), false),
            (watch(), refused(500), watch(), false),
            (watch(), refused(403), watch(), false),
            (watch(), ApiError::Silent(std::time::Duration::from_secs(1)), watch(), false),
            (watch(), refused(400), stream, false),
        ];
        for (request, failure, next, at_once) in rows {
            assert_eq!(request.clone().after(&failure), (next, at_once), "{request:?} after {failure}");
        }
    }
}
