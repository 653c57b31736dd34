//! Matching on a host without regular expressions: Exact first, then the longest Prefix by whole segments, case-sensitive.

use std::sync::Arc;

use cluster::PathType;

use super::location::Location;
use super::route::Route;
use crate::exchange::Exchange;
use crate::path::{by_segment, common};
use crate::sorted_list::SortedList;

/// The result of matching a path.
#[derive(Clone, Copy, Debug)]
pub(super) enum PathMatch<'t> {
    /// A route.
    Route(&'t Arc<Route>),
    /// Only the same path with a slash at its end has a route: 301 to it, as in nginx.
    MissingSlash(&'t Arc<Route>),
    /// The patterns of the host took too many steps: 500.
    StepLimit(&'t Arc<Route>),
}

/// The location of a normalised path; `None` means the root of the host. Hot: no allocation.
pub(super) fn find<'t>(
    locations: &'t SortedList<Location>,
    path: &str,
    request: Option<&Exchange>,
) -> Option<PathMatch<'t>> {
    let up_to = |path: &str| locations.seek(|known| by_segment(&known.path, path).is_le());
    let mut here = up_to(path);
    let mut next = here.clone();
    while let Some(known) = here.previous().filter(|known| known.path == path) {
        if let Some(route) = known.select(request) {
            return Some(PathMatch::Route(route));
        }
        here.retreat();
    }
    while let Some(known) = next.next().filter(|known| known.path.strip_suffix('/') == Some(path)) {
        if let Some(route) = known.select(request) {
            return Some(PathMatch::MissingSlash(route));
        }
        next.advance();
    }
    // A location that covers the path comes before it in the list, and all locations in between begin with that location. So
    // the location right before the path either covers it, or has a common start with the path that tells where to search on.
    loop {
        let known = here.previous()?;
        let common = common(&known.path, path);
        if common == known.path.len() && ends_segment(path, common) {
            match known.select(request) {
                Some(route) if known.kind == PathType::Prefix => return Some(PathMatch::Route(route)),
                _ => here.retreat(),
            }
        } else {
            let end = (1..=common).rev().find(|end| ends_segment(path, *end))?;
            here = up_to(&path[..end]);
        }
    }
}

/// Whether a location alone would cover a normalised path.
pub(super) fn covers(location: &Location, path: &str) -> bool {
    let common = common(&location.path, path);
    let is_prefix = common == location.path.len() && (common == path.len() || ends_segment(path, common));
    location.path == path || location.kind == PathType::Prefix && is_prefix
}

/// Whether a segment of a path ends before or at this byte, which is not the first.
fn ends_segment(path: &str, at: usize) -> bool {
    let path = path.as_bytes();
    path[at - 1] == b'/' || path.get(at) == Some(&b'/')
}
