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
mod unserved;
mod upstream_users;

mod route_match;
mod explain;
mod servers;
mod index;
mod admission;

use std::sync::Arc;
use std::time::Duration;

use cluster::{CompactString, Key};

pub use self::admission::AdmissionVerdict;
pub use self::explain::{HostReason, PathReason};
use self::extra_names::{ExtraNames, NameKind};
pub use self::host::Host;
pub use self::index::RouteIndex;
use self::ingress_list::IngressList;
use self::parsed_ingress::ParsedIngress;
use self::path_match::PathMatch;
pub use self::request_conditions::{ConditionalRoutes, RequestConditions, ValueCondition};
pub use self::route::Route;
pub use self::route_match::RouteMatch;
use self::route_match::StepLimitHits;
pub use self::server_tls::ServerTls;
use self::servers::FoundHost;
use self::unserved::{ListedKinds, UnservedIngress};
use self::upstream_users::UpstreamUsers;
use crate::annotations::Reference;
use crate::class::Classes;
use crate::exchange::Exchange;
use crate::globals::Globals;
use crate::limits::Evicted;
use crate::options::PoolKey;
use crate::pattern::StepBudget;
use crate::plan::phase::Phase;
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
    listed: ListedKinds,
    step_limit_hits: StepLimitHits,
    limit_evictions: Evicted,
}

impl RouteTable {
    /// The route of a host (lower case, without port) and a normalised path. Without a matching rule it is that of the default
    /// backend.
    ///
    /// A known host never falls back to a wildcard or to rules without a host. Hot: no allocation.
    pub fn find(&self, host: &str, path: &str) -> RouteMatch<'_> {
        self.find_with(host, path, None, StepBudget::default())
    }

    /// The route of a request. Routes whose conditions it meets come before others of their path. Hot: no allocation without such routes.
    pub fn find_for(&self, exchange: &Exchange) -> RouteMatch<'_> {
        self.find_with(exchange.host(), exchange.path(), Some(exchange), StepBudget::default())
    }

    fn find_with(
        &self,
        host: &str,
        path: &str,
        request: Option<&Exchange>,
        mut step_budget: StepBudget,
    ) -> RouteMatch<'_> {
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
        let path_match = match (extra_name, &host.counterpart) {
            (Some((NameKind::Counterpart, _)), Some(redirect)) => PathMatch::Route(redirect),
            _ => host.find(path, request, &mut step_budget),
        };
        RouteMatch {
            table: self,
            filters: self.globals.filters(),
            host,
            path_match,
            extra_name,
            certificate,
            step_budget,
            step_limit_hits: &self.step_limit_hits,
            phase: Phase::Server,
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
        self.step_limit_hits.count()
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
        let is_complete = self.listed == ListedKinds::Complete;
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
        let is_unread = self.listed == ListedKinds::WithoutClasses;
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

#[cfg(test)]
mod tests;
