//! `ndots`: follows the search list of a Pod for it, from the namespace in the name that it asks for.
//!
//! A Pod of the namespace `shop` that looks `example.org` up asks for `example.org.shop.svc.cluster.local`, then for the name in
//! `svc.cluster.local`, in `cluster.local`, in the search list of its node, and last for `example.org`. The first query has the
//! namespace and so the whole list; no Pod has to be known.

use std::time::Duration;

use dns_wire::codes::{rcode, rtype};
use dns_wire::{Name, Owner, Query, Reply, Section};
use dns_zone::{SearchedName, Zone};
use telemetry::metrics::{Counter, Family, Registry};

use super::RESOLV_CONF;
use crate::plugin::{Answer, Runner};
use crate::request::Request;
use crate::search_path::search_list;

/// The most names that are tried for a query; resolvers have 6 to 32 search domains.
const MAX_NAMES: usize = 32;

/// How long the names are tried for a query. Afterwards it is denied, and the client tries them itself. Below the 5 s after which
/// resolvers repeat a query (resolv.conf(5)).
const LIMIT: Duration = Duration::from_secs(2);

/// Follows search lists.
pub(super) struct SearchWalk {
    /// How many dots a name has at least that clients ask for as it is.
    pub ndots: usize,
    /// The longest TTL of the CNAME in seconds: a Service may be created whose name comes first.
    ttl: u32,
    /// The search list of this host, which ends those of its Pods.
    host: Vec<Name>,
    answered: Counter,
    denied: Counter,
    overloaded: Counter,
}

/// The counters of queries by result.
pub(super) fn counts(metrics: &Registry) -> Family<Counter, 1> {
    metrics.counters(
        "portolan_kubernetes_ndots_total",
        "Queries whose search list was followed, by result: answered, denied, or overloaded.",
        ["result"],
    )
}

impl SearchWalk {
    pub(super) fn new(ndots: usize, ttl: u32, metrics: &Registry) -> Self {
        let host = std::fs::read_to_string(RESOLV_CONF).map(|text| search_list(&text)).unwrap_or_default();
        let counts = counts(metrics);
        let count = |result: &str| counts.with([result]);
        let (answered, denied, overloaded) = (count("answered"), count("denied"), count("overloaded"));
        Self { ndots, ttl, host, answered, denied, overloaded }
    }

    /// Counts a query that is denied because too many wait.
    pub(super) fn refuse(&self) {
        self.overloaded.inc();
    }

    /// Replaces the denial in `reply` by the first answer for the other names of the search list, if there is one.
    pub(super) async fn follow(
        &self,
        zone: &Zone,
        request: &Request,
        reply: &mut Reply,
        runner: &dyn Runner,
    ) {
        let Some(searched) = zone.searched(&request.query, self.ndots) else { return };
        let names = self.names(&searched);
        match tokio::time::timeout(LIMIT, first_answer(&names, request, runner)).await {
            Ok(Some((target, query, found))) => {
                self.answered.inc();
                self.put(reply, (&target, &query, &found));
            }
            // As if the list had not been followed: the client continues, and gets the error of an upstream itself.
            Ok(None) | Err(_) => self.denied.inc(),
        }
    }

    /// The names after the first one, in the order of the search list.
    fn names(&self, searched: &SearchedName<'_>) -> Vec<Name> {
        let svc = [&b"\x03svc"[..], searched.zone.wire()].concat();
        let below = [&*svc, searched.zone.wire()].into_iter();
        let zones = below.chain(self.host.iter().map(Name::wire)).take(MAX_NAMES - 1).chain([&[0][..]]);
        zones.filter_map(|zone| Name::from_wire(&[searched.labels, zone].concat())).collect()
    }

    /// A CNAME to the name that was found, and its answer.
    fn put(&self, reply: &mut Reply, (target, query, found): (&Name, &Query, &Answer)) {
        let found = &found.reply;
        reply.clear();
        reply.authoritative = found.authoritative;
        reply.recursion_available = found.recursion_available;
        reply.truncated = found.truncated;
        let shortest = found.records().iter().map(|record| record.ttl).min();
        let ttl = shortest.map_or(self.ttl, |shortest| shortest.min(self.ttl));
        reply.push(Section::Answer, Owner::Question, rtype::CNAME, ttl, target.wire());
        reply.append(found, query);
        if found.section(Section::Answer).next().is_none() {
            // NODATA (RFC 2308 §2.2).
            reply.append_section(Section::Authority, found, query);
        }
    }
}

/// The first name that exists, the query for it, and its answer. Each name counts and is logged as a query of its own, as those
/// of the client would be.
async fn first_answer(
    names: &[Name],
    request: &Request,
    runner: &dyn Runner,
) -> Option<(Name, Query, Answer)> {
    for name in names {
        let mut found = Answer::default();
        let Some(query) = runner.resolve(request, name, request.query.qtype, &mut found).await else {
            continue;
        };
        if found.failure.is_none() && !found.dropped && found.reply.rcode == rcode::NOERROR {
            return Some((*name, query, found));
        }
    }
    None
}
