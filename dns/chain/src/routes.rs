//! Routing of a query to a chain: the longest matching zone of the listening address.

use std::collections::HashMap;
use std::sync::Arc;

use dns_wire::codes::{class, opcode, rtype};
use dns_wire::{Name, Query};
use foldhash::fast::RandomState;
use tokio::runtime::Handle;

use crate::chain::Chain;
use crate::limits::ChainLimits;
use crate::listener::ListenerSettings;
use crate::plugin::Hooks;
use crate::query_metrics::QueryMetrics;
use crate::recording::Recorder;
use crate::request::Request;

/// The zones of one listening address and their chains.
pub struct ZoneRoutes {
    /// By lower-case name in wire form, without the root.
    zones: HashMap<Box<[u8]>, RouteChoice, RandomState>,
    /// The root zone. Kept apart because most servers have it, and many have nothing else.
    root: Option<RouteChoice>,
    /// Whether queries of classes other than IN are passed to the chains.
    any_class: bool,
    keeps_messages: bool,
    /// How the address is listened on.
    settings: ListenerSettings,
    /// Metrics of the queries outside all zones.
    pub(crate) dropped: Arc<QueryMetrics>,
    /// The runtime that waiting queries move to.
    pub(crate) runtime: Handle,
    /// Limits of the queries that wait.
    pub(crate) limits: ChainLimits,
}

/// Selects the queries of a zone that a server block answers (`view`).
pub trait RouteFilter: Send + Sync {
    /// Whether the server block answers the query. Hot: runs on the thread that read the packet.
    fn admits(&self, request: &Request) -> bool;
}

/// The chain that serves a zone.
#[derive(Clone)]
pub struct ZoneRoute {
    /// The chain of the server block, shared by all of the block's zones.
    pub chain: Arc<Chain>,
    /// See [`Request::key`](crate::Request::key).
    pub key: usize,
    /// Which queries the chain answers; all without a filter.
    pub filter: Option<Arc<dyn RouteFilter>>,
}

/// The routes of one zone, of which the first that admits a query is taken.
struct RouteChoice {
    first: ZoneRoute,
    others: Vec<ZoneRoute>,
}

impl RouteChoice {
    // Hot: 0 allocations.
    fn find(&self, request: &Request) -> Option<&ZoneRoute> {
        let admits = |route: &&ZoneRoute| route.filter.as_ref().is_none_or(|filter| filter.admits(request));
        Some(&self.first).filter(admits).or_else(|| self.others.iter().find(admits))
    }

    fn iter(&self) -> impl Iterator<Item = &ZoneRoute> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl ZoneRoutes {
    /// Routes to these zones. Zone names are in lower case. A zone may occur several times with different filters: the first
    /// that admits a query is taken.
    pub fn new(
        routes: Vec<(Name, ZoneRoute)>,
        dropped: QueryMetrics,
        runtime: Handle,
        limits: ChainLimits,
    ) -> Self {
        let mut zones: HashMap<Box<[u8]>, RouteChoice, RandomState> = HashMap::default();
        for (name, route) in routes {
            match zones.get_mut(name.wire()) {
                Some(choice) => choice.others.push(route),
                None => {
                    zones.insert(name.wire().into(), RouteChoice { first: route, others: Vec::new() });
                }
            }
        }
        let links = || zones.values().flat_map(RouteChoice::iter).flat_map(|route| route.chain.links());
        let any_class = links().any(|link| link.plugin.any_class());
        let keeps_messages = links().any(|link| link.plugin.hooks().contain(Hooks::MESSAGE));
        let root = zones.remove(Name::ROOT.wire());
        let (settings, dropped) = (ListenerSettings::default(), Arc::new(dropped));
        Self { zones, root, any_class, keeps_messages, settings, dropped, runtime, limits }
    }

    /// The same routes with chains that record what their plugins do with a query.
    pub(crate) fn recorded(&self, recorder: &Arc<Recorder>) -> Self {
        let record = |zone: &Name, route: &ZoneRoute| {
            let view = if route.filter.is_some() { ", by its view" } else { "" };
            let text = format!("server block of zone {zone}{view}");
            ZoneRoute { chain: Arc::new(route.chain.recorded(recorder, text)), ..route.clone() }
        };
        let choice = |zone: &Name, choice: &RouteChoice| RouteChoice {
            first: record(zone, &choice.first),
            others: choice.others.iter().map(|route| record(zone, route)).collect(),
        };
        let zones = self.zones.iter().map(|(wire, found)| {
            let zone = Name::from_wire(wire).unwrap_or(Name::ROOT);
            (wire.clone(), choice(&zone, found))
        });
        Self {
            zones: zones.collect(),
            root: self.root.as_ref().map(|root| choice(&Name::ROOT, root)),
            any_class: self.any_class,
            keeps_messages: self.keeps_messages,
            settings: self.settings,
            dropped: self.dropped.clone(),
            runtime: self.runtime.clone(),
            limits: self.limits.clone(),
        }
    }

    /// The same routes at an address that is listened on in this way.
    #[must_use]
    pub fn with_settings(mut self, settings: ListenerSettings) -> Self {
        self.settings = settings;
        self
    }

    /// How the address is listened on.
    pub fn settings(&self) -> &ListenerSettings {
        &self.settings
    }

    /// Whether the query is answered with BADVERS instead of being routed (RFC 6891 §6.1.3). CoreDNS checks the class
    /// first: a query of a class that is not served is refused, whatever its EDNS version.
    pub fn is_bad_version(&self, query: &Query) -> bool {
        query.edns.is_some_and(|edns| edns.version != 0) && (query.qclass == class::IN || self.any_class)
    }

    /// Whether a plugin asks for [`Request::message`].
    pub fn keeps_messages(&self) -> bool {
        self.keeps_messages
    }

    /// The route of the longest zone that contains the name and has a route for the query; `None` if the query is refused.
    // Hot: 0 allocations.
    pub fn find(&self, request: &Request) -> Option<&ZoneRoute> {
        let query = &request.query;
        // NOTIFY (RFC 1996) is for secondary zones, which are not built yet. CoreDNS answers it like a query.
        if query.opcode() != opcode::QUERY || (query.qclass != class::IN && !self.any_class) {
            return None;
        }
        let mut found = None;
        if !self.zones.is_empty() {
            let name = query.lower();
            for offset in query.offsets() {
                let choice = self.zones.get(&name[usize::from(*offset)..]);
                let Some(route) = choice.and_then(|choice| choice.find(request)) else { continue };
                found = Some(route);
                // A DS record belongs to the parent zone (RFC 4034 §5). As in CoreDNS, the search goes on to the highest
                // served zone above the name, not counting the root.
                if query.qtype != rtype::DS {
                    break;
                }
            }
        }
        found.or_else(|| self.root.as_ref().and_then(|choice| choice.find(request)))
    }
}
