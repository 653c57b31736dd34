//! Which chain a query belongs to: the longest zone of the listening address.

use std::collections::HashMap;
use std::sync::Arc;

use dns_wire::codes::{class, opcode, rtype};
use dns_wire::{Name, Query};
use foldhash::fast::RandomState;
use tokio::runtime::Handle;

use crate::chain::Chain;
use crate::query_metrics::QueryMetrics;

/// The zones of one listening address and their chains.
pub struct Routes {
    /// By lower-case name in wire form, without the root's.
    zones: HashMap<Box<[u8]>, Arc<Chain>, RandomState>,
    /// The root's, which most servers have and many have alone.
    root: Option<Arc<Chain>>,
    /// Other classes than IN pass to the chain (CoreDNS does so where a zone has `chaos` or `forward`).
    any_class: bool,
    /// What is counted of queries that no zone takes.
    pub(crate) dropped: QueryMetrics,
    /// Where queries wait.
    pub(crate) runtime: Handle,
}

impl Routes {
    /// Routes to these zones, their names in lower case.
    pub fn new(zones: Vec<(Name, Arc<Chain>)>, dropped: QueryMetrics, runtime: Handle) -> Self {
        let any_class =
            zones.iter().any(|(_, chain)| chain.links().iter().any(|link| link.name == "forward"));
        let mut zones: HashMap<Box<[u8]>, _, _> =
            zones.into_iter().map(|(name, chain)| (name.wire().into(), chain)).collect();
        let root = zones.remove(Name::ROOT.wire());
        Self { zones, root, any_class, dropped, runtime }
    }

    /// The chain of the longest zone that holds the name, or nothing where the query is refused.
    // Hot: 0 allocations.
    pub fn find(&self, query: &Query) -> Option<&Arc<Chain>> {
        // A notification is for zones that are copies (RFC 1996); there are none. CoreDNS answers it like a query.
        if query.opcode() != opcode::QUERY || (query.qclass != class::IN && !self.any_class) {
            return None;
        }
        let mut found = None;
        if !self.zones.is_empty() {
            let name = query.lower();
            for offset in query.offsets() {
                let Some(chain) = self.zones.get(&name[usize::from(*offset)..]) else { continue };
                found = Some(chain);
                // As CoreDNS: a DS record lives in the parent's zone (RFC 4034 §5), so the search goes on for the
                // highest of our zones above the name; the root does not count.
                if query.qtype != rtype::DS {
                    break;
                }
            }
        }
        found.or(self.root.as_ref())
    }
}
