//! The locations of a host whose paths are regular expressions.
//!
//! As in ingress-nginx, one regular expression makes all paths of its host regular expressions. They match at the start of the
//! path, ignoring case, and the longest text is tried first.

use std::cmp::Ordering;
use std::sync::Arc;

use smallvec::SmallVec;

use super::location::Location;
use super::path_match::PathMatch;
use super::route::Route;
use crate::pattern::{PathPattern, PatternCache, StepBudget, StepLimitExceeded, literal_prefix};
use crate::sorted_list::{Ordered, SortedList};

/// The patterns of a host, ordered so that only those are tried whose literal prefix the path begins with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RegexLocations(SortedList<RegexLocation>);

/// A pattern with its route.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct RegexLocation {
    pattern: PathPattern,
    /// Length of its text, kept here because most comparisons need only this and not the route.
    length: usize,
    route: Arc<Route>,
}

impl RegexLocations {
    /// The locations with some removed and others added.
    pub(super) fn with(&self, removed: Vec<RegexLocation>, added: Vec<RegexLocation>) -> Self {
        Self(self.0.with(removed, added))
    }

    /// The location of a normalised path; `None` leaves it to the root of the host. Hot: no allocation.
    pub(super) fn find(&self, path: &str, budget: &mut StepBudget) -> Option<PathMatch<'_>> {
        let path_bytes = path.as_bytes();
        let mut best: Option<&RegexLocation> = None;
        let mut end = path.len();
        loop {
            let path_head = &path_bytes[..end];
            let mut here = self.0.seek(|known| ignoring_case(known.head(), path_head).is_le());
            let Some(known) = here.previous() else { break };
            let (head, common) = (known.head(), common(known.head(), path_head));
            if common < head.len() {
                end = common;
                continue;
            }
            while let Some(regex_location) =
                here.previous().filter(|regex_location| regex_location.head().eq_ignore_ascii_case(head))
            {
                if best.is_some_and(|best| best.order(regex_location).is_le()) {
                    break;
                }
                match regex_location.pattern.is_match(path, budget) {
                    Ok(true) => best = Some(regex_location),
                    Ok(false) => {}
                    Err(StepLimitExceeded) => return Some(PathMatch::StepLimit(&regex_location.route)),
                }
                here.retreat();
            }
            let Some(shorter) = head.len().checked_sub(1) else { break };
            end = shorter;
        }
        best.map(|best| PathMatch::Route(&best.route))
    }

    /// All locations that match a path, in the order in which they are tried; those after the step limit are left out.
    pub(super) fn covering(&self, path: &str, budget: &mut StepBudget) -> Vec<&Arc<Route>> {
        let mut found: Vec<&RegexLocation> = Vec::new();
        for location in self.0.iter() {
            match location.pattern.is_match(path, budget) {
                Ok(true) => found.push(location),
                Ok(false) => {}
                Err(StepLimitExceeded) => break,
            }
        }
        found.sort_by(|one, other| one.order(other));
        found.into_iter().map(|location| &location.route).collect()
    }
}

impl RegexLocation {
    /// The patterns of one path, from its Exact and its Prefix location.
    pub(super) fn of(
        exact: Option<&Location>,
        prefix: Option<&Location>,
        patterns: &PatternCache,
    ) -> SmallVec<[Self; 2]> {
        let with_route = |location: &&Location| location.route.is_some();
        let (exact, prefix) = (exact.filter(with_route), prefix.filter(with_route));
        let (Some(exact), Some(prefix)) = (exact, prefix) else {
            return exact.or(prefix).and_then(|only| Self::new(only, "", patterns)).into_iter().collect();
        };
        // Two locations with the same text are tried by precedence of their rules, but Prefix `/` always comes first.
        let prefix_first = prefix.path == "/"
            || prefix
                .rule()
                .zip(exact.rule())
                .is_some_and(|(prefix, exact)| prefix.precedence(exact).is_lt());
        // A Prefix rule that is not a pattern covers only the paths below its own if there is an Exact rule for that path.
        let slash = if prefix.regex || prefix.path.ends_with('/') { "" } else { "/" };
        // The second is left out if the first matches everything that it matches.
        let both = [
            prefix_first.then_some((prefix, slash)),
            (!prefix_first || !slash.is_empty()).then_some((exact, "")),
        ];
        both.into_iter()
            .flatten()
            .filter_map(|(location, slash)| Self::new(location, slash, patterns))
            .collect()
    }

    fn new(location: &Location, slash: &str, patterns: &PatternCache) -> Option<Self> {
        let path = &location.path;
        let pattern = PathPattern::anchored(&format!("{path}{slash}"), patterns).unwrap_or_else(|_| {
            // The route is closed for every path that begins with the literal prefix. If that is every path of the host, it
            // is closed for its own text only.
            let head = literal_prefix(path);
            PathPattern::literal(if head.len() > 1 { head } else { path })
        });
        Some(Self { pattern, length: path.len(), route: location.route.clone()? })
    }

    fn head(&self) -> &[u8] {
        self.pattern.prefix().as_bytes()
    }

    /// The order in which patterns are tried: the longest text first, then the last in byte order. With the same text Prefix
    /// comes first: if Exact has precedence, it is the only one.
    fn order(&self, other: &Self) -> Ordering {
        other.length.cmp(&self.length).then_with(|| {
            let (one, two) = (&*self.route, &*other.route);
            two.path.cmp(&one.path).then_with(|| two.kind.cmp(&one.kind))
        })
    }
}

impl Ordered for RegexLocation {
    /// By prefix; with the same prefix, the one that is tried first comes last.
    fn compare(&self, other: &Self) -> Ordering {
        ignoring_case(self.head(), other.head()).then_with(|| other.order(self))
    }
}

fn ignoring_case(one: &[u8], other: &[u8]) -> Ordering {
    let at = common(one, other);
    one.get(at).map(u8::to_ascii_lowercase).cmp(&other.get(at).map(u8::to_ascii_lowercase))
}

/// How many bytes two texts have in common at their start, ignoring case.
fn common(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one.eq_ignore_ascii_case(other)).count()
}
