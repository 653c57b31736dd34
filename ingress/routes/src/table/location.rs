//! A location: a path of a host, with the rules of all Ingresses that have it. The smallest unit that a change rebuilds.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use cluster::{Backend, CompactString, PathType, ServiceBackend};
use smallvec::SmallVec;

use super::parsed_ingress::{ParsedIngress, RulePath};
use super::request_conditions::ConditionalRoutes;
use super::route::{Route, StepLimitMark};
use super::upstream_users::ServiceBalance;
use crate::affinity::{Affinity, RuleAffinity};
use crate::annotations::{self, AffinitySettings, HostSnippet, LoadBalance, RewriteSettings, Rule, Settings};
use crate::exchange::Exchange;
use crate::globals::Globals;
use crate::limits::LimitZones;
use crate::options::{PoolKey, RouteOptions};
use crate::path::by_segment;
use crate::pattern::{PathPattern, PatternCache};
use crate::plan::shared_plans::SharedPlans;
use crate::problem::{Effect, RoutingProblem};
use crate::sorted_list::Ordered;
use crate::upstream::{Canary, DEFAULT_UPSTREAM, Upstream, UpstreamTarget};

/// The rule paths of one location, by precedence.
pub(super) type RulePaths = SmallVec<[RulePath; 1]>;

/// A path of a host, by text and kind: the rule that owns it, its canaries, and conflicting rules.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Location {
    /// As written.
    pub(super) path: CompactString,
    /// Exact or Prefix.
    pub(super) kind: PathType,
    /// Its own Ingress makes it a regular expression.
    pub(super) regex: bool,
    pub(super) rule_paths: RulePaths,
    /// `None` if only canaries, or rules with a resource backend, have the path.
    pub(super) route: Option<Arc<Route>>,
    /// Routes for a part of the requests, which come before it. Hosts with regular expressions, which only Ingresses have, ignore them.
    pub(super) conditional: ConditionalRoutes,
    pub(super) problems: Box<[RoutingProblem]>,
}

/// Inputs for building routes.
pub(super) struct BuildContext<'c> {
    pub(super) options: &'c RouteOptions,
    pub(super) globals: &'c Globals,
    pub(super) patterns: &'c PatternCache,
    pub(super) zones: &'c LimitZones,
    pub(super) plans: &'c SharedPlans,
    /// The affinity of an upstream for rules that have none of their own.
    pub(super) shared_affinity: &'c dyn Fn(&PoolKey) -> Option<Arc<Affinity>>,
    /// How the endpoints of an upstream share requests, if an Ingress says it.
    pub(super) balance: &'c dyn Fn(&PoolKey) -> Option<&'c ServiceBalance>,
}

/// A location before its route is built.
pub(super) struct LocationBuilder<'h> {
    pub(super) path: CompactString,
    pub(super) kind: PathType,
    pub(super) rule_paths: RulePaths,
    /// It is `/` (Prefix), which every host has, even if no rule has it.
    pub(super) root: bool,
    pub(super) of_host: HostIngresses<'h>,
}

/// The Ingresses of a host whose annotations apply to rules of others.
#[derive(Clone, Copy, Default)]
pub(super) struct HostIngresses<'h> {
    /// The first one: its annotations and default backend apply to a root that no rule has.
    pub(super) first: Option<&'h Arc<ParsedIngress>>,
    /// The first one with a `server-snippet`.
    pub(super) snippet: Option<&'h Arc<ParsedIngress>>,
}

/// The Ingress that owns a location.
struct LocationOwner<'d> {
    owner: Option<&'d Arc<ParsedIngress>>,
    settings: Cow<'d, Settings>,
    backend: Option<&'d ServiceBackend>,
    /// No rule has the path.
    implicit: bool,
}

impl Location {
    /// Compares it with a path. Of the same path Exact comes last, so that a backward search finds it first.
    pub(super) fn compare_to(&self, path: &str, kind: PathType) -> Ordering {
        by_segment(&self.path, path).then_with(|| kind.cmp(&self.kind))
    }

    /// The route of a request; `None` leaves it to a shorter path.
    pub(super) fn select(&self, request: Option<&Exchange>) -> Option<&Arc<Route>> {
        self.conditional.select(request, self.route.as_ref())
    }

    /// The rule that owns it.
    pub(super) fn rule(&self) -> Option<&RulePath> {
        rules(&self.rule_paths).next()
    }
}

impl Ordered for Location {
    fn compare(&self, other: &Self) -> Ordering {
        self.compare_to(&other.path, other.kind)
    }
}

impl<'h> LocationBuilder<'h> {
    /// Builds a location again from the same rules.
    pub(super) fn again(location: &Location, of_host: HostIngresses<'h>) -> Self {
        Self::new(location.path.clone(), location.kind, location.rule_paths.clone(), of_host)
    }

    pub(super) fn new(
        path: CompactString,
        kind: PathType,
        rule_paths: RulePaths,
        of_host: HostIngresses<'h>,
    ) -> Self {
        let root = path == "/" && kind == PathType::Prefix;
        Self { path, kind, rule_paths, root, of_host }
    }

    /// Whether the owner makes all paths of the host regular expressions.
    pub(super) fn is_regex(&self) -> bool {
        let Some(LocationOwner { settings, .. }) = self.location_owner() else { return false };
        settings.values.get::<RewriteSettings>().is_some_and(|rewrite| rewrite.is_regex(&self.path))
    }

    /// The location, on a host of this name.
    pub(super) fn location(
        self,
        host: &CompactString,
        regex_host: bool,
        context: &BuildContext<'_>,
    ) -> Location {
        let mut problems: Vec<RoutingProblem> = self.rule_paths.iter().filter_map(resource_backend).collect();
        let route = self.location_owner().map(|location_owner| {
            self.report_conflicts(&location_owner, host, &mut problems);
            Arc::new(self.route(&location_owner, host, regex_host, &mut problems, context))
        });
        if route.is_none() {
            let canaries = self.rule_paths.iter().filter(|rule_path| rule_path.parsed.is_canary());
            problems.extend(canaries.map(|rule_path| unmatched_canary(rule_path, host)));
        }
        let regex = self.is_regex();
        let Self { path, kind, rule_paths, .. } = self;
        Location {
            path,
            kind,
            regex,
            rule_paths,
            route,
            conditional: ConditionalRoutes::default(),
            problems: problems.into(),
        }
    }

    /// The owner: the first rule with the path. Without one, the root belongs to the first Ingress of the host.
    fn location_owner(&self) -> Option<LocationOwner<'_>> {
        if let Some(rule_path) = rules(&self.rule_paths).next() {
            let backend = service(rule_path.backend());
            return Some(LocationOwner {
                owner: Some(&rule_path.parsed),
                settings: rule_path.settings(),
                backend,
                implicit: false,
            });
        }
        self.root.then(|| LocationOwner {
            owner: self.of_host.first,
            settings: self
                .of_host
                .first
                .map(|first_ingress| Cow::Borrowed(&first_ingress.settings))
                .unwrap_or_default(),
            backend: self
                .of_host
                .first
                .and_then(|first_ingress| service(first_ingress.ingress.default_backend.as_ref())),
            implicit: true,
        })
    }

    /// Reports the rules whose path belongs to another rule.
    fn report_conflicts(
        &self,
        location_owner: &LocationOwner<'_>,
        host: &CompactString,
        problems: &mut Vec<RoutingProblem>,
    ) {
        let mut rules = rules(&self.rule_paths);
        rules.next();
        let Some(owner) = location_owner.owner else { return };
        for rule_path in rules {
            let path = &self.path;
            let what = if Arc::ptr_eq(&rule_path.parsed, owner) {
                format!("host {host} and path {path} occur earlier in this Ingress")
            } else {
                // At the same age the name decides, and the catch-all's default backend comes before all rules.
                let older = owner.ingress.created < rule_path.parsed.ingress.created;
                let why = if older { "is older" } else { "comes first" };
                format!("host {host} and path {path} belong to {}, which {why}", owner.ingress.key)
            };
            problems.push(problem(&rule_path.parsed, rule_path.field(), what, Effect::Ignored));
        }
    }

    fn route(
        &self,
        location_owner: &LocationOwner<'_>,
        host: &CompactString,
        regex_host: bool,
        problems: &mut Vec<RoutingProblem>,
        context: &BuildContext<'_>,
    ) -> Route {
        let LocationOwner { owner, settings, backend, implicit } = location_owner;
        let rule = Rule {
            globals: context.globals.values(),
            host,
            ingress: owner.map(|owner| &owner.ingress.key),
            service: *backend,
            path: &self.path,
            kind: self.kind,
            default_backend: context.options.default_backend_service.as_ref(),
            patterns: context.patterns,
            zones: context.zones,
            host_snippet: self.of_host.snippet.and_then(|parsed| parsed.settings.values.get::<HostSnippet>()),
            port_in_redirects: context.options.port_in_redirects,
            http_port: context.options.http_port,
            https_port: context.options.https_port,
        };
        let mut plan = annotations::plan(settings, &rule);
        let error = regex_host.then(|| self.pattern_error(&rule, settings, context)).flatten();
        let error = error.or_else(|| {
            let (name, what) = plan.closed.take()?;
            Some((format!("{}/{name}", context.options.annotations_prefix), what))
        });
        // The implicit root has the annotations of other paths, for which the problem is reported.
        if let (Some(owner), Some((field, what)), false) = (owner, &error, implicit) {
            problems.push(problem(owner, field.clone(), what.clone(), Effect::Closed));
        }
        let closed_by_key = plan.closed_by_key.take();
        let is_plain = rule.host_snippet.is_none() && **settings == Settings::default();
        Route {
            host: host.clone(),
            path: self.path.clone(),
            kind: self.kind,
            ingress: owner.map(|owner| owner.ingress.key.clone()),
            service: backend.map(|backend| (backend.name.clone(), backend.port.clone())),
            denied: settings
                .denied
                .clone()
                .or(error.map(|(_, what)| what))
                .or(closed_by_key)
                .or_else(|| context.globals.closes(settings)),
            plan: if is_plain { context.plans.shared(plan) } else { Arc::new(plan) },
            step_limit: StepLimitMark::default(),
            upstream: self.upstream(location_owner, &rule, problems, context),
        }
    }

    /// The field and the reason if the path is not a valid regular expression, or lacks a group of the rewrite target.
    fn pattern_error(
        &self,
        rule: &Rule<'_>,
        settings: &Settings,
        context: &BuildContext<'_>,
    ) -> Option<(String, String)> {
        if let Err(error) = PathPattern::anchored(&self.path, context.patterns) {
            let field = rules(&self.rule_paths).next().map_or_else(|| "spec.rules".into(), RulePath::field);
            let what = format!("{:?} of host {} is not a regular expression ({error})", self.path, rule.host);
            return Some((field, what));
        }
        let what = settings.values.get::<RewriteSettings>()?.error(rule)?;
        Some((format!("{}/rewrite-target", context.options.annotations_prefix), what))
    }

    fn upstream(
        &self,
        location_owner: &LocationOwner<'_>,
        rule: &Rule<'_>,
        problems: &mut Vec<RoutingProblem>,
        context: &BuildContext<'_>,
    ) -> Option<Upstream> {
        let canaries = self.rule_paths.iter().filter(|rule_path| rule_path.parsed.is_canary());
        let (Some(owner), Some(backend)) = (location_owner.owner, location_owner.backend) else {
            problems.extend(canaries.map(|rule_path| unmatched_canary(rule_path, rule.host)));
            return default_upstream(context.options).filter(|_| location_owner.implicit);
        };
        let pool = owner.pool(backend);
        let balancing = |parsed: &ParsedIngress, pool: &PoolKey| {
            let of_service = (context.balance)(pool);
            let ignored = of_service.and_then(|of_service| other_balancing(parsed, of_service, pool));
            (annotations::balancing(of_service.and_then(|it| it.settings.as_ref()), rule), ignored)
        };
        let own = location_owner.settings.values.get::<AffinitySettings>();
        let own = own.and_then(|own| own.cookie.clone());
        let own = own.map(|affinity| RuleAffinity { affinity, sets_cookie: true });
        let shared_affinity =
            || Some(RuleAffinity { affinity: (context.shared_affinity)(&pool)?, sets_cookie: false });
        let affinity_rule = own.or_else(shared_affinity);
        let mut canary: Option<Box<Canary>> = None;
        for rule_path in canaries {
            let parsed = &rule_path.parsed;
            let mut leave_out =
                |what| problems.push(problem(parsed, rule_path.field(), what, Effect::Ignored));
            let (Some(policy), Some(Backend::Service(backend))) =
                (&parsed.settings.canary, rule_path.backend())
            else {
                leave_out("the backend of a canary is a Service, not a resource".into());
                continue;
            };
            let own = parsed.pool(backend);
            if own == pool {
                let of = &owner.ingress.key;
                leave_out(format!("has the same Service as the rule of {of} that it is a canary of"));
            } else if policy.disabled {
                // Reported with the annotation.
            } else if let Some(first) = &canary {
                let first = &first.ingress;
                leave_out(format!("only the first canary of a path takes requests, and that is {first}"));
            } else {
                let own_affinity = parsed.settings.values.get::<AffinitySettings>();
                let is_legacy = own_affinity.is_some_and(|affinity| affinity.legacy_canary);
                let affinity_rule = affinity_rule.clone().filter(|_| !is_legacy);
                let (balancing, ignored) = balancing(parsed, &own);
                problems.extend(ignored);
                let target = UpstreamTarget::new(own, affinity_rule, &self.path).balanced(balancing);
                let ingress = parsed.ingress.key.clone();
                canary = Some(Box::new(Canary { ingress, policy: policy.clone(), target }));
            }
        }
        let (balancing, ignored) = balancing(owner, &pool);
        problems.extend(ignored.filter(|_| !location_owner.implicit));
        let primary = UpstreamTarget::new(pool, affinity_rule, &self.path).balanced(balancing);
        Some(Upstream { primary, canary, split: None })
    }
}

/// The problem of an Ingress that asks for another balancing of a Service than the first Ingress with it.
fn other_balancing(
    parsed: &ParsedIngress,
    of_service: &ServiceBalance,
    pool: &PoolKey,
) -> Option<RoutingProblem> {
    let own = parsed.settings.values.get::<LoadBalance>()?;
    if of_service.ingress == parsed.ingress.key || of_service.settings.as_ref() == Some(own) {
        return None;
    }
    let what = format!(
        "the annotations of {}, which comes first, decide how the endpoints of Service {} share requests",
        of_service.ingress, pool.service
    );
    Some(problem(parsed, "load-balance, upstream-hash-by, service-upstream".into(), what, Effect::Ignored))
}

/// Rule paths that are not canaries and whose backend is a Service. The others own no location, so that another path of the
/// host may cover them.
fn rules(rule_paths: &RulePaths) -> impl Iterator<Item = &RulePath> {
    let has_service = |rule_path: &RulePath| !matches!(rule_path.backend(), Some(Backend::Resource(_)));
    rule_paths.iter().filter(move |rule_path| !rule_path.parsed.is_canary() && has_service(rule_path))
}

/// Reports a rule with a resource backend.
fn resource_backend(rule_path: &RulePath) -> Option<RoutingProblem> {
    let Some(Backend::Resource(resource)) = rule_path.backend() else { return None };
    let what = format!("a resource backend ({resource}) cannot be served, only Services can");
    (!rule_path.parsed.is_canary())
        .then(|| problem(&rule_path.parsed, rule_path.field(), what, Effect::Ignored))
}

/// `--default-backend-service`.
fn default_upstream(options: &RouteOptions) -> Option<Upstream> {
    let service = options.default_backend_service.clone()?;
    let primary = UpstreamTarget::default_backend(service, DEFAULT_UPSTREAM.into());
    Some(Upstream { primary, canary: None, split: None })
}

fn service(backend: Option<&Backend>) -> Option<&ServiceBackend> {
    match backend {
        Some(Backend::Service(service)) => Some(service),
        _ => None,
    }
}

fn unmatched_canary(rule_path: &RulePath, host: &str) -> RoutingProblem {
    let what = match rule_path.backend() {
        Some(Backend::Resource(_)) => "the backend of a canary is a Service, not a resource".into(),
        _ => format!("no other Ingress has this path on host {host}, so the canary gets no requests"),
    };
    problem(&rule_path.parsed, rule_path.field(), what, Effect::Ignored)
}

fn problem(parsed: &ParsedIngress, field: String, what: String, effect: Effect) -> RoutingProblem {
    RoutingProblem::of_ingress(&parsed.ingress.key, field, what, effect)
}
