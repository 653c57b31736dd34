//! Where the following of a kind stands, and where it goes after a failure.

use cluster::CompactString;

use super::failure::Failure;

/// How a list is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As a watch that begins with everything there is (`sendInitialEvents`): the API server serves it from its cache,
    /// object by object.
    Stream,
    /// Page by page, for servers without streaming lists.
    Pages,
    /// In one piece, after a page came too late for its list. The body is cut into objects as it comes, so for us it
    /// costs no more than a page does.
    Whole,
}

/// What to ask for next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Everything.
    List(Way),
    /// What has happened since a version.
    Watch {
        /// `metadata.resourceVersion` of the list or of the last event.
        since: CompactString,
        /// How to list should the version have expired.
        again: Way,
    },
}

impl Place {
    /// Where to go on after a failure, and whether at once. A broken connection resumes where it was; only a version
    /// that the server no longer has makes a new list necessary.
    pub(super) fn after(self, failure: &Failure) -> (Self, bool) {
        match (self, failure) {
            (Self::List(Way::Stream), failure) if failure.is_unsupported() => (Self::List(Way::Pages), true),
            (Self::List(Way::Pages), Failure::Expired) => (Self::List(Way::Whole), true),
            (Self::List(Way::Whole), _) => (Self::List(Way::Pages), false),
            (Self::Watch { again, .. }, Failure::Expired) => (Self::List(again), false),
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
        let refused = |code| Failure::of_response(code, None, b"");
        let broken = || Failure::Broken("reset".into());
        let watch = || Place::Watch { since: "7".into(), again: Way::Stream };
        let (stream, pages, whole) =
            (Place::List(Way::Stream), Place::List(Way::Pages), Place::List(Way::Whole));
        let rows = [
            (stream.clone(), refused(422), pages.clone(), true),
            (stream.clone(), refused(400), pages.clone(), true),
            (stream.clone(), refused(403), stream.clone(), false),
            (stream.clone(), refused(503), stream.clone(), false),
            (stream.clone(), broken(), stream.clone(), false),
            (stream.clone(), Failure::Expired, stream.clone(), false),
            (pages.clone(), Failure::Expired, whole.clone(), true),
            (pages.clone(), refused(400), pages.clone(), false),
            (pages.clone(), broken(), pages.clone(), false),
            (whole.clone(), broken(), pages.clone(), false),
            (whole, Failure::Expired, pages, false),
            (watch(), Failure::Expired, stream.clone(), false),
            (watch(), broken(), watch(), false),
            (watch(), refused(429), watch(), false),
            (watch(), refused(500), watch(), false),
            (watch(), refused(403), watch(), false),
            (watch(), Failure::Silent(std::time::Duration::from_secs(1)), watch(), false),
            (watch(), refused(400), stream, false),
        ];
        for (place, failure, next, at_once) in rows {
            assert_eq!(place.clone().after(&failure), (next, at_once), "{place:?} after {failure}");
        }
    }
}
