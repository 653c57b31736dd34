//! The route table: from host and path to a route.
//!
//! An Ingress is parsed once for each version. A change of an Ingress rebuilds the locations of its old and new paths, and
//! those that use its affinity because they have the same Service; all others are shared with the previous view. A change of
//! our classes or namespaces, or of what the ConfigMap closes, rebuilds everything. The table does not depend on
//! endpoints and Services, and on Secrets and ConfigMaps only where an annotation or the ConfigMap names them.

mod route;
mod request_conditions;
mod parsed_ingress;

mod location;
mod counterpart;
mod ingress_list;

mod extra_names;

mod path_match;
mod regex_locations;

mod server_tls;

mod host;
mod servers;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cluster::{CompactString, Ingress, Key, Kind, Kinds, ObjectChange, Projection, Snapshot};
use foldhash::fast::RandomState;
use http::StatusCode;

use self::extra_names::{ExtraNames, NameKind};
pub use self::host::Host;
use self::host::HostChange;
use self::ingress_list::IngressList;
use self::location::BuildContext;
use self::parsed_ingress::ParsedIngress;
use self::path_match::PathMatch;
pub use self::request_conditions::{ConditionalRoutes, RequestConditions, ValueCondition};
pub use self::route::Route;
pub use self::server_tls::ServerTls;
use self::servers::FoundHost;
use crate::affinity::Affinity;
use crate::annotations::{AffinitySettings, Reference};
use crate::class::Classes;
use crate::exchange::Exchange;
use crate::globals::Globals;
use crate::limits::{Evicted, LimitZones};
use crate::options::{PoolKey, RouteOptions};
use crate::path::encode;
use crate::pattern::{PatternCache, StepBudget};
use crate::plan::filter::{DirectResponse, FilterOutcome, RequestFilter, ServerFilters};
use crate::precedence::CATCH_ALL;
use crate::problem::{Effect, RoutingProblem};
use crate::settings::ServerSettings;
use crate::sharded_map::ShardedMap;

/// Every host with its routes.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTable {
    classes: Arc<Classes>,
    globals: Arc<Globals>,
    ingresses: ShardedMap<Key, Arc<ParsedIngress>>,
    /// By name, and by suffix with its dot for wildcards.
    hosts: ShardedMap<CompactString, Arc<Host>>,
    /// Names that lead to hosts without being theirs.
    names: ExtraNames,
    /// The catch-all, which always exists.
    catch_all: Arc<Host>,
    users: ShardedMap<PoolKey, UpstreamUsers>,
    /// The Ingresses whose annotations name a Secret or ConfigMap, whether it exists or not.
    references: ShardedMap<Reference, IngressList>,
    /// Ingresses that are not ours, and that no other controller serves according to the IngressClasses.
    unserved: ShardedMap<Key, Arc<UnservedIngress>>,
    lists: Lists,
    step_limit_hits: StepLimitHits,
    limit_evictions: Evicted,
}

/// An Ingress that is not ours.
#[derive(Clone, Debug, PartialEq)]
struct UnservedIngress {
    /// `spec.ingressClassName`.
    class: Option<CompactString>,
    /// Its problem, given the IngressClasses.
    problem: RoutingProblem,
}

/// Which first lists are complete.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lists {
    /// Neither Ingresses nor classes are known.
    Incomplete,
    /// All but the IngressClasses are known. Which Ingresses are ours is not.
    WithoutClasses,
    /// All are known: a missing class is a problem.
    Complete,
}

impl Lists {
    fn of(cluster: &Snapshot, kinds: Kinds) -> Self {
        let others: Vec<_> = kinds.iter().filter(|kind| *kind != Kind::IngressClass).collect();
        match cluster.synced(Kinds::of(&others)) {
            false => Self::Incomplete,
            true if cluster.synced(kinds) => Self::Complete,
            true => Self::WithoutClasses,
        }
    }
}

/// A count shared by all views.
#[derive(Clone, Debug, Default)]
struct StepLimitHits(Arc<AtomicU64>);

/// Views are compared without the count.
impl PartialEq for StepLimitHits {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The Ingresses that use an upstream.
#[derive(Clone, Debug, PartialEq)]
struct UpstreamUsers {
    all: IngressList,
    /// The affinity of the first Ingress that has one. Rules without an affinity read its cookie and set none.
    shared_affinity: Option<Arc<Affinity>>,
}

/// The location that a request matches.
#[derive(Clone, Copy, Debug)]
pub struct RouteMatch<'t> {
    filters: &'t ServerFilters,
    host: &'t Host,
    path_match: PathMatch<'t>,
    /// The key of the host, if it was found under another name, and why.
    extra_name: Option<(NameKind, &'t CompactString)>,
    certificate: bool,
    step_budget: StepBudget,
    step_limit_hits: &'t StepLimitHits,
}

impl RouteTable {
    /// The route of a host (lower case, without port) and a normalised path. Without a matching rule it is that of the default
    /// backend.
    ///
    /// A known host never falls back to a wildcard or to rules without a host. Hot: no allocation.
    pub fn find(&self, host: &str, path: &str) -> RouteMatch<'_> {
        self.find_with(host, path, None)
    }

    /// The route of a request. Routes whose conditions it meets come before others of their path. Hot: no allocation without such routes.
    pub fn find_for(&self, exchange: &Exchange) -> RouteMatch<'_> {
        self.find_with(exchange.host(), exchange.path(), Some(exchange))
    }

    fn find_with(&self, host: &str, path: &str, request: Option<&Exchange>) -> RouteMatch<'_> {
        let name = host;
        let found = self.host_of(name);
        // The wildcard's certificate also covers a host that has rules but no certificate.
        let wildcard = || wildcard(name).and_then(|suffix| self.hosts.get(suffix));
        let certificate = |found: &FoundHost<'_>| {
            found.host.tls || wildcard().is_some_and(|wildcard| wildcard.has_rules && wildcard.tls)
        };
        let certificate = found.as_ref().is_some_and(certificate);
        let (host, extra_name) =
            found.map_or((&self.catch_all, None), |found| (found.host, found.extra_name));
        let mut step_budget = StepBudget::default();
        let path_match = match (extra_name, &host.counterpart) {
            (Some((NameKind::Counterpart, _)), Some(redirect)) => PathMatch::Route(redirect),
            _ => host.find(path, request, &mut step_budget),
        };
        RouteMatch {
            filters: self.globals.filters(),
            host,
            path_match,
            extra_name,
            certificate,
            step_budget,
            step_limit_hits: &self.step_limit_hits,
        }
    }

    /// The table with routes for a part of the requests to a Prefix path of a host.
    #[cfg(test)]
    pub(crate) fn with_conditional_routes(&self, host: &str, path: &str, routes: ConditionalRoutes) -> Self {
        let mut table = self.clone();
        let known = self.hosts.get(host).expect("a host of the table");
        table.hosts.set(host.into(), Some(Arc::new(known.with_conditional_routes(path, routes))));
        table
    }

    /// How many requests were answered 500 because their patterns needed more than [`StepBudget::STEPS_PER_REQUEST`].
    pub fn step_limit_hits(&self) -> u64 {
        self.step_limit_hits.0.load(Ordering::Relaxed)
    }

    /// How many clients limits have forgotten because they had counted too many.
    pub fn limit_evictions(&self) -> u64 {
        self.limit_evictions.count()
    }

    /// The problems of the ConfigMap and of Ingresses at a Unix time. That a request reached the step limit is a problem for ten
    /// minutes.
    pub fn problems(&self, now: Duration) -> impl Iterator<Item = RoutingProblem> {
        let hosts = self.hosts.iter().map(|(_, host)| host).chain([&self.catch_all]);
        let of_ingresses = self.ingresses.iter().flat_map(|(_, parsed)| &parsed.problems);
        let of_globals = self.globals.problems();
        let is_complete = self.lists == Lists::Complete;
        let unserved = self.unserved.iter().filter(move |_| is_complete).map(|(_, ingress)| &ingress.problem);
        of_globals
            .iter()
            .chain(of_ingresses)
            .chain(unserved)
            .cloned()
            .chain(hosts.flat_map(move |host| host.problems(now)))
            .chain(self.name_problems())
    }

    /// The problems of Ingresses that depend on an IngressClass, if IngressClasses cannot be listed. Empty once they have been.
    pub fn unread_class_problems(&self) -> impl Iterator<Item = RoutingProblem> {
        let is_unread = self.lists == Lists::WithoutClasses;
        self.unserved.iter().filter(move |_| is_unread).filter_map(|(key, ingress)| {
            let class = ingress.class.as_ref()?;
            let what = format!(
                "IngressClass {class:?} may be served here, but IngressClasses cannot be read (see the role)"
            );
            Some(RoutingProblem::of_ingress(key, "spec.ingressClassName", what, Effect::LeftOut))
        })
    }

    /// The settings of the server.
    pub fn server(&self) -> &Arc<ServerSettings> {
        self.globals.server()
    }

    /// How many Ingresses are ours.
    pub fn ingresses(&self) -> usize {
        self.ingresses.len()
    }

    /// Whether an Ingress of ours has this key.
    pub fn has(&self, ingress: &Key) -> bool {
        self.ingresses.get(ingress).is_some()
    }

    /// Names of the hosts that have rules.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().filter(|(_, host)| host.has_rules).map(|(_, host)| host.root.host.as_str())
    }
}

/// The suffix, with its dot, of a host that a wildcard may cover: exactly one label of `[\w-]` before it.
fn wildcard(host: &str) -> Option<&str> {
    let dot = host.find('.').filter(|dot| *dot > 0)?;
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    host[..dot].bytes().all(word).then(|| &host[dot..])
}

impl<'t> RouteMatch<'t> {
    /// The route.
    pub fn route(&self) -> &'t Arc<Route> {
        match self.path_match {
            PathMatch::Route(route) | PathMatch::MissingSlash(route) | PathMatch::StepLimit(route) => route,
        }
    }

    /// Does the rewrite phase, in nginx's order: the filters of all hosts (blocklists), `app-root` of the host, the 413 of a body that is announced as
    /// too long, the redirect to a missing slash, the 503 of a closed route, the filters of the route. After
    /// [`FilterOutcome::Continue`] the phases of the route's [`Plan`] follow.
    ///
    /// [`Plan`]: crate::plan::Plan
    pub fn rewrite(&self, exchange: &mut Exchange) -> FilterOutcome {
        exchange.certificate = self.certificate;
        exchange.step_budget.set(self.step_budget);
        let outcome = self.rewrite_phase(exchange);
        if exchange.step_budget.get().is_exceeded() {
            self.step_limit_hits.0.fetch_add(1, Ordering::Relaxed);
            self.route().step_limit.set();
        }
        outcome
    }

    fn rewrite_phase(&self, exchange: &mut Exchange) -> FilterOutcome {
        if let outcome @ FilterOutcome::Respond(_) = self.filters.request(exchange) {
            return outcome;
        }
        if let (Some((NameKind::Counterpart, _)), PathMatch::Route(route)) =
            (self.extra_name, &self.path_match)
        {
            return route.rewrite(exchange);
        }
        if self.host.server_tls.is_closed {
            return FilterOutcome::Respond(DirectResponse::status(StatusCode::FORBIDDEN));
        }
        if let Some(app_root) = &self.host.app_root
            && let outcome @ FilterOutcome::Respond(_) = app_root.request(exchange)
        {
            return outcome;
        }
        let status = |status| FilterOutcome::Respond(DirectResponse::status(status));
        match self.path_match {
            PathMatch::StepLimit(_) => status(StatusCode::INTERNAL_SERVER_ERROR),
            PathMatch::Route(route) | PathMatch::MissingSlash(route) if route.refuses_body(exchange) => {
                status(StatusCode::PAYLOAD_TOO_LARGE)
            }
            PathMatch::Route(route) => route.rewrite(exchange),
            PathMatch::MissingSlash(route) => {
                FilterOutcome::Respond(with_slash(exchange, route.plan.relative_redirects))
            }
        }
    }
}

/// nginx's redirect to the same path with a slash: scheme, and host without its port, unless it is `relative`.
fn with_slash(exchange: &Exchange, relative: bool) -> DirectResponse {
    let (scheme, host, path) = (exchange.scheme.as_str(), exchange.host(), encode(exchange.path()));
    let query = exchange.query().map(|query| format!("?{query}")).unwrap_or_default();
    if relative {
        return DirectResponse::redirect(StatusCode::MOVED_PERMANENTLY, format!("{path}/{query}"));
    }
    DirectResponse::redirect(StatusCode::MOVED_PERMANENTLY, format!("{scheme}://{host}{path}/{query}"))
}

/// The projection that makes the [`RouteTable`].
#[derive(Debug)]
pub struct RouteIndex {
    options: RouteOptions,
    patterns: PatternCache,
    zones: LimitZones,
    step_limit_hits: StepLimitHits,
}

/// An Ingress that was added, changed or removed.
struct IngressChange {
    before: Option<Arc<ParsedIngress>>,
    after: Option<Arc<ParsedIngress>>,
}

/// The old and new versions of Ingresses that share an upstream or a reference.
#[derive(Default)]
struct IngressSides<'t> {
    removed: Vec<&'t Arc<ParsedIngress>>,
    added: Vec<&'t Arc<ParsedIngress>>,
}

impl RouteIndex {
    /// A projection with the options of the command line.
    pub fn new(options: RouteOptions) -> Self {
        Self {
            options,
            patterns: PatternCache::default(),
            zones: LimitZones::default(),
            step_limit_hits: StepLimitHits::default(),
        }
    }

    fn empty(&self, classes: Classes, globals: Globals) -> RouteTable {
        let users = ShardedMap::default();
        let catch_all = self.host(None, &CATCH_ALL, HostChange::default(), &users, &globals);
        RouteTable {
            classes: Arc::new(classes),
            globals: Arc::new(globals),
            ingresses: ShardedMap::default(),
            hosts: ShardedMap::default(),
            names: ExtraNames::default(),
            catch_all: Arc::new(catch_all.expect("the catch-all is there without an Ingress")),
            users,
            references: ShardedMap::default(),
            unserved: ShardedMap::default(),
            lists: Lists::Incomplete,
            step_limit_hits: self.step_limit_hits.clone(),
            limit_evictions: self.zones.evicted(),
        }
    }

    fn host(
        &self,
        last: Option<&Arc<Host>>,
        key: &CompactString,
        change: HostChange<'_>,
        users: &ShardedMap<PoolKey, UpstreamUsers>,
        globals: &Globals,
    ) -> Option<Host> {
        let shared_affinity = |pool: &PoolKey| users.get(pool)?.shared_affinity.clone();
        let context = BuildContext {
            options: &self.options,
            globals,
            patterns: &self.patterns,
            zones: &self.zones,
            shared_affinity: &shared_affinity,
        };
        Host::advance(last.map(|last| &**last), key, change, &context)
    }

    /// The Ingresses that have to be read again because an object that they name has changed.
    fn referring(
        &self,
        last: &RouteTable,
        cluster: &Snapshot,
        touched: &[ObjectChange],
    ) -> Vec<IngressChange> {
        let is_named =
            |one: &&ObjectChange| matches!(one, ObjectChange::Secret(_) | ObjectChange::ConfigMap(_));
        let named = touched.iter().filter(is_named).map(|one| (one.kind(), one.summary().0));
        let users = named.filter_map(|reference| last.references.get(&reference)).flat_map(IngressList::iter);
        let changed: HashSet<Key, RandomState> = touched
            .iter()
            .filter(|one| matches!(one, ObjectChange::Ingress(_)))
            .map(|one| one.summary().0)
            .collect();
        let mut seen = HashSet::<&Key, RandomState>::default();
        let users =
            users.filter(|parsed| !changed.contains(&parsed.ingress.key) && seen.insert(&parsed.ingress.key));
        let again = |parsed: &Arc<ParsedIngress>| {
            let after = ParsedIngress::new(parsed.ingress.clone(), &self.options, &last.globals, cluster);
            IngressChange { before: Some(parsed.clone()), after: Some(Arc::new(after)) }
        };
        users.map(again).collect()
    }

    fn unserved(&self, classes: &Classes, cluster: &Snapshot) -> ShardedMap<Key, Arc<UnservedIngress>> {
        let mut unserved = ShardedMap::default();
        for ingress in cluster.iter::<Ingress>() {
            unserved.set(ingress.key.clone(), self.unserved_ingress(classes, cluster, ingress));
        }
        unserved
    }

    fn unserved_ingress(
        &self,
        classes: &Classes,
        cluster: &Snapshot,
        ingress: &Ingress,
    ) -> Option<Arc<UnservedIngress>> {
        if classes.take(ingress, &self.options) {
            return None;
        }
        let problem = classes.unserved(ingress, cluster, &self.options)?;
        Some(Arc::new(UnservedIngress { class: ingress.class.clone(), problem }))
    }

    /// The table after some Ingresses changed.
    fn apply(&self, last: &RouteTable, changes: &[IngressChange]) -> RouteTable {
        let mut table = last.clone();
        let mut hosts: HashMap<CompactString, HostChange<'_>, RandomState> = HashMap::default();
        let mut pools: HashMap<PoolKey, IngressSides<'_>, RandomState> = HashMap::default();
        let mut references: HashMap<Reference, IngressSides<'_>, RandomState> = HashMap::default();
        for IngressChange { before, after } in changes {
            if let Some(before) = before {
                before
                    .hosts()
                    .into_iter()
                    .for_each(|host| hosts.entry(host).or_default().removed.push(before));
                before
                    .pools()
                    .into_iter()
                    .for_each(|pool| pools.entry(pool).or_default().removed.push(before));
                for (host, rule_path) in before.rule_paths() {
                    hosts.entry(host).or_default().paths.push(rule_path.path().0.into());
                }
                for reference in &before.references {
                    references.entry(reference.clone()).or_default().removed.push(before);
                }
                table.ingresses.remove(&before.ingress.key);
            }
            if let Some(after) = after {
                after.hosts().into_iter().for_each(|host| hosts.entry(host).or_default().added.push(after));
                after.pools().into_iter().for_each(|pool| pools.entry(pool).or_default().added.push(after));
                for (host, rule_path) in after.rule_paths() {
                    let change = hosts.entry(host).or_default();
                    change.paths.push(rule_path.path().0.into());
                    change.rule_paths.push(rule_path);
                }
                for reference in &after.references {
                    references.entry(reference.clone()).or_default().added.push(after);
                }
                table.ingresses.insert(after.ingress.key.clone(), after.clone());
            }
        }
        for (reference, sides) in references {
            let empty = IngressList::default();
            let users = last.references.get(&reference).unwrap_or(&empty);
            let users = users.with(sides.removed.iter().copied(), sides.added.iter().copied());
            table.references.set(reference, (!users.is_empty()).then_some(users));
        }
        for (pool, sides) in pools {
            let known = last.users.get(&pool);
            let users = UpstreamUsers::advance(known, &sides);
            if users.as_ref().map(|users| &users.shared_affinity) != known.map(|known| &known.shared_affinity)
            {
                let followers = users.iter().flat_map(|users| users.all.iter());
                for (host, path) in followers.flat_map(|parsed| parsed.paths_to(&pool)) {
                    hosts.entry(host).or_default().paths.push(path);
                }
            }
            table.users.set(pool, users);
        }
        for (key, change) in hosts {
            if key == CATCH_ALL {
                let catch_all = self.host(Some(&last.catch_all), &key, change, &table.users, &table.globals);
                table.catch_all = Arc::new(catch_all.expect("the catch-all is there without an Ingress"));
            } else {
                let host = self.host(last.hosts.get(&key), &key, change, &table.users, &table.globals);
                let names = |host: Option<&Host>| host.map(|host| host.extra_names(&key)).unwrap_or_default();
                table.names.advance(
                    &key,
                    names(last.hosts.get(&key).map(|host| &**host)),
                    names(host.as_ref()),
                );
                table.hosts.set(key, host.map(Arc::new));
            }
        }
        table
    }
}

impl UpstreamUsers {
    /// The users of an upstream after a change; `None` if there is none left.
    fn advance(last: Option<&Self>, sides: &IngressSides<'_>) -> Option<Self> {
        let empty = IngressList::default();
        let all = last.map_or(&empty, |last| &last.all);
        let all = all.with(sides.removed.iter().copied(), sides.added.iter().copied());
        if all.is_empty() {
            return None;
        }
        let first = all.first(|traits| traits.affinity);
        let shared_affinity = first
            .and_then(|parsed| parsed.settings.values.get::<AffinitySettings>())
            .and_then(|affinity| affinity.cookie.clone());
        Some(Self { all, shared_affinity })
    }
}

impl Projection for RouteIndex {
    type View = RouteTable;

    fn kinds(&self) -> Kinds {
        Kinds::of(&[Kind::Ingress, Kind::Secret, Kind::ConfigMap]).union(Classes::kinds(&self.options))
    }

    fn build(&self, cluster: &Snapshot) -> RouteTable {
        let classes = Classes::of(cluster, &self.options);
        let empty = self.empty(classes, Globals::of(cluster, &self.options));
        let ours = cluster.iter::<Ingress>().filter(|ingress| empty.classes.take(ingress, &self.options));
        let parsed = ours.map(|ingress| {
            Arc::new(ParsedIngress::new(ingress.clone(), &self.options, &empty.globals, cluster))
        });
        let changes: Vec<_> =
            parsed.map(|parsed| IngressChange { before: None, after: Some(parsed) }).collect();
        let mut table = self.apply(&empty, &changes);
        table.unserved = self.unserved(&table.classes, cluster);
        table.lists = Lists::of(cluster, self.kinds());
        table
    }

    fn advance(&self, last: &RouteTable, cluster: &Snapshot, touched: &[ObjectChange]) -> RouteTable {
        if last.classes.are_touched(touched, &self.options) {
            return self.build(cluster);
        }
        let mut last = last;
        let renewed;
        if last.globals.are_touched(cluster, touched, &self.options) {
            let globals = Globals::of(cluster, &self.options);
            if !globals.make_the_same(&last.globals) {
                return self.build(cluster);
            }
            renewed = RouteTable { globals: Arc::new(globals), ..last.clone() };
            last = &renewed;
        }
        let change = |one: &ObjectChange| {
            let ObjectChange::Ingress(change) = one else { return None };
            let before = last.ingresses.get(&change.sides().next()?.key).cloned();
            let ours = change.after.as_ref().filter(|after| last.classes.take(after, &self.options));
            let after = ours.map(|after| {
                Arc::new(ParsedIngress::new(after.clone(), &self.options, &last.globals, cluster))
            });
            (before.is_some() || after.is_some()).then_some(IngressChange { before, after })
        };
        let mut changes: Vec<_> = touched.iter().filter_map(change).collect();
        changes.extend(self.referring(last, cluster, touched));
        let mut table = if changes.is_empty() { last.clone() } else { self.apply(last, &changes) };
        if touched.iter().any(|one| matches!(one, ObjectChange::IngressClass(_))) {
            table.unserved = self.unserved(&table.classes, cluster);
        }
        for one in touched {
            let ObjectChange::Ingress(change) = one else { continue };
            let Some(ingress) = change.sides().next() else { continue };
            let unserved =
                change.after.as_ref().and_then(|after| self.unserved_ingress(&table.classes, cluster, after));
            table.unserved.set(ingress.key.clone(), unserved);
        }
        table.lists = Lists::of(cluster, self.kinds());
        table
    }
}

#[cfg(test)]
mod tests;
