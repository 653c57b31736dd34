//! The plain paths of a host: Exact, then the longest Prefix, by whole segments (§3.2).

use std::sync::Arc;

use cluster::PathType;

use super::location::Location;
use super::route::Route;
use crate::path::{by_segment, common};
use crate::sorted_list::SortedList;

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum PathMatch<'t> {
    /// A route.
    Route(&'t Arc<Route>),
    /// The same path with a slash at its end has a route: 301.
    MissingSlash(&'t Arc<Route>),
    /// A pattern gave up: 500.
    StepLimit(&'t Arc<Route>),
}

/// What a normalised path leads to; none but for the root. Hot: no allocation.
pub(super) fn find<'t>(locations: &'t SortedList<Location>, path: &str) -> Option<PathMatch<'t>> {
    let up_to = |path: &str| locations.seek(|known| by_segment(&known.path, path).is_le());
    let mut here = up_to(path);
    let mut next = here.clone();
    while let Some(known) = here.previous().filter(|known| known.path == path) {
        if let Some(route) = &known.route {
            return Some(PathMatch::Route(route));
        }
        here.retreat();
    }
    while let Some(known) = next.next().filter(|known| known.path.strip_suffix('/') == Some(path)) {
        if let Some(route) = &known.route {
            return Some(PathMatch::MissingSlash(route));
        }
        next.advance();
    }
    // Whatever covers the path stands before it, and begins all that stands between them. So the location before it
    // covers it, or has at most its start in common with what does.
    loop {
        let known = here.previous()?;
        let common = common(&known.path, path);
        if common == known.path.len() && ends_segment(path, common) {
            match &known.route {
                Some(route) if known.kind == PathType::Prefix => return Some(PathMatch::Route(route)),
                _ => here.retreat(),
            }
        } else {
            let end = (1..=common).rev().find(|end| ends_segment(path, *end))?;
            here = up_to(&path[..end]);
        }
    }
}

/// Whether a segment of a path ends before this byte, which is not its first: before or after a slash.
fn ends_segment(path: &str, at: usize) -> bool {
    let path = path.as_bytes();
    path[at - 1] == b'/' || path.get(at) == Some(&b'/')
}
