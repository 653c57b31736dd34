//! The table: from host and path to a route.
//!
//! How it stays current: an Ingress is read once per version (`taken`); indexes say which paths it claims and which
//! upstreams it uses. A change of an Ingress rebuilds the locations that it claimed before or claims now, and those
//! that follow its affinity through a shared Service; the rest of a host is shared with the view before. A change of the
//! classes that are ours rebuilds all. Endpoints, Services and Secrets do not touch the table.

mod route;
mod taken;

mod location;
mod members;

mod paths;
mod trials;

mod host;

use std::collections::HashMap;
use std::sync::Arc;

use cluster::{CompactString, Ingress, IngressClass, Key, Kind, Kinds, ObjectChange, Projection, Snapshot};
use foldhash::fast::RandomState;
use http::StatusCode;

pub use self::host::Host;
use self::host::HostChange;
use self::location::BuildContext;
use self::members::IngressList;
use self::paths::PathMatch;
pub use self::route::{DEFAULT_UPSTREAM, Route};
use self::taken::ParsedIngress;
use crate::affinity::Affinity;
use crate::class::Classes;
use crate::exchange::Exchange;
use crate::filter::{DirectResponse, FilterOutcome};
use crate::options::{PoolKey, RouteOptions};
use crate::path::encode;
use crate::pattern::PatternCache;
use crate::precedence::CATCH_ALL;
use crate::problem::RoutingProblem;
use crate::shards::Shards;

/// Every host with its routes.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTable {
    classes: Arc<Classes>,
    taken: Shards<Key, Arc<ParsedIngress>>,
    /// By name, and by suffix with its dot for wildcards.
    hosts: Shards<CompactString, Arc<Host>>,
    /// The catch-all, which is always there.
    rest: Arc<Host>,
    users: Shards<PoolKey, Users>,
}

/// The Ingresses that use an upstream.
#[derive(Clone, Debug, PartialEq)]
struct Users {
    all: IngressList,
    /// The affinity of the first one that has any, for rules that have none: they follow its cookie and set none.
    followed: Option<Arc<Affinity>>,
}

/// Where a request belongs.
#[derive(Clone, Copy, Debug)]
pub struct RouteMatch<'t> {
    host: &'t Host,
    hit: PathMatch<'t>,
    certificate: bool,
}

impl RouteTable {
    /// The route of a host (lower case, without port) and a normalised path. There is always one: that of the
    /// default backend at last.
    ///
    /// A known host never falls back to a wildcard or to rules without a host (§3.2). Hot: no allocation.
    pub fn find(&self, host: &str, path: &str) -> RouteMatch<'_> {
        let exact =
            self.hosts.get(host).filter(|found| found.alive && !host.starts_with('.') && !host.is_empty());
        let wildcard =
            || wildcard(host).and_then(|suffix| self.hosts.get(suffix)).filter(|found| found.alive);
        // A certificate of the wildcard also counts for a host of its own without one.
        let (host, certificate) = match exact {
            Some(found) => (found, found.tls || wildcard().is_some_and(|wildcard| wildcard.tls)),
            None => wildcard().map_or((&self.rest, false), |found| (found, found.tls)),
        };
        RouteMatch { host, hit: host.find(path), certificate }
    }

    /// What is wrong with the Ingresses of ours.
    pub fn problems(&self) -> impl Iterator<Item = &RoutingProblem> {
        let hosts = self.hosts.iter().map(|(_, host)| host).chain([&self.rest]);
        self.taken.iter().flat_map(|(_, taken)| &taken.problems).chain(hosts.flat_map(|host| host.problems()))
    }

    /// Problems that an earlier view did not have. Costs what has changed, not what there is.
    pub fn problems_since<'a>(&'a self, last: &'a Self) -> impl Iterator<Item = &'a RoutingProblem> {
        let taken = self.taken.changed(&last.taken).flat_map(|(key, taken)| {
            let then = last.taken.get(key).map(|then| &then.problems);
            taken.problems.iter().filter(move |problem| !then.is_some_and(|then| then.contains(problem)))
        });
        let hosts = self.hosts.changed(&last.hosts).map(|(key, host)| (host, last.hosts.get(key)));
        let hosts = hosts.chain([(&self.rest, Some(&last.rest))]);
        taken.chain(hosts.flat_map(|(host, then)| host.problems_since(then.map(|then| &**then))))
    }

    /// How many Ingresses are ours.
    pub fn ingresses(&self) -> usize {
        self.taken.len()
    }

    /// Whether an Ingress of ours has this key.
    pub fn has(&self, ingress: &Key) -> bool {
        self.taken.get(ingress).is_some()
    }

    /// Names of the hosts that have rules.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().filter(|(_, host)| host.alive).map(|(_, host)| host.root.host.as_str())
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
        match self.hit {
            PathMatch::Route(route) | PathMatch::MissingSlash(route) | PathMatch::StepLimit(route) => route,
        }
    }

    /// Lets the request in, in the order of §3.3: what holds for the whole host, the missing slash, the
    /// closed route, and the filters of the route. [`FilterOutcome::Continue`] is for an upstream.
    pub fn apply_request_filters(&self, exchange: &mut Exchange) -> FilterOutcome {
        use crate::filter::Filter;
        exchange.certificate = self.certificate;
        if let Some(app_root) = &self.host.app_root
            && let answer @ FilterOutcome::Respond(_) = app_root.request(exchange)
        {
            return answer;
        }
        match self.hit {
            PathMatch::Route(route) => route.apply_request_filters(exchange),
            PathMatch::MissingSlash(_) => FilterOutcome::Respond(with_slash(exchange)),
            PathMatch::StepLimit(_) => {
                FilterOutcome::Respond(DirectResponse::status(StatusCode::INTERNAL_SERVER_ERROR))
            }
        }
    }
}

/// nginx's redirect to the same path with a slash: scheme, and host without its port.
fn with_slash(exchange: &Exchange) -> DirectResponse {
    let (scheme, host, path) = (exchange.scheme.as_str(), exchange.host(), encode(exchange.path()));
    let query = exchange.query().map(|query| format!("?{query}")).unwrap_or_default();
    DirectResponse::redirect(StatusCode::MOVED_PERMANENTLY, format!("{scheme}://{host}{path}/{query}"))
}

/// Makes the [`RouteTable`].
#[derive(Debug)]
pub struct RouteIndex {
    options: RouteOptions,
    patterns: PatternCache,
}

/// An Ingress that came, changed or went.
struct Turn {
    before: Option<Arc<ParsedIngress>>,
    after: Option<Arc<ParsedIngress>>,
}

/// The old and new sides of the Ingresses that share something.
#[derive(Default)]
struct Sides<'t> {
    gone: Vec<&'t Arc<ParsedIngress>>,
    came: Vec<&'t Arc<ParsedIngress>>,
}

impl RouteIndex {
    /// A table as the command line wants it.
    pub fn new(options: RouteOptions) -> Self {
        Self { options, patterns: PatternCache::default() }
    }

    fn empty(&self, classes: Classes) -> RouteTable {
        let users = Shards::default();
        let rest = self.host(None, &CATCH_ALL, HostChange::default(), &users);
        RouteTable {
            classes: Arc::new(classes),
            taken: Shards::default(),
            hosts: Shards::default(),
            rest: Arc::new(rest.expect("the catch-all is there without an Ingress")),
            users,
        }
    }

    fn host(
        &self,
        last: Option<&Arc<Host>>,
        key: &CompactString,
        change: HostChange<'_>,
        users: &Shards<PoolKey, Users>,
    ) -> Option<Host> {
        let followed = |pool: &PoolKey| users.get(pool)?.followed.clone();
        let context = BuildContext { options: &self.options, patterns: &self.patterns, followed: &followed };
        Host::advance(last.map(|last| &**last), key, change, &context)
    }

    /// The table after some Ingresses took their turn.
    fn apply(&self, last: &RouteTable, turns: &[Turn]) -> RouteTable {
        let mut table = last.clone();
        let mut hosts: HashMap<CompactString, HostChange<'_>, RandomState> = HashMap::default();
        let mut pools: HashMap<PoolKey, Sides<'_>, RandomState> = HashMap::default();
        for Turn { before, after } in turns {
            if let Some(before) = before {
                before.hosts().into_iter().for_each(|host| hosts.entry(host).or_default().gone.push(before));
                before.pools().into_iter().for_each(|pool| pools.entry(pool).or_default().gone.push(before));
                for (host, claim) in before.claims() {
                    hosts.entry(host).or_default().paths.push(claim.path().0.into());
                }
                table.taken.remove(&before.ingress.key);
            }
            if let Some(after) = after {
                after.hosts().into_iter().for_each(|host| hosts.entry(host).or_default().came.push(after));
                after.pools().into_iter().for_each(|pool| pools.entry(pool).or_default().came.push(after));
                for (host, claim) in after.claims() {
                    let change = hosts.entry(host).or_default();
                    change.paths.push(claim.path().0.into());
                    change.claims.push(claim);
                }
                table.taken.insert(after.ingress.key.clone(), after.clone());
            }
        }
        for (pool, sides) in pools {
            let known = last.users.get(&pool);
            let users = Users::advance(known, &sides);
            if users.as_ref().map(|users| &users.followed) != known.map(|known| &known.followed) {
                let followers = users.iter().flat_map(|users| users.all.iter());
                for (host, path) in followers.flat_map(|taken| taken.paths_to(&pool)) {
                    hosts.entry(host).or_default().paths.push(path);
                }
            }
            table.users.set(pool, users);
        }
        for (key, change) in hosts {
            if key == CATCH_ALL {
                let rest = self.host(Some(&last.rest), &key, change, &table.users);
                table.rest = Arc::new(rest.expect("the catch-all is there without an Ingress"));
            } else {
                let host = self.host(last.hosts.get(&key), &key, change, &table.users);
                table.hosts.set(key, host.map(Arc::new));
            }
        }
        table
    }
}

impl Users {
    /// The users of an upstream after a change; none where nobody uses it any more.
    fn advance(last: Option<&Self>, sides: &Sides<'_>) -> Option<Self> {
        let nobody = IngressList::default();
        let all = last.map_or(&nobody, |last| &last.all);
        let all = all.with(sides.gone.iter().copied(), sides.came.iter().copied());
        if all.is_empty() {
            return None;
        }
        let followed = all.first(|traits| traits.affinity).and_then(|taken| taken.settings.affinity.clone());
        Some(Self { all, followed })
    }
}

impl Projection for RouteIndex {
    type View = RouteTable;

    fn kinds(&self) -> Kinds {
        Kinds::of(&[Kind::Ingress, Kind::IngressClass])
    }

    fn build(&self, cluster: &Snapshot) -> RouteTable {
        let empty = self.empty(Classes::of(cluster.iter::<IngressClass>(), &self.options));
        let ours = cluster.iter::<Ingress>().filter(|ingress| empty.classes.take(ingress, &self.options));
        let taken = ours.map(|ingress| Arc::new(ParsedIngress::new(ingress.clone(), &self.options)));
        let turns: Vec<_> = taken.map(|taken| Turn { before: None, after: Some(taken) }).collect();
        self.apply(&empty, &turns)
    }

    fn advance(&self, last: &RouteTable, cluster: &Snapshot, touched: &[ObjectChange]) -> RouteTable {
        if last.classes.are_touched(touched, &self.options) {
            return self.build(cluster);
        }
        let turn = |one: &ObjectChange| {
            let ObjectChange::Ingress(change) = one else { return None };
            let before = last.taken.get(&change.sides().next()?.key).cloned();
            let ours = change.after.as_ref().filter(|after| last.classes.take(after, &self.options));
            let after = ours.map(|after| Arc::new(ParsedIngress::new(after.clone(), &self.options)));
            (before.is_some() || after.is_some()).then_some(Turn { before, after })
        };
        let turns: Vec<_> = touched.iter().filter_map(turn).collect();
        if turns.is_empty() { last.clone() } else { self.apply(last, &turns) }
    }
}

#[cfg(test)]
mod tests;
