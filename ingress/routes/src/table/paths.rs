//! The paths of a host in the order in which ingress-nginx tries them (§3.2).

use std::sync::Arc;

use cluster::{PathType, Text};

use super::route::Route;
use crate::pattern::{OutOfSteps, PathPattern, Patterns, plain_head};

/// The routes of a host by path.
#[derive(Debug, PartialEq)]
pub(super) enum Paths {
    Plain(Plain),
    Regex(Box<[(PathPattern, Arc<Route>)]>),
}

/// What a path leads to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Hit<'t> {
    /// A route.
    Route(&'t Arc<Route>),
    /// The same path with a slash at its end has a route: 301.
    Slash(&'t Arc<Route>),
    /// A pattern gave up: 500.
    OutOfSteps(&'t Arc<Route>),
}

/// What is wrong with a path as a pattern.
pub(super) fn flaw(path: &str, patterns: &Patterns) -> Option<String> {
    PathPattern::anchored(path, patterns).err()
}

/// A route on its way into the list of paths.
pub(super) struct Entry {
    pub(super) route: Arc<Route>,
    /// Its own Ingress makes its path a regular expression.
    pub(super) regex: bool,
}

impl Paths {
    /// The paths of a host; the first entry is that of `/` (Prefix).
    pub(super) fn new(entries: Vec<Entry>, patterns: &Patterns) -> Self {
        if entries.iter().any(|entry| entry.regex) {
            Self::Regex(regex(entries, patterns))
        } else {
            Self::Plain(Plain::new(entries))
        }
    }

    /// What a normalised path leads to. Hot: no allocation.
    pub(super) fn find<'t>(&'t self, path: &str, root: &'t Arc<Route>) -> Hit<'t> {
        match self {
            Self::Plain(plain) => plain.find(path, root),
            Self::Regex(list) => {
                for (pattern, route) in list {
                    match pattern.is_match(path) {
                        Ok(true) => return Hit::Route(route),
                        Ok(false) => {}
                        Err(OutOfSteps) => return Hit::OutOfSteps(route),
                    }
                }
                Hit::Route(root)
            }
        }
    }
}

/// Exact paths, then the longest prefix that ends at a slash.
#[derive(Debug, PartialEq)]
pub(super) struct Plain {
    /// Sorted by path.
    exact: Box<[(Text, Arc<Route>)]>,
    /// Sorted by path, each with its final slash; `/` itself is the root of the host.
    prefix: Box<[(Text, Arc<Route>)]>,
    /// Bytes of the longest prefix: where a long path need not be looked at.
    longest: usize,
}

impl Plain {
    fn new(entries: Vec<Entry>) -> Self {
        let mut sorted: Vec<Arc<Route>> = entries.into_iter().map(|entry| entry.route).collect();
        // Stable: rules of the same path stay in order of precedence.
        sorted.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        let (mut exact, mut prefix) = (Vec::new(), Vec::new());
        for route in sorted.iter().filter(|route| route.kind == PathType::Exact) {
            exact.push((route.path.clone(), route.clone()));
        }
        for route in sorted.iter().filter(|route| route.kind != PathType::Exact && route.path != "/") {
            exact.push((route.path.clone(), route.clone()));
            let mut path = route.path.clone();
            if !path.ends_with('/') {
                path.push('/');
            }
            prefix.push((path, route.clone()));
        }
        let sort = |mut list: Vec<(Text, Arc<Route>)>| -> Box<[(Text, Arc<Route>)]> {
            // Stable again: the first of equal paths stays, an Exact one before a Prefix one.
            list.sort_by(|(one, _), (other, _)| one.cmp(other));
            list.dedup_by(|(one, _), (first, _)| one == first);
            list.into()
        };
        let longest = prefix.iter().map(|(path, _)| path.len()).max().unwrap_or(0);
        Self { exact: sort(exact), prefix: sort(prefix), longest }
    }

    fn find<'t>(&'t self, path: &str, root: &'t Arc<Route>) -> Hit<'t> {
        if let Some(route) = lookup(&self.exact, path.bytes()) {
            return Hit::Route(route);
        }
        if self.exact.is_empty() {
            return Hit::Route(root);
        }
        let with_slash = || path.bytes().chain([b'/']);
        if let Some(route) = lookup(&self.exact, with_slash()).or_else(|| lookup(&self.prefix, with_slash()))
        {
            return Hit::Slash(route);
        }
        let mut end = path.len().min(self.longest);
        while let Some(slash) = path.as_bytes()[..end].iter().rposition(|byte| *byte == b'/') {
            if slash == 0 {
                break;
            }
            if let Some(route) = lookup(&self.prefix, path.bytes().take(slash + 1)) {
                return Hit::Route(route);
            }
            end = slash;
        }
        Hit::Route(root)
    }
}

fn lookup(list: &[(Text, Arc<Route>)], path: impl Iterator<Item = u8> + Clone) -> Option<&Arc<Route>> {
    let at = list.binary_search_by(|(known, _)| known.bytes().cmp(path.clone())).ok()?;
    Some(&list[at].1)
}

/// Every path as a pattern from the start, longest text first, then text descending, first match wins.
fn regex(mut entries: Vec<Entry>, patterns: &Patterns) -> Box<[(PathPattern, Arc<Route>)]> {
    entries.sort_by(|one, other| {
        let (one, other) = (&one.route.path, &other.route.path);
        other.len().cmp(&one.len()).then_with(|| other.cmp(one))
    });
    let has_exact = |path: &Text| {
        entries.iter().any(|entry| entry.route.kind == PathType::Exact && entry.route.path == *path)
    };
    let mut list = Vec::with_capacity(entries.len());
    for Entry { route, regex } in &entries {
        // A plain Prefix rule beside an Exact one of the same path covers only what lies below.
        let below = !regex && route.kind != PathType::Exact && route.path != "/" && has_exact(&route.path);
        let slash = if below && !route.path.ends_with('/') { "/" } else { "" };
        match PathPattern::anchored(&format!("{}{slash}", route.path), patterns) {
            Ok(pattern) => list.push((pattern, route.clone())),
            Err(_) => {
                // The route is closed, for whatever begins as its text does; but a host is not lost for it, so where
                // that is every path, only for the very text.
                let head = plain_head(&route.path);
                let text = if head.len() > 1 { head } else { &route.path };
                list.push((PathPattern::text(text), route.clone()));
            }
        }
    }
    list.into()
}
