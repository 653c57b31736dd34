//! Routing of a query to a chain: the longest matching zone of the listening address.

use std::collections::HashMap;
use std::sync::Arc;

use dns_wire::codes::{class, opcode, rtype};
use dns_wire::{Name, Query};
use foldhash::fast::RandomState;
use tokio::runtime::Handle;

use crate::chain::Chain;
use crate::limits::ChainLimits;
use crate::query_metrics::QueryMetrics;

/// The zones of one listening address and their chains.
pub struct ZoneRoutes {
    /// By lower-case name in wire form, without the root.
    zones: HashMap<Box<[u8]>, ZoneRoute, RandomState>,
    /// The root zone. Kept apart because most servers have it, and many have nothing else.
    root: Option<ZoneRoute>,
    /// Whether queries of classes other than IN are passed to the chains.
    any_class: bool,
    /// Metrics of the queries outside all zones.
    pub(crate) dropped: QueryMetrics,
    /// The runtime that waiting queries move to.
    pub(crate) runtime: Handle,
    /// Limits of the queries that wait.
    pub(crate) limits: ChainLimits,
}

/// The chain that serves a zone.
#[derive(Clone)]
pub struct ZoneRoute {
    /// The chain of the server block, shared by all of the block's zones.
    pub chain: Arc<Chain>,
    /// See [`Request::key`](crate::Request::key).
    pub key: usize,
}

impl ZoneRoutes {
    /// Routes to these zones. Zone names are in lower case.
    pub fn new(
        zones: Vec<(Name, ZoneRoute)>,
        dropped: QueryMetrics,
        runtime: Handle,
        limits: ChainLimits,
    ) -> Self {
        let any_class =
            zones.iter().any(|(_, route)| route.chain.links().iter().any(|link| link.plugin.any_class()));
        let mut zones: HashMap<Box<[u8]>, _, _> =
            zones.into_iter().map(|(name, route)| (name.wire().into(), route)).collect();
        let root = zones.remove(Name::ROOT.wire());
        Self { zones, root, any_class, dropped, runtime, limits }
    }

    /// Whether the query is answered with BADVERS instead of being routed (RFC 6891 §6.1.3). CoreDNS checks the class
    /// first: a query of a class that is not served is refused, whatever its EDNS version.
    pub fn is_bad_version(&self, query: &Query) -> bool {
        query.edns.is_some_and(|edns| edns.version != 0) && (query.qclass == class::IN || self.any_class)
    }

    /// The route of the longest zone that contains the name; `None` if the query is refused.
    // Hot: 0 allocations.
    pub fn find(&self, query: &Query) -> Option<&ZoneRoute> {
        // NOTIFY (RFC 1996) is for secondary zones, which are not built yet. CoreDNS answers it like a query.
        if query.opcode() != opcode::QUERY || (query.qclass != class::IN && !self.any_class) {
            return None;
        }
        let mut found = None;
        if !self.zones.is_empty() {
            let name = query.lower();
            for offset in query.offsets() {
                let Some(route) = self.zones.get(&name[usize::from(*offset)..]) else { continue };
                found = Some(route);
                // A DS record belongs to the parent zone (RFC 4034 §5). As in CoreDNS, the search goes on to the highest
                // served zone above the name, not counting the root.
                if query.qtype != rtype::DS {
                    break;
                }
            }
        }
        found.or(self.root.as_ref())
    }
}
