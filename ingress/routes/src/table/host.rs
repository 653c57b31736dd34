//! A host: the locations that all its Ingresses make, and what holds for all of them.
//!
//! A change rebuilds the locations of the paths it names and shares the others: claims are the index that says who else
//! has a say in a path. What a path does not decide alone, its host does: whether paths are patterns (§3.2), and whose
//! annotations `/` has when no rule claims it (§3.1).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cluster::{CompactString, Key, PathType};
use foldhash::fast::RandomState;

use super::location::{BuildContext, Location, LocationBuilder, RulePaths};
use super::members::IngressList;
use super::paths::{self, PathMatch};
use super::route::Route;
use super::taken::{ParsedIngress, RulePath};
use super::trials::{RegexLocation, RegexLocations};
use crate::annotations::AppRoot;
use crate::precedence::{CATCH_ALL, host_name};
use crate::problem::RoutingProblem;
use crate::sorted::Sorted;

/// The routes of one host.
#[derive(Debug, PartialEq)]
pub struct Host {
    members: IngressList,
    /// Canaries alone make no host.
    pub(super) alive: bool,
    /// Some Ingress of the host has a `tls` section (§3.4).
    pub(super) tls: bool,
    pub(super) app_root: Option<AppRoot>,
    /// The route of `/` (Prefix), which every host has.
    pub(super) root: Arc<Route>,
    locations: Sorted<Location>,
    /// Some location makes all paths of the host patterns.
    trials: Option<RegexLocations>,
}

/// What a change of Ingresses means to a host.
#[derive(Default)]
pub(super) struct HostChange<'c> {
    /// Ingresses as they named the host before.
    pub(super) gone: Vec<&'c Arc<ParsedIngress>>,
    /// Ingresses as they name it now.
    pub(super) came: Vec<&'c Arc<ParsedIngress>>,
    /// What these claim.
    pub(super) claims: Vec<RulePath>,
    /// Paths that are made anew: those that either side claims, and those that depend on something else.
    pub(super) paths: Vec<CompactString>,
}

impl Host {
    /// The host under a key after a change; none where no Ingress names it any more.
    pub(super) fn advance(
        last: Option<&Self>,
        key: &CompactString,
        change: HostChange<'_>,
        context: &BuildContext<'_>,
    ) -> Option<Self> {
        let nobody = IngressList::default();
        let members = last.map_or(&nobody, |last| &last.members);
        let first = members.first(|traits| traits.makes_hosts);
        let HostChange { gone, came, claims, paths: mut touched } = change;
        let members = members.with(gone.iter().copied(), came.iter().copied());
        if members.is_empty() && *key != CATCH_ALL {
            return None;
        }
        let heir = members.first(|traits| traits.makes_hosts);
        if last.is_none() || first.map(Arc::as_ptr) != heir.map(Arc::as_ptr) {
            touched.push("/".into());
        }
        touched.sort_unstable();
        touched.dedup();
        let changed = gone.iter().chain(&came).map(|taken| &taken.ingress.key).collect();
        let heir = heir.filter(|_| *key != CATCH_ALL);
        let (locations, trials) =
            rebuild(last, key, &Touch { paths: touched, changed, claims, heir }, context);
        let app_root = members.first(|traits| traits.app_root);
        Some(Self {
            alive: members.first(|traits| traits.makes_hosts).is_some(),
            tls: *key != CATCH_ALL && members.first(|traits| traits.tls).is_some(),
            app_root: app_root.and_then(|taken| taken.settings.app_root.clone()).map(AppRoot),
            root: at(&locations, "/", PathType::Prefix)
                .and_then(|root| root.route.clone())
                .expect("the root of a host has a route whoever claims it"),
            locations,
            trials,
            members,
        })
    }

    /// What a normalised path leads to. Hot: no allocation.
    pub(super) fn find(&self, path: &str) -> PathMatch<'_> {
        let hit = match &self.trials {
            None => paths::find(&self.locations, path),
            Some(trials) => trials.find(path),
        };
        hit.unwrap_or(PathMatch::Route(&self.root))
    }

    /// What is wrong with the rules of the host.
    pub(super) fn problems(&self) -> impl Iterator<Item = &RoutingProblem> {
        self.locations.iter().flat_map(|location| &location.problems)
    }

    /// Problems that an earlier version did not have. Costs what has changed.
    pub(super) fn problems_since<'a>(
        &'a self,
        last: Option<&'a Self>,
    ) -> impl Iterator<Item = &'a RoutingProblem> {
        let last = last.map(|last| &last.locations);
        let changed = self.locations.changed(last);
        changed.filter(|location| !location.problems.is_empty()).flat_map(move |location| {
            let then = last.and_then(|last| at(last, &location.path, location.kind));
            let is_known =
                move |problem: &&RoutingProblem| then.is_some_and(|then| then.problems.contains(problem));
            location.problems.iter().filter(move |problem| !is_known(problem))
        })
    }
}

/// What of a host is made anew.
struct Touch<'t> {
    /// Sorted.
    paths: Vec<CompactString>,
    /// Ingresses whose old claims hold no more.
    changed: HashSet<&'t Key, RandomState>,
    /// Rule paths that hold now.
    claims: Vec<RulePath>,
    heir: Option<&'t Arc<ParsedIngress>>,
}

/// The locations of a host and, where they are patterns, the order in which these are tried.
fn rebuild(
    last: Option<&Host>,
    key: &CompactString,
    touch: &Touch<'_>,
    context: &BuildContext<'_>,
) -> (Sorted<Location>, Option<RegexLocations>) {
    let nothing = Sorted::default();
    let known = last.map_or(&nothing, |last| &last.locations);
    let trials = last.and_then(|last| last.trials.as_ref());
    let (gone, mut drafts) = drafts(known, touch);
    let is_touched = |location: &&Location| touch.paths.binary_search(&location.path).is_ok();
    let untouched = || known.iter().filter(|location| !is_touched(location));
    let regex = drafts.iter().any(LocationBuilder::is_regex)
        || trials.is_some() && untouched().any(|location| location.regex);
    if regex != trials.is_some() {
        drafts.extend(untouched().map(|location| LocationBuilder::again(location, touch.heir)));
    }
    let name = host_name(key);
    let came: Vec<_> = drafts.into_iter().map(|draft| draft.location(&name, regex, context)).collect();
    let locations = known.with(gone, came);
    if !regex {
        return (locations, None);
    }
    let of = |locations: &Sorted<Location>, paths: &[CompactString]| -> Vec<RegexLocation> {
        let both =
            |path: &CompactString| [PathType::Exact, PathType::Prefix].map(|kind| at(locations, path, kind));
        paths
            .iter()
            .map(both)
            .flat_map(|[exact, prefix]| RegexLocation::of(exact, prefix, context.patterns))
            .collect()
    };
    let trials = match trials {
        Some(trials) => trials.with(of(known, &touch.paths), of(&locations, &touch.paths)),
        None => {
            let mut paths: Vec<CompactString> =
                locations.iter().map(|location| location.path.clone()).collect();
            paths.dedup();
            RegexLocations::default().with(Vec::new(), of(&locations, &paths))
        }
    };
    (locations, Some(trials))
}

/// Locations that nobody claims any more, and those to be made, of all touched paths.
fn drafts<'t>(known: &Sorted<Location>, touch: &Touch<'t>) -> (Vec<Location>, Vec<LocationBuilder<'t>>) {
    let mut came: HashMap<(&str, PathType), RulePaths, RandomState> = HashMap::default();
    for claim in &touch.claims {
        came.entry(claim.path()).or_default().push(claim.clone());
    }
    let (mut gone, mut drafts) = (Vec::new(), Vec::with_capacity(touch.paths.len()));
    for path in &touch.paths {
        for kind in [PathType::Exact, PathType::Prefix] {
            let known = at(known, path, kind);
            let stay = known.into_iter().flat_map(|known| &known.claims);
            let stay = stay.filter(|claim| !touch.changed.contains(&claim.taken.ingress.key)).cloned();
            let mut claims: RulePaths = came.remove(&(path.as_str(), kind)).unwrap_or_default();
            claims.extend(stay);
            claims.sort_by(RulePath::precedence);
            let draft = LocationBuilder::new(path.clone(), kind, claims, touch.heir);
            if draft.root || !draft.claims.is_empty() {
                drafts.push(draft);
            } else {
                gone.extend(known.cloned());
            }
        }
    }
    (gone, drafts)
}

fn at<'l>(locations: &'l Sorted<Location>, path: &str, kind: PathType) -> Option<&'l Location> {
    locations.get(|location| location.stands(path, kind))
}
