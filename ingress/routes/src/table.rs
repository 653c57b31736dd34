//! The table: from host and path to a route.
//!
//! How it stays current: an Ingress is read once per version (`taken`); indexes say which hosts it names and
//! which upstreams it uses. A change of an Ingress rebuilds the hosts it named before or names now, and hosts
//! of Ingresses that follow its affinity through a shared Service. A change of the classes that are ours
//! rebuilds all. Endpoints, Services and Secrets do not touch the table.

mod host;
mod paths;
mod route;
mod taken;

use std::collections::HashMap;
use std::sync::Arc;

use cluster::{Ingress, IngressClass, Key, Kind, Kinds, Projection, Snapshot, Text, Touched};
use foldhash::fast::RandomState;
use http::StatusCode;

use self::host::Context;
pub use self::host::Host;
use self::paths::Hit;
pub use self::route::{DEFAULT_UPSTREAM, Route};
use self::taken::Taken;
use crate::affinity::Affinity;
use crate::class::Classes;
use crate::exchange::Exchange;
use crate::filter::{Answer, Flow};
use crate::options::{Options, PoolKey};
use crate::path::encode;
use crate::pattern::Patterns;
use crate::precedence::{CATCH_ALL, precedence};
use crate::problem::Problem;
use crate::shards::Shards;

/// Every host with its routes.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    classes: Arc<Classes>,
    taken: Shards<Key, Arc<Taken>>,
    /// By name, and by suffix with its dot for wildcards.
    hosts: Shards<Text, Arc<Host>>,
    /// The catch-all, which is always there.
    rest: Arc<Host>,
    users: Shards<PoolKey, Users>,
}

/// The Ingresses that use an upstream.
#[derive(Clone, Debug, PartialEq)]
struct Users {
    /// By precedence.
    all: Arc<[Arc<Taken>]>,
    /// The affinity of the first one that has any, for rules that have none: they follow its cookie and set none.
    followed: Option<Arc<Affinity>>,
}

/// Where a request belongs.
#[derive(Clone, Copy, Debug)]
pub struct Found<'t> {
    host: &'t Host,
    hit: Hit<'t>,
    certificate: bool,
}

impl Table {
    /// The route of a host (lower case, without port) and a normalised path. There is always one: that of the
    /// default backend at last.
    ///
    /// A known host never falls back to a wildcard or to rules without a host (§3.2). Hot: no allocation.
    pub fn find(&self, host: &str, path: &str) -> Found<'_> {
        let exact =
            self.hosts.get(host).filter(|found| found.alive && !host.starts_with('.') && !host.is_empty());
        let wildcard =
            || wildcard(host).and_then(|suffix| self.hosts.get(suffix)).filter(|found| found.alive);
        // A certificate of the wildcard also counts for a host of its own without one.
        let (host, certificate) = match exact {
            Some(found) => (found, found.tls || wildcard().is_some_and(|wildcard| wildcard.tls)),
            None => wildcard().map_or((&self.rest, false), |found| (found, found.tls)),
        };
        Found { host, hit: host.paths.find(path, &host.root), certificate }
    }

    /// What is wrong with the Ingresses of ours.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let hosts = self.hosts.iter().map(|(_, host)| host).chain([&self.rest]);
        self.taken.iter().flat_map(|(_, taken)| &taken.problems).chain(hosts.flat_map(|host| &host.problems))
    }

    /// Problems that an earlier view did not have. Costs what has changed, not what there is.
    pub fn problems_since<'a>(&'a self, last: &'a Self) -> impl Iterator<Item = &'a Problem> {
        let taken = self.taken.changed(&last.taken).flat_map(|(key, taken)| {
            let then = last.taken.get(key).map(|then| &then.problems);
            taken.problems.iter().filter(move |problem| !then.is_some_and(|then| then.contains(problem)))
        });
        let rest = [(&CATCH_ALL_KEY, &self.rest)];
        let hosts = self.hosts.changed(&last.hosts).chain(rest).flat_map(|(key, host)| {
            let then = if key.is_empty() { Some(&last.rest) } else { last.hosts.get(key) };
            let then = then.map(|then| &then.problems);
            host.problems.iter().filter(move |problem| !then.is_some_and(|then| then.contains(problem)))
        });
        taken.chain(hosts)
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

static CATCH_ALL_KEY: Text = CATCH_ALL;

/// The suffix, with its dot, of a host that a wildcard may cover: exactly one label of `[\w-]` before it.
fn wildcard(host: &str) -> Option<&str> {
    let dot = host.find('.').filter(|dot| *dot > 0)?;
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    host[..dot].bytes().all(word).then(|| &host[dot..])
}

impl<'t> Found<'t> {
    /// The route.
    pub fn route(&self) -> &'t Arc<Route> {
        match self.hit {
            Hit::Route(route) | Hit::Slash(route) | Hit::OutOfSteps(route) => route,
        }
    }

    /// Lets the request in, in the order of §3.3: what holds for the whole host, the missing slash, the
    /// closed route, and the filters of the route. [`Flow::Next`] is for an upstream.
    pub fn admit(&self, exchange: &mut Exchange) -> Flow {
        use crate::filter::Filter;
        exchange.certificate = self.certificate;
        if let Some(app_root) = &self.host.app_root
            && let answer @ Flow::Answer(_) = app_root.request(exchange)
        {
            return answer;
        }
        match self.hit {
            Hit::Route(route) => route.admit(exchange),
            Hit::Slash(_) => Flow::Answer(with_slash(exchange)),
            Hit::OutOfSteps(_) => Flow::Answer(Answer::status(StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }
}

/// nginx's redirect to the same path with a slash: scheme, and host without its port.
fn with_slash(exchange: &Exchange) -> Answer {
    let (scheme, host, path) = (exchange.scheme.as_str(), exchange.host(), encode(exchange.path()));
    let query = exchange.query().map(|query| format!("?{query}")).unwrap_or_default();
    Answer::redirect(StatusCode::MOVED_PERMANENTLY, format!("{scheme}://{host}{path}/{query}"))
}

/// Makes the [`Table`].
#[derive(Debug)]
pub struct TableIndex {
    options: Options,
    patterns: Patterns,
}

/// Old and new sides of the Ingresses that changed.
type Changes = HashMap<Key, Option<Arc<Taken>>, RandomState>;

impl TableIndex {
    /// A table as the command line wants it.
    pub fn new(options: Options) -> Self {
        Self { options, patterns: Patterns::default() }
    }

    fn empty(&self, classes: Classes) -> Table {
        let users = Shards::default();
        Table {
            classes: Arc::new(classes),
            taken: Shards::default(),
            hosts: Shards::default(),
            rest: Arc::new(self.host(&CATCH_ALL, Box::default(), &users)),
            users,
        }
    }

    fn host(&self, key: &Text, members: Box<[Arc<Taken>]>, users: &Shards<PoolKey, Users>) -> Host {
        let followed = |pool: &PoolKey| users.get(pool)?.followed.clone();
        Host::new(
            key,
            members,
            &Context { options: &self.options, patterns: &self.patterns, followed: &followed },
        )
    }

    /// The table after some Ingresses came, changed or went (`None`).
    fn apply(&self, last: &Table, changes: Changes) -> Table {
        let mut table = last.clone();
        let mut hosts: HashMap<Text, Vec<Arc<Taken>>, RandomState> = HashMap::default();
        let mut pools: HashMap<PoolKey, Vec<Arc<Taken>>, RandomState> = HashMap::default();
        for (key, after) in &changes {
            let before = last.taken.get(key);
            for taken in before.into_iter().chain(after) {
                for host in taken.hosts() {
                    hosts.entry(host).or_default();
                }
                for pool in taken.pools() {
                    pools.entry(pool).or_default();
                }
            }
            let Some(after) = after else {
                table.taken.remove(key);
                continue;
            };
            for host in after.hosts() {
                hosts.entry(host).or_default().push(after.clone());
            }
            for pool in after.pools() {
                pools.entry(pool).or_default().push(after.clone());
            }
            table.taken.insert(key.clone(), after.clone());
        }
        for (pool, came) in pools {
            let known = last.users.get(&pool);
            let all = merge(known.map(|users| &*users.all).unwrap_or_default(), came, &changes);
            let users = (!all.is_empty()).then(|| Users::new(all));
            if users.as_ref().map(|users| &users.followed) != known.map(|users| &users.followed) {
                let followers = users.iter().flat_map(|users| users.all.iter());
                for host in followers.flat_map(|taken| taken.hosts()) {
                    hosts.entry(host).or_default();
                }
            }
            table.users.set(pool, users);
        }
        for (key, came) in hosts {
            let known = if key == CATCH_ALL { Some(&last.rest) } else { last.hosts.get(&key) };
            let members = merge(known.map(|host| &*host.members).unwrap_or_default(), came, &changes);
            if key == CATCH_ALL {
                table.rest = Arc::new(self.host(&key, members, &table.users));
            } else {
                let host = (!members.is_empty()).then(|| Arc::new(self.host(&key, members, &table.users)));
                table.hosts.set(key, host);
            }
        }
        table
    }
}

impl Users {
    fn new(all: Box<[Arc<Taken>]>) -> Self {
        let leader =
            all.iter().filter(|taken| !taken.is_canary()).find_map(|taken| taken.settings.affinity.as_ref());
        let followed = leader.map(|affinity| Arc::new(Affinity { sets: false, ..(**affinity).clone() }));
        Self { all: all.into(), followed }
    }
}

/// A list by precedence, without the old sides of what changed and with the new ones.
fn merge(known: &[Arc<Taken>], came: Vec<Arc<Taken>>, changes: &Changes) -> Box<[Arc<Taken>]> {
    let stay = known.iter().filter(|taken| !changes.contains_key(&taken.ingress.key)).cloned();
    let mut all: Vec<Arc<Taken>> = Vec::with_capacity(known.len() + came.len());
    all.extend(stay);
    all.extend(came);
    all.sort_by(|one, other| precedence(&one.ingress, &other.ingress));
    all.into()
}

impl Projection for TableIndex {
    type View = Table;

    fn kinds(&self) -> Kinds {
        Kinds::of(&[Kind::Ingress, Kind::IngressClass])
    }

    fn build(&self, cluster: &Snapshot) -> Table {
        let empty = self.empty(Classes::of(cluster.iter::<IngressClass>(), &self.options));
        let ours = cluster.iter::<Ingress>().filter(|ingress| empty.classes.take(ingress, &self.options));
        let changes = ours
            .map(|ingress| (ingress.key.clone(), Some(Arc::new(Taken::new(ingress.clone(), &self.options)))));
        self.apply(&empty, changes.collect())
    }

    fn advance(&self, last: &Table, cluster: &Snapshot, touched: &[Touched]) -> Table {
        if last.classes.are_touched(touched, &self.options) {
            return self.build(cluster);
        }
        let mut changes = Changes::default();
        for one in touched {
            let Touched::Ingress(change) = one else { continue };
            let Some(key) = change.sides().next().map(|ingress| ingress.key.clone()) else { continue };
            let ours = change.after.as_ref().filter(|after| last.classes.take(after, &self.options));
            let after = ours.map(|after| Arc::new(Taken::new(after.clone(), &self.options)));
            if after.is_some() || last.taken.get(&key).is_some() {
                changes.insert(key, after);
            }
        }
        if changes.is_empty() { last.clone() } else { self.apply(last, changes) }
    }
}

#[cfg(test)]
mod tests;
