//! Selects the upstream of a request and its endpoint: canary, affinity, balancing. Random numbers and time are passed in.
//!
//! Decisions are those of ingress-nginx, with one intended difference: a canary belongs to the rule with the same host, path
//! and path type, not to the Service of that rule. So other hosts with the same Service keep their traffic, and a Service may
//! be a canary in one Ingress and a normal backend in another.
//!
//! Affinity belongs to the rules of the Ingress with the annotation. Rules of other Ingresses with the same Service read
//! its cookie and set none, as in ingress-nginx.

mod ewma;
mod weighted;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cluster::{CompactString, Key};
use http::HeaderValue;

pub use self::ewma::EwmaScores;
pub use self::weighted::WeightedTargets;
use crate::affinity::{Affinity, AffinityMode, CookieContext, RuleAffinity, rejects_same_site_none};
use crate::balancing::Balancing;
use crate::canary::CanaryPolicy;
use crate::digest::{md5, unhex};
use crate::exchange::{Exchange, RequestScheme};
use crate::options::PoolKey;
use crate::pools::{Pool, PoolMembers, Pools};

/// The name of the default backend of all Ingresses in logs.
pub const DEFAULT_UPSTREAM: &str = "upstream-default-backend";

/// The upstream of a route: a backend, and a canary that gets a part of the requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// The backend of the rule.
    pub primary: UpstreamTarget,
    /// The first canary of the rule by precedence; as in ingress-nginx, others get no requests.
    pub canary: Option<Box<Canary>>,
    /// All backends of the rule, if several share its requests; `primary` is the first of them and names the upstream in logs.
    pub split: Option<Box<WeightedTargets>>,
}

/// A canary of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Canary {
    /// The Ingress that is marked as canary.
    pub ingress: Key,
    /// Which requests it gets.
    pub policy: Arc<CanaryPolicy>,
    /// Its backend.
    pub target: UpstreamTarget,
}

/// A backend as one rule uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTarget {
    /// `<namespace>-<service>-<port>`, for logs, metrics and cookies.
    pub name: CompactString,
    /// Its endpoints.
    pub pool: PoolKey,
    /// How its endpoints share requests. A cookie takes precedence.
    pub balancing: Balancing,
    sticky: Option<Box<StickySession>>,
}

/// Cookie affinity of a rule.
#[derive(Clone, Debug, PartialEq)]
struct StickySession {
    affinity_rule: RuleAffinity,
    /// The key of the backend in cookies: `md5(md5hex(name) + name)`, written in hexadecimal digits.
    backend_key: [u8; 16],
    /// The Path of the cookie if the affinity has none of its own.
    rule_path: CompactString,
}

/// The worker's state for balancing: random numbers, round-robin positions, scores, time.
pub trait BalancerState {
    /// A random number below the bound, which is at least 1.
    fn random_below(&mut self, bound: u32) -> u32;
    /// The position of the upstream's round robin, which advances with each call.
    fn round_robin_position(&mut self, upstream: &UpstreamTarget) -> usize;
    /// The endpoint of an attempt by [`EwmaScores::pick`].
    fn ewma_endpoint(
        &mut self,
        upstream: &UpstreamTarget,
        pool: &Arc<Pool>,
        tried: &[SocketAddr],
    ) -> Option<SocketAddr>;
    /// Time since the Unix epoch.
    fn unix_time(&self) -> Duration;
    /// The number of the worker, used in cookies instead of nginx's process id.
    fn worker_id(&self) -> u32;
}

/// The target of a request, with the session of the request. Selects an endpoint for each attempt.
#[derive(Clone, Debug)]
pub struct SelectedTarget<'t> {
    /// The target.
    pub target: &'t UpstreamTarget,
    /// Whether it is the canary.
    pub canary: bool,
    /// The key of the affinity cookie.
    key: Option<CompactString>,
    /// The hash of the request, if it decides.
    hash: Option<u32>,
    client: CookieContext,
}

/// The endpoint of one attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct SelectedEndpoint {
    /// Its address.
    pub address: UpstreamAddress,
    /// `Set-Cookie` for the response. That of the last attempt is used, even if it has none. Boxed, because most have none.
    pub cookie: Option<Box<HeaderValue>>,
}

/// The address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamAddress {
    /// An address.
    Socket(SocketAddr),
    /// A host to be resolved (ExternalName).
    Host {
        /// Host name.
        host: CompactString,
        /// Port.
        port: u16,
    },
}

impl Upstream {
    /// The backend that decides whether the request can be served: that of the rule, or the drawn one of several. It is the same whenever
    /// it is asked for.
    pub fn backend(&self, exchange: &Exchange, balancer: &mut impl BalancerState) -> &UpstreamTarget {
        match &self.split {
            None => &self.primary,
            Some(split) => split.draw(exchange, balancer),
        }
    }

    /// The target of a request, decided once for all attempts: by a cookie of the primary, by a cookie of the canary, then by
    /// the conditions of the canary.
    pub fn choose<'t>(
        &'t self,
        exchange: &Exchange,
        pools: &Pools,
        balancer: &mut impl BalancerState,
    ) -> SelectedTarget<'t> {
        if let Some(split) = &self.split {
            return split.draw(exchange, balancer).choice(exchange, false);
        }
        match self.canary(exchange, pools, balancer) {
            Some(canary) => canary.target.choice(exchange, true),
            None => self.primary.choice(exchange, false),
        }
    }

    fn canary(
        &self,
        exchange: &Exchange,
        pools: &Pools,
        balancer: &mut impl BalancerState,
    ) -> Option<&Canary> {
        let canary = self.canary.as_deref()?;
        if self.primary.is_bound(exchange) {
            return None;
        }
        // Without endpoints of the primary the response is 503, even if a header chooses the canary.
        if !self.primary.has_endpoints(pools) || !canary.target.has_endpoints(pools) {
            return None;
        }
        if canary.target.is_bound(exchange)
            || canary.policy.chooses(exchange, |bound| balancer.random_below(bound))
        {
            Some(canary)
        } else {
            None
        }
    }
}

impl UpstreamTarget {
    /// A backend as a rule with this path uses it.
    pub fn new(pool: PoolKey, affinity_rule: Option<RuleAffinity>, rule_path: &CompactString) -> Self {
        let name = pool.upstream_name();
        let sticky = affinity_rule.map(|affinity_rule| {
            let backend_key = md5(&[&hex::encode(md5(&[&name])), &name]);
            Box::new(StickySession { affinity_rule, backend_key, rule_path: rule_path.clone() })
        });
        Self { name, pool, balancing: Balancing::RoundRobin, sticky }
    }

    /// The same, with another way to share requests.
    pub fn balanced(self, balancing: Balancing) -> Self {
        Self { balancing, ..self }
    }

    /// The first port of a Service that is a default backend. `name` is that of logs.
    pub fn default_backend(service: Key, name: CompactString) -> Self {
        Self { name, pool: PoolKey::first_port(service), balancing: Balancing::RoundRobin, sticky: None }
    }

    /// Whether it has endpoints, or a host that may be resolved to some. Hot: no allocation.
    pub fn has_endpoints(&self, pools: &Pools) -> bool {
        pools.get(&self.pool).is_some_and(|pool| !pool.is_empty())
    }

    /// The target without a canary.
    pub fn select(&self, exchange: &Exchange) -> SelectedTarget<'_> {
        self.choice(exchange, false)
    }

    /// Its cookie affinity.
    pub fn affinity(&self) -> Option<&Arc<Affinity>> {
        self.sticky.as_ref().map(|sticky| &sticky.affinity_rule.affinity)
    }

    /// Whether responses set the cookie of its affinity: on other paths of the same Service it is only read.
    pub fn sets_affinity_cookie(&self) -> bool {
        self.sticky.as_ref().is_some_and(|sticky| sticky.affinity_rule.sets_cookie)
    }

    /// The target of a connection without requests.
    pub fn without_request(&self) -> SelectedTarget<'_> {
        let client = CookieContext { secure: true, rejects_same_site_none: false };
        SelectedTarget { target: self, canary: false, key: None, hash: None, client }
    }

    /// Whether the request has a cookie that this target has set.
    fn is_bound(&self, exchange: &Exchange) -> bool {
        let Some(sticky) = &self.sticky else { return false };
        session(exchange, &sticky.affinity_rule.affinity.name)
            .is_some_and(|(_, backend)| backend.and_then(unhex) == Some(sticky.backend_key))
    }

    fn choice(&self, exchange: &Exchange, canary: bool) -> SelectedTarget<'_> {
        let session =
            self.sticky.as_ref().and_then(|sticky| session(exchange, &sticky.affinity_rule.affinity.name));
        let agent = || exchange.header(&http::header::USER_AGENT).unwrap_or_default();
        let hash = match &self.balancing {
            Balancing::Hash(by) if self.sticky.is_none() => Some(by.hash(exchange)),
            _ => None,
        };
        let is_conditional = self.affinity().is_some_and(|affinity| affinity.conditional_same_site_none);
        SelectedTarget {
            target: self,
            canary,
            key: session.map(|(key, _)| key.into()),
            hash,
            client: CookieContext {
                secure: exchange.scheme == RequestScheme::Https,
                rejects_same_site_none: is_conditional && rejects_same_site_none(agent()),
            },
        }
    }
}

/// Key and backend key of an affinity cookie.
fn session<'e>(exchange: &'e Exchange, name: &str) -> Option<(&'e str, Option<&'e str>)> {
    let mut parts = exchange.cookie(name)?.split('|').filter(|part| !part.is_empty());
    Some((parts.next()?, parts.next()))
}

impl SelectedTarget<'_> {
    /// The endpoint of the next attempt, given those tried before; `None` if the target has no endpoint.
    pub fn next_endpoint(
        &self,
        pools: &Pools,
        tried: &[SocketAddr],
        balancer: &mut impl BalancerState,
    ) -> Option<SelectedEndpoint> {
        self.next_of_pool(pools.get(&self.target.pool)?, tried, balancer)
    }

    /// The same, given the pool of the target.
    pub fn next_of_pool(
        &self,
        pool: &Arc<Pool>,
        tried: &[SocketAddr],
        balancer: &mut impl BalancerState,
    ) -> Option<SelectedEndpoint> {
        if let PoolMembers::External { host, port } = pool.members() {
            return Some(SelectedEndpoint {
                address: UpstreamAddress::Host { host: host.clone(), port: *port },
                cookie: None,
            });
        }
        if pool.is_empty() {
            return None;
        }
        let Some(StickySession { affinity_rule, backend_key, rule_path }) = self.target.sticky.as_deref()
        else {
            return self.balanced_endpoint(pool, tried, balancer).map(SelectedEndpoint::plain);
        };
        let affinity = &affinity_rule.affinity;
        let bound = self.key.as_deref().and_then(|key| match affinity.mode {
            AffinityMode::Balanced => pool.on_ring(key),
            AffinityMode::Persistent => pool.of_key(unhex(key)?),
        });
        if let Some(bound) = bound.filter(|_| tried.is_empty() || !affinity.change_on_failure) {
            return Some(SelectedEndpoint::plain(bound));
        }
        let (endpoint, key) = match affinity.mode {
            AffinityMode::Balanced => balanced(pool, tried, balancer)?,
            AffinityMode::Persistent => persistent(pool, tried, balancer),
        };
        let value = || format!("{key}|{}", hex::encode(backend_key));
        let set = |value: String| affinity.set_cookie(&value, rule_path, self.client, balancer.unix_time());
        let cookie = affinity_rule.sets_cookie.then(|| HeaderValue::try_from(set(value())).ok()).flatten();
        let cookie = cookie.map(Box::new);
        Some(SelectedEndpoint { address: UpstreamAddress::Socket(endpoint), cookie })
    }
}

impl SelectedTarget<'_> {
    /// The endpoint of the next attempt where no cookie decides.
    fn balanced_endpoint(
        &self,
        pool: &Arc<Pool>,
        tried: &[SocketAddr],
        balancer: &mut impl BalancerState,
    ) -> Option<SocketAddr> {
        match (&self.target.balancing, self.hash) {
            (Balancing::Hash(by), Some(hash)) => match by.subset_size {
                None => pool.of_hash(hash, tried),
                Some(size) => pool.of_subset(hash, size, tried, |bound| balancer.random_below(bound)),
            },
            (Balancing::Ewma, _) => balancer.ewma_endpoint(self.target, pool, tried),
            _ => match pool.endpoints() {
                // It needs no position, whose look-up would cost more than the choice.
                [only] => Some(*only),
                endpoints => round_robin(endpoints, tried, balancer.round_robin_position(self.target)),
            },
        }
    }
}

impl SelectedEndpoint {
    fn plain(endpoint: SocketAddr) -> Self {
        Self { address: UpstreamAddress::Socket(endpoint), cookie: None }
    }
}

/// The endpoint at a round-robin position, or the next one that was not tried yet; `None` if there is none.
pub fn round_robin(endpoints: &[SocketAddr], tried: &[SocketAddr], turn: usize) -> Option<SocketAddr> {
    let at = turn.checked_rem(endpoints.len())?;
    let mut from_here = endpoints[at..].iter().chain(&endpoints[..at]);
    from_here.find(|endpoint| !tried.contains(endpoint)).or(endpoints.get(at)).copied()
}

/// Draws random keys until one selects an endpoint that was not tried, up to 20 times as ingress-nginx does.
fn balanced(
    pool: &Pool,
    tried: &[SocketAddr],
    balancer: &mut impl BalancerState,
) -> Option<(SocketAddr, String)> {
    let (now, worker) = (balancer.unix_time(), balancer.worker_id());
    let mut drawn = None;
    for n in 1..=20 {
        let (seconds, millis) = (now.as_secs() + n, now.subsec_millis());
        let key = format!("{seconds}.{millis:03}.{worker}.{}", balancer.random_below(999_999) + 1);
        let endpoint = pool.on_ring(&key)?;
        drawn = Some((endpoint, key));
        if !tried.contains(&endpoint) {
            break;
        }
    }
    drawn
}

/// A random endpoint, if possible one that was not tried, and its key.
fn persistent(pool: &Pool, tried: &[SocketAddr], balancer: &mut impl BalancerState) -> (SocketAddr, String) {
    let endpoints = pool.endpoints();
    let untried = endpoints.iter().filter(|endpoint| !tried.contains(endpoint)).count();
    let endpoint = if untried == 0 {
        endpoints[balancer.random_below(endpoints.len() as u32) as usize]
    } else {
        let nth = balancer.random_below(untried as u32) as usize;
        let mut untried = endpoints.iter().filter(|endpoint| !tried.contains(endpoint));
        *untried.nth(nth).unwrap_or(&endpoints[0])
    };
    (endpoint, hex::encode(pool.key_of(endpoint)))
}

#[cfg(test)]
mod tests;
