//! Where the following of a kind stands, and where it goes after a failure.

use cluster::CompactString;

use crate::watch_stream::ApiError;

/// How a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListMethod {
    /// As a watch that begins with everything there is (`sendInitialEvents`): the API server serves it from its cache,
    /// object by object.
    Streaming,
    /// Page by page, for servers without streaming lists.
    Paged,
    /// In one piece, after a page came too late for its list. The body is cut into objects as it comes, so for us it
    /// costs no more than a page does.
    Unpaged,
}

/// What to ask for next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NextRequest {
    /// Everything.
    List(ListMethod),
    /// What has happened since a version.
    Watch {
        /// `metadata.resourceVersion` of the list or of the last event.
        since: CompactString,
        /// How to list should the version have expired.
        again: ListMethod,
    },
}

impl NextRequest {
    /// Where to go on after a failure, and whether at once. A broken connection resumes where it was; only a version
    /// that the server no longer has makes a new list necessary.
    pub(super) fn after(self, failure: &ApiError) -> (Self, bool) {
        match (self, failure) {
            (Self::List(ListMethod::Streaming), failure) if failure.is_unsupported() => {
                (Self::List(ListMethod::Paged), true)
            }
            (Self::List(ListMethod::Paged), ApiError::Expired) => (Self::List(ListMethod::Unpaged), true),
            (Self::List(ListMethod::Unpaged), _) => (Self::List(ListMethod::Paged), false),
            (Self::Watch { again, .. }, ApiError::Expired) => (Self::List(again), false),
            // What the server has taken for a fault of ours once it will not take for right the next time.
            (Self::Watch { again, .. }, failure) if failure.is_unsupported() => (Self::List(again), false),
            (place, _) => (place, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_leads_where_it_can_be_mended() {
        let refused = |code| ApiError::of_response(code, None, b"");
        let broken = || ApiError::unreachable("reset");
        let watch = || NextRequest::Watch { since: "7".into(), again: ListMethod::Streaming };
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
        for (place, failure, next, at_once) in rows {
            assert_eq!(place.clone().after(&failure), (next, at_once), "{place:?} after {failure}");
        }
    }
}
