//! A location: a path of a host, with those who claim it. The smallest unit that a change rebuilds.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use cluster::{Backend, CompactString, PathType, ServiceBackend};
use smallvec::SmallVec;

use super::route::{DEFAULT_UPSTREAM, Route};
use super::taken::{ParsedIngress, RulePath};
use crate::affinity::{Affinity, RuleAffinity};
use crate::annotations::{self, Rule, Settings};
use crate::hsts::Hsts;
use crate::options::{PoolKey, RouteOptions};
use crate::path::by_segment;
use crate::pattern::{PathPattern, PatternCache};
use crate::problem::{Effect, RoutingProblem};
use crate::sorted::Ranked;
use crate::upstream::{Canary, Upstream, UpstreamTarget};

/// Rule paths of one location, by precedence.
pub(super) type RulePaths = SmallVec<[RulePath; 1]>;

/// A path of a host, by text and kind: the rule that has it, the canaries that double it, the rules that are too late.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Location {
    /// As written.
    pub(super) path: CompactString,
    /// Exact or Prefix.
    pub(super) kind: PathType,
    /// Its own Ingress makes it a regular expression.
    pub(super) regex: bool,
    pub(super) claims: RulePaths,
    /// None where only canaries, or rules that lead to a resource, claim the path.
    pub(super) route: Option<Arc<Route>>,
    pub(super) problems: Box<[RoutingProblem]>,
}

/// What routes are made with.
pub(super) struct BuildContext<'c> {
    pub(super) options: &'c RouteOptions,
    pub(super) patterns: &'c PatternCache,
    /// The affinity that rules without their own follow, by upstream.
    pub(super) followed: &'c dyn Fn(&PoolKey) -> Option<Arc<Affinity>>,
}

/// A location before its route is made.
pub(super) struct LocationBuilder<'h> {
    pub(super) path: CompactString,
    pub(super) kind: PathType,
    pub(super) claims: RulePaths,
    /// `/` (Prefix), which every host has, whether or not a rule claims it (§3.1).
    pub(super) root: bool,
    /// Whose annotations and default backend hold for a root that no rule claims.
    pub(super) heir: Option<&'h Arc<ParsedIngress>>,
}

/// Who has a location.
struct LocationOwner<'d> {
    owner: Option<&'d Arc<ParsedIngress>>,
    settings: Cow<'d, Settings>,
    backend: Option<&'d ServiceBackend>,
    /// No rule claims the path.
    implicit: bool,
}

impl Location {
    /// How it stands beside a path: Exact last of the same path, so that who goes back from there meets it first.
    pub(super) fn stands(&self, path: &str, kind: PathType) -> Ordering {
        by_segment(&self.path, path).then_with(|| kind.cmp(&self.kind))
    }

    /// The rule that has it.
    pub(super) fn rule(&self) -> Option<&RulePath> {
        rules(&self.claims).next()
    }
}

impl Ranked for Location {
    fn rank(&self, other: &Self) -> Ordering {
        self.stands(&other.path, other.kind)
    }
}

impl<'h> LocationBuilder<'h> {
    /// The location again, as it is claimed now.
    pub(super) fn again(location: &Location, heir: Option<&'h Arc<ParsedIngress>>) -> Self {
        Self::new(location.path.clone(), location.kind, location.claims.clone(), heir)
    }

    pub(super) fn new(
        path: CompactString,
        kind: PathType,
        claims: RulePaths,
        heir: Option<&'h Arc<ParsedIngress>>,
    ) -> Self {
        let root = path == "/" && kind == PathType::Prefix;
        Self { path, kind, claims, root, heir: heir.filter(|_| root) }
    }

    /// Whether the one who has it makes its host one of regular expressions.
    pub(super) fn is_regex(&self) -> bool {
        let Some(LocationOwner { settings, .. }) = self.winner() else { return false };
        let rewrite = settings.rewrite.as_ref();
        settings.use_regex || rewrite.is_some_and(|rewrite| rewrite.changes(&self.path))
    }

    /// The location, on a host of this name.
    pub(super) fn location(
        self,
        host: &CompactString,
        regex_host: bool,
        context: &BuildContext<'_>,
    ) -> Location {
        let mut problems: Vec<RoutingProblem> = self.claims.iter().filter_map(unserved).collect();
        let route = self.winner().map(|winner| {
            let flaw = regex_host.then(|| flaw(&self.path, context.patterns)).flatten();
            if let (Some(owner), Some(what)) = (winner.owner, &flaw) {
                problems.push(problem(owner, format!("path of host {host}"), what.clone(), Effect::Closed));
            }
            self.explain(&winner, host, &mut problems);
            Arc::new(self.route(&winner, host, flaw, &mut problems, context))
        });
        if route.is_none() {
            let canaries = self.claims.iter().filter(|claim| claim.taken.is_canary());
            problems.extend(canaries.map(|claim| lonely(claim, host)));
        }
        let regex = self.is_regex();
        let Self { path, kind, claims, .. } = self;
        Location { path, kind, regex, claims, route, problems: problems.into() }
    }

    /// The first rule that claims the path; for the root, when there is none, the first Ingress of the host.
    fn winner(&self) -> Option<LocationOwner<'_>> {
        if let Some(claim) = rules(&self.claims).next() {
            let backend = service(claim.backend());
            return Some(LocationOwner {
                owner: Some(&claim.taken),
                settings: claim.settings(),
                backend,
                implicit: false,
            });
        }
        self.root.then(|| LocationOwner {
            owner: self.heir,
            settings: self.heir.map(|heir| Cow::Borrowed(&heir.settings)).unwrap_or_default(),
            backend: self.heir.and_then(|heir| service(heir.ingress.default_backend.as_ref())),
            implicit: true,
        })
    }

    /// What is wrong with the rules that claim the path.
    fn explain(&self, winner: &LocationOwner<'_>, host: &CompactString, problems: &mut Vec<RoutingProblem>) {
        let mut rules = rules(&self.claims);
        rules.next();
        let Some(owner) = winner.owner else { return };
        for claim in rules {
            let path = &self.path;
            let what = if Arc::ptr_eq(&claim.taken, owner) {
                format!("host {host} and path {path} stand in this Ingress before")
            } else {
                // Not so among equals, and not before the default backend of the catch-all.
                let older = owner.ingress.created < claim.taken.ingress.created;
                let why = if older { "is older" } else { "comes first" };
                format!("host {host} and path {path} belong to {}, which {why}", owner.ingress.key)
            };
            problems.push(problem(&claim.taken, claim.field(), what, Effect::LeftOut));
        }
    }

    fn route(
        &self,
        winner: &LocationOwner<'_>,
        host: &CompactString,
        flaw: Option<String>,
        problems: &mut Vec<RoutingProblem>,
        context: &BuildContext<'_>,
    ) -> Route {
        let LocationOwner { owner, settings, backend, .. } = winner;
        let port_in_redirects = context.options.port_in_redirects;
        let rule = Rule { path: &self.path, kind: self.kind, patterns: context.patterns, port_in_redirects };
        let mut filters = annotations::filters(settings, &rule);
        filters.push(Box::new(Hsts));
        Route {
            host: host.clone(),
            path: self.path.clone(),
            kind: self.kind,
            ingress: owner.map(|owner| owner.ingress.key.clone()),
            service: backend.map(|backend| (backend.name.clone(), backend.port.clone())),
            denied: settings.denied.clone().or(flaw),
            filters: filters.into(),
            upstream: self.upstream(winner, host, problems, context),
        }
    }

    fn upstream(
        &self,
        winner: &LocationOwner<'_>,
        host: &CompactString,
        problems: &mut Vec<RoutingProblem>,
        context: &BuildContext<'_>,
    ) -> Option<Upstream> {
        let canaries = self.claims.iter().filter(|claim| claim.taken.is_canary());
        let (Some(owner), Some(backend)) = (winner.owner, winner.backend) else {
            problems.extend(canaries.map(|claim| lonely(claim, host)));
            return default_upstream(context.options).filter(|_| winner.implicit);
        };
        let pool = owner.pool(backend);
        let own = winner.settings.affinity.clone().map(|affinity| RuleAffinity { affinity, own: true });
        let followed = || Some(RuleAffinity { affinity: (context.followed)(&pool)?, own: false });
        let bond = own.or_else(followed);
        let mut doubles: Vec<Canary> = Vec::new();
        for claim in canaries {
            let taken = &claim.taken;
            let (Some(policy), Some(Backend::Service(backend))) = (&taken.settings.canary, claim.backend())
            else {
                let what = "a canary leads to a Service, not to a resource".into();
                problems.push(problem(taken, claim.field(), what, Effect::LeftOut));
                continue;
            };
            let own = taken.pool(backend);
            if own == pool {
                let what =
                    format!("leads to the same Service as the rule of {} that it doubles", owner.ingress.key);
                problems.push(problem(taken, claim.field(), what, Effect::LeftOut));
            } else if !doubles.iter().any(|known| known.target.pool == own) {
                let bond = bond.clone().filter(|_| !taken.settings.legacy_canary_affinity);
                let target = UpstreamTarget::new(own, bond, &self.path);
                doubles.push(Canary { ingress: taken.ingress.key.clone(), policy: policy.clone(), target });
            }
        }
        Some(Upstream { primary: UpstreamTarget::new(pool, bond, &self.path), canaries: doubles.into() })
    }
}

/// Rule paths that are no canaries. One that leads to a resource is none either: another path of the host may cover it.
fn rules(claims: &RulePaths) -> impl Iterator<Item = &RulePath> {
    let leads = |claim: &RulePath| !matches!(claim.backend(), Some(Backend::Resource(_)));
    claims.iter().filter(move |claim| !claim.taken.is_canary() && leads(claim))
}

/// What is wrong with a rule that leads to a resource.
fn unserved(claim: &RulePath) -> Option<RoutingProblem> {
    let Some(Backend::Resource(resource)) = claim.backend() else { return None };
    let what = format!("a resource backend ({resource}) cannot be served, only Services can");
    (!claim.taken.is_canary()).then(|| problem(&claim.taken, claim.field(), what, Effect::LeftOut))
}

/// `--default-backend-service`.
fn default_upstream(options: &RouteOptions) -> Option<Upstream> {
    let service = options.default_backend_service.clone()?;
    let pool = PoolKey { service, port: cluster::PortRef::Name(CompactString::default()) };
    let mut primary = UpstreamTarget::new(pool, None, &"/".into());
    primary.name = DEFAULT_UPSTREAM.into();
    Some(Upstream { primary, canaries: Box::default() })
}

/// What is wrong with a path as a regular expression.
fn flaw(path: &str, patterns: &PatternCache) -> Option<String> {
    let error = PathPattern::anchored(path, patterns).err()?;
    Some(format!("{path:?} is no regular expression ({error})"))
}

fn service(backend: Option<&Backend>) -> Option<&ServiceBackend> {
    match backend {
        Some(Backend::Service(service)) => Some(service),
        _ => None,
    }
}

fn lonely(claim: &RulePath, host: &CompactString) -> RoutingProblem {
    let what = match claim.backend() {
        Some(Backend::Resource(_)) => "a canary leads to a Service, not to a resource".into(),
        _ => format!("no Ingress has this path on host {host} for a canary to double"),
    };
    problem(&claim.taken, claim.field(), what, Effect::LeftOut)
}

fn problem(taken: &ParsedIngress, field: String, what: String, effect: Effect) -> RoutingProblem {
    RoutingProblem { ingress: taken.ingress.key.clone(), field, what, effect }
}
