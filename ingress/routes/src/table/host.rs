//! A host: the locations of all its Ingresses, and settings that apply to all of them.
//!
//! A change rebuilds the locations of its paths and shares the others. The rule paths of a location are the index of the
//! Ingresses that have it. Two things depend on the whole host: whether paths are regular expressions, which one rule decides
//! for all, and the annotations of `/` if no rule has that path: they are those of the host's first Ingress.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cluster::{CompactString, Key, PathType};
use foldhash::fast::RandomState;

use super::counterpart::counterpart_route;
use super::extra_names::NameKind;
use super::ingress_list::IngressList;
use super::location::{BuildContext, HostIngresses, Location, LocationBuilder, RulePaths};
use super::parsed_ingress::{ParsedIngress, RulePath};
use super::path_match::{self, PathMatch};
use super::regex_locations::{RegexLocation, RegexLocations};
#[cfg(test)]
use super::request_conditions::ConditionalRoutes;
use super::route::Route;
use super::server_tls::HostTls;
use crate::annotations::{AppRoot, HostNames, HostSnippet, counterpart};
use crate::exchange::Exchange;
use crate::pattern::StepBudget;
use crate::precedence::{CATCH_ALL, host_name};
use crate::problem::RoutingProblem;
use crate::sorted_list::SortedList;

/// The routes of one host.
#[derive(Debug, PartialEq)]
pub struct Host {
    members: IngressList,
    /// Some Ingress that is not a canary has rules for the host.
    pub(super) has_rules: bool,
    /// Some Ingress of the host has a `tls` section, so requests over http are redirected by default.
    pub(super) tls: bool,
    pub(super) app_root: Option<AppRoot>,
    /// What TLS connections to it need.
    pub(super) server_tls: HostTls,
    /// The route of its counterpart with or without `www.`, which redirects here.
    pub(super) counterpart: Option<Arc<Route>>,
    /// The route of `/` (Prefix), which every host has.
    pub(super) root: Arc<Route>,
    locations: SortedList<Location>,
    /// Every path has the route `root`: it is the only one.
    is_root_only: bool,
    /// Set if some location makes all paths of the host regular expressions.
    regex_locations: Option<RegexLocations>,
}

/// Changes of the Ingresses of one host.
#[derive(Default)]
pub(super) struct HostChange<'c> {
    /// Old versions of Ingresses that had the host.
    pub(super) removed: Vec<&'c Arc<ParsedIngress>>,
    /// New versions of Ingresses that have it.
    pub(super) added: Vec<&'c Arc<ParsedIngress>>,
    /// The rule paths of the new versions.
    pub(super) rule_paths: Vec<RulePath>,
    /// Paths to rebuild: those of either version, and those that depend on another change.
    pub(super) paths: Vec<CompactString>,
}

impl Host {
    /// The host after a change; `None` if no Ingress has it any more.
    pub(super) fn advance(
        last: Option<&Self>,
        key: &CompactString,
        change: HostChange<'_>,
        context: &BuildContext<'_>,
    ) -> Option<Self> {
        let empty = IngressList::default();
        let members = last.map_or(&empty, |last| &last.members);
        let first = members.first(|traits| traits.makes_hosts);
        let HostChange { removed, added, rule_paths, paths: mut touched } = change;
        let members = members.with(removed.iter().copied(), added.iter().copied());
        if members.is_empty() && *key != CATCH_ALL {
            return None;
        }
        let first_ingress = members.first(|traits| traits.makes_hosts);
        let snippet = members.first(|traits| traits.server_snippet);
        if let Some(last) = last
            && host_snippet(last.members.first(|traits| traits.server_snippet)) != host_snippet(snippet)
        {
            touched.extend(last.locations.iter().map(|location| location.path.clone()));
        }
        if last.is_none() || first.map(Arc::as_ptr) != first_ingress.map(Arc::as_ptr) {
            touched.push("/".into());
        }
        touched.sort_unstable();
        touched.dedup();
        let changed = removed.iter().chain(&added).map(|parsed| &parsed.ingress.key).collect();
        let first_ingress = first_ingress.filter(|_| *key != CATCH_ALL);
        let (locations, regex_locations) = rebuild(
            last,
            key,
            &LocationUpdate {
                paths: touched,
                changed,
                rule_paths,
                of_host: HostIngresses { first: first_ingress, snippet },
            },
            context,
        );
        let app_root = members.first(|traits| traits.app_root);
        let from_to_www = members.first(|traits| traits.from_to_www).filter(|_| counterpart(key).is_some());
        let known = last.and_then(|last| last.counterpart.clone());
        let server_tls = HostTls::of(&members, context);
        let is_single = |location: &Location| location.conditional.is_empty();
        let is_root_only =
            regex_locations.is_none() && locations.len() == 1 && locations.iter().all(is_single);
        Some(Self {
            server_tls,
            has_rules: members.first(|traits| traits.makes_hosts).is_some(),
            tls: *key != CATCH_ALL && members.first(|traits| traits.tls).is_some(),
            app_root: app_root.and_then(|parsed| parsed.settings.values.get().cloned()),
            counterpart: from_to_www
                .map(|_| known.unwrap_or_else(|| Arc::new(counterpart_route(key, context)))),
            root: at(&locations, "/", PathType::Prefix)
                .and_then(|root| root.route.clone())
                .expect("the root of a host always has a route"),
            locations,
            is_root_only,
            regex_locations,
            members,
        })
    }

    /// The location of a normalised path. Hot: no allocation.
    pub(super) fn find(
        &self,
        path: &str,
        request: Option<&Exchange>,
        budget: &mut StepBudget,
    ) -> PathMatch<'_> {
        let path_match = match &self.regex_locations {
            None if self.is_root_only => None,
            None => path_match::find(&self.locations, path, request),
            Some(regex_locations) => regex_locations.find(path, budget),
        };
        path_match.unwrap_or(PathMatch::Route(&self.root))
    }

    /// The routes of all its paths.
    pub(super) fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.locations.iter().filter_map(|location| location.route.as_ref())
    }

    /// Whether its paths are regular expressions.
    pub(super) fn has_patterns(&self) -> bool {
        self.regex_locations.is_some()
    }

    /// All routes that cover a normalised path, in the order in which they would be used.
    pub(super) fn covering(&self, path: &str, budget: &mut StepBudget) -> Vec<&Arc<Route>> {
        match &self.regex_locations {
            Some(regex_locations) => regex_locations.covering(path, budget),
            None => {
                let covers = |location: &&Location| path_match::covers(location, path);
                let mut covering: Vec<_> = self.locations.iter().filter(covers).collect();
                covering.sort_by_key(|location| {
                    (location.kind != PathType::Exact, std::cmp::Reverse(location.path.len()))
                });
                covering.into_iter().filter_map(|location| location.route.as_ref()).collect()
            }
        }
    }

    /// The rules of all Ingresses with this path, of both kinds.
    pub(super) fn rules_of(&self, path: &str) -> impl Iterator<Item = &RulePath> {
        let kinds = [PathType::Exact, PathType::Prefix].into_iter();
        kinds.filter_map(|kind| at(&self.locations, path, kind)).flat_map(|location| &location.rule_paths)
    }

    /// The Ingress that gives the host further names of a kind.
    pub(super) fn owner_of(&self, kind: NameKind) -> Option<&Arc<ParsedIngress>> {
        match kind {
            NameKind::Counterpart => self.members.first(|traits| traits.from_to_www),
            NameKind::Alias => self.members.first(|traits| traits.aliases),
        }
    }

    /// The further names of the host with this key.
    pub(super) fn extra_names(&self, key: &CompactString) -> Vec<(NameKind, CompactString)> {
        let www = self.counterpart.as_ref().and_then(|_| counterpart(key));
        let aliases =
            self.owner_of(NameKind::Alias).and_then(|parsed| parsed.settings.values.get::<HostNames>());
        let aliases = aliases.into_iter().flat_map(|names| &names.aliases).filter(|alias| *alias != key);
        let aliases = aliases.map(|alias| (NameKind::Alias, alias.clone()));
        www.into_iter().map(|name| (NameKind::Counterpart, name)).chain(aliases).collect()
    }

    /// The host with routes for a part of the requests to a Prefix path.
    #[cfg(test)]
    pub(super) fn with_conditional_routes(&self, path: &str, conditional: ConditionalRoutes) -> Self {
        let known = at(&self.locations, path, PathType::Prefix).expect("the host has the path");
        let location = Location { conditional, ..known.clone() };
        Self {
            members: self.members.clone(),
            has_rules: self.has_rules,
            tls: self.tls,
            server_tls: self.server_tls.clone(),
            counterpart: self.counterpart.clone(),
            app_root: self.app_root.clone(),
            root: self.root.clone(),
            locations: self.locations.with(vec![known.clone()], vec![location]),
            is_root_only: false,
            regex_locations: self.regex_locations.clone(),
        }
    }

    /// The problems of the host's rules. `now` is the Unix time.
    pub(super) fn problems(&self, now: Duration) -> impl Iterator<Item = RoutingProblem> {
        let of_tls = self.server_tls.problems.iter().cloned();
        let of_locations = self.locations.iter().flat_map(move |location| {
            let step_limit = location.route.as_ref().and_then(|route| route.step_limit_problem(now));
            location.problems.iter().cloned().chain(step_limit)
        });
        of_tls.chain(of_locations)
    }
}

/// The part of a host to rebuild.
struct LocationUpdate<'t> {
    /// Sorted.
    paths: Vec<CompactString>,
    /// Ingresses whose old rule paths are removed.
    changed: HashSet<&'t Key, RandomState>,
    /// The new rule paths.
    rule_paths: Vec<RulePath>,
    of_host: HostIngresses<'t>,
}

/// The `server-snippet` of an Ingress.
fn host_snippet(parsed: Option<&Arc<ParsedIngress>>) -> Option<&HostSnippet> {
    parsed?.settings.values.get()
}

/// The locations of a host and, if they are regular expressions, the patterns in the order in which they are tried.
fn rebuild(
    last: Option<&Host>,
    key: &CompactString,
    update: &LocationUpdate<'_>,
    context: &BuildContext<'_>,
) -> (SortedList<Location>, Option<RegexLocations>) {
    let nothing = SortedList::default();
    let known = last.map_or(&nothing, |last| &last.locations);
    let regex_locations = last.and_then(|last| last.regex_locations.as_ref());
    let (removed, mut builders) = builders(known, update);
    let is_touched = |location: &&Location| update.paths.binary_search(&location.path).is_ok();
    let untouched = || known.iter().filter(|location| !is_touched(location));
    let regex = builders.iter().any(LocationBuilder::is_regex)
        || regex_locations.is_some() && untouched().any(|location| location.regex);
    if regex != regex_locations.is_some() {
        builders.extend(untouched().map(|location| LocationBuilder::again(location, update.of_host)));
    }
    let name = host_name(key);
    let added: Vec<_> = builders.into_iter().map(|builder| builder.location(&name, regex, context)).collect();
    let locations = known.with(removed, added);
    if !regex {
        return (locations, None);
    }
    let of = |locations: &SortedList<Location>, paths: &[CompactString]| -> Vec<RegexLocation> {
        let both =
            |path: &CompactString| [PathType::Exact, PathType::Prefix].map(|kind| at(locations, path, kind));
        paths
            .iter()
            .map(both)
            .flat_map(|[exact, prefix]| RegexLocation::of(exact, prefix, context.patterns))
            .collect()
    };
    let regex_locations = match regex_locations {
        Some(regex_locations) => {
            regex_locations.with(of(known, &update.paths), of(&locations, &update.paths))
        }
        None => {
            let mut paths: Vec<CompactString> =
                locations.iter().map(|location| location.path.clone()).collect();
            paths.dedup();
            RegexLocations::default().with(Vec::new(), of(&locations, &paths))
        }
    };
    (locations, Some(regex_locations))
}

/// Locations to remove and locations to build, of all paths that changed.
fn builders<'t>(
    known: &SortedList<Location>,
    update: &LocationUpdate<'t>,
) -> (Vec<Location>, Vec<LocationBuilder<'t>>) {
    let mut added: HashMap<(&str, PathType), RulePaths, RandomState> = HashMap::default();
    for rule_path in &update.rule_paths {
        added.entry(rule_path.path()).or_default().push(rule_path.clone());
    }
    let (mut removed, mut builders) = (Vec::new(), Vec::with_capacity(update.paths.len()));
    for path in &update.paths {
        for kind in [PathType::Exact, PathType::Prefix] {
            let known = at(known, path, kind);
            let unchanged = known.into_iter().flat_map(|known| &known.rule_paths);
            let unchanged = unchanged
                .filter(|rule_path| !update.changed.contains(&rule_path.parsed.ingress.key))
                .cloned();
            let mut rule_paths: RulePaths = added.remove(&(path.as_str(), kind)).unwrap_or_default();
            rule_paths.extend(unchanged);
            rule_paths.sort_by(RulePath::precedence);
            let builder = LocationBuilder::new(path.clone(), kind, rule_paths, update.of_host);
            if builder.root || !builder.rule_paths.is_empty() {
                builders.push(builder);
            } else {
                removed.extend(known.cloned());
            }
        }
    }
    (removed, builders)
}

fn at<'l>(locations: &'l SortedList<Location>, path: &str, kind: PathType) -> Option<&'l Location> {
    locations.get(|location| location.compare_to(path, kind))
}
