//! `etcd`: answers from records of SkyDNS in etcd, version 3.
//!
//! Each query reads etcd, through its JSON gateway, so that a change is visible at once; `cache` spares it repeated ones. A limit on
//! the queries that wait for etcd keeps a slow one from taking the places of others.

mod client;
#[cfg(any(test, feature = "fuzz"))]
mod fuzz;
mod key;
mod lookup;
mod metrics;
mod options;
mod record;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dns_wire::codes::{class, rcode, rtype};
use dns_wire::{Name, Owner, Reply, Section};
use futures_util::future::BoxFuture;

use crate::http_client::HttpClient;
use crate::names::Zones;
use crate::plugin::{Answer, Flow, Plugin, QueryFailure, Runner};
use crate::request::Request;
use crate::setup::{PluginEntry, PluginInstances, Setup, SetupErrors};
use client::EtcdClient;
#[cfg(any(test, feature = "fuzz"))]
pub use fuzz::etcd_record;
use key::KeyPrefix;
use lookup::{FoundRecord, Lookup, LookupError};
use metrics::EtcdMetrics;
use options::EtcdOptions;

/// See the module.
pub(super) const ENTRY: PluginEntry = PluginEntry {
    name: "etcd",
    about: "answers from records of SkyDNS in etcd",
    syntax: &[
        "etcd skydns.local",
        "etcd skydns.local 10.0.0.0/24 {\n    path /skydns\n    endpoint http://10.0.0.1:2379 http://10.0.0.2:2379\n    credentials dns secret\n    fallthrough in-addr.arpa\n    min-lease-ttl 10s\n    max-lease-ttl 1h\n    no_apex_fallback\n}",
        "etcd skydns.local {\n    endpoint https://etcd.example.org:2379\n    tls\n}",
    ],
    options: options::OPTIONS,
    early: false,
    metrics: |metrics| {
        EtcdMetrics::new(metrics);
    },
    setup,
};

/// The most queries that wait for etcd at a time.
const MAX_QUERIES: usize = 64;

/// How long all lookups for a query may take, as a request of CoreDNS.
const LIMIT: Duration = Duration::from_secs(5);

/// The TTL of the SOA record and of denials in seconds.
const SOA_TTL: u32 = 30;

struct Etcd {
    zones: Zones,
    fallthrough: Option<Zones>,
    prefix: KeyPrefix,
    client: EtcdClient,
    /// The shortest and the longest TTL of a record with a lease, in seconds.
    lease_ttls: (u32, u32),
    no_apex_fallback: bool,
    /// The queries that wait for etcd.
    waiting: AtomicUsize,
    metrics: EtcdMetrics,
}

/// Counts a waiting query until it is dropped.
struct Waiting<'e>(&'e AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Plugin for Etcd {
    fn query(&self, request: &mut Request, _: &mut Answer) -> Flow {
        if request.query.qclass != class::IN || !self.zones.contain(&request.query) {
            return Flow::Next;
        }
        // Checked here as well as in `wait`, so that under overload a query is rejected on the fast path.
        if self.waiting.load(Relaxed) >= MAX_QUERIES {
            return self.reject();
        }
        Flow::Wait
    }

    fn asks_others(&self) -> bool {
        true
    }

    fn wait<'a>(
        &'a self,
        request: &'a mut Request,
        answer: &'a mut Answer,
        runner: &'a dyn Runner,
    ) -> BoxFuture<'a, Flow> {
        Box::pin(async move {
            let waiting = self.waiting.fetch_add(1, Relaxed);
            let _waiting = Waiting(&self.waiting);
            if waiting >= MAX_QUERIES {
                return self.reject();
            }
            self.answer(request, answer, runner).await
        })
    }
}

impl Etcd {
    fn reject(&self) -> Flow {
        self.metrics.rejected.inc();
        Flow::Fail(QueryFailure::overloaded())
    }

    async fn answer(&self, request: &Request, answer: &mut Answer, runner: &dyn Runner) -> Flow {
        let found = self.zones.find(&request.query).and_then(|at| self.zones.names().get(at));
        let Some(&zone) = found else { return Flow::Next };
        answer.reply.authoritative = true;
        if request.query.qtype == rtype::SOA {
            push_soa(&mut answer.reply, Section::Answer, &zone);
            return Flow::Done;
        }
        let (lookups, leases) = (0, HashMap::new());
        let mut lookup = Lookup { etcd: self, zone, request, runner, lookups, leases, truncated: false };
        let result = tokio::time::timeout(LIMIT, lookup.answers()).await;
        let result = result
            .unwrap_or_else(|_elapsed| Err(LookupError::Failed("etcd: no answer within 5s".to_owned())));
        match result {
            Ok([records, extra]) => {
                answer.reply.truncated = lookup.truncated;
                self.put(&mut answer.reply, &zone, [&records, &extra]);
            }
            Err(LookupError::NameError)
                if self.fallthrough.as_ref().is_some_and(|zones| zones.contain(&request.query)) =>
            {
                answer.reply.clear();
                return Flow::Next;
            }
            Err(LookupError::NameError) => {
                answer.reply.rcode = rcode::NXDOMAIN;
                push_soa(&mut answer.reply, Section::Authority, &zone);
            }
            Err(LookupError::Failed(why)) => {
                answer.reply.rcode = rcode::SERVFAIL;
                push_soa(&mut answer.reply, Section::Authority, &zone);
                answer.failure = Some(QueryFailure::new(rcode::SERVFAIL, why));
            }
        }
        Flow::Done
    }

    fn put(&self, reply: &mut Reply, zone: &Name, [records, extra]: [&[FoundRecord]; 2]) {
        lookup::put(reply, Section::Answer, records);
        if records.is_empty() {
            push_soa(reply, Section::Authority, zone);
        } else {
            lookup::put(reply, Section::Additional, extra);
        }
    }
}

/// Adds the SOA record of the zone. Its serial is the time, as in CoreDNS: etcd has no time of the last change.
fn push_soa(reply: &mut Reply, section: Section, zone: &Name) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    reply.push_with(section, Owner::Name(zone.wire()), rtype::SOA, SOA_TTL, |bytes| {
        for name in [&b"\x02ns\x03dns"[..], b"\x0ahostmaster"] {
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(zone.wire());
        }
        for number in [now.as_secs() as u32, 7200, 1800, 86_400, SOA_TTL] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
    });
}

fn setup(setup: &mut Setup<'_>) -> Result<PluginInstances, SetupErrors> {
    let directive = setup.once()?;
    let zones = Zones::read_or_keys(&directive.args, setup.block)?;
    let options = options::read(setup, directive)?;
    let EtcdOptions { path, servers, credentials, tls, fallthrough, lease_ttls, no_apex_fallback } = options;
    let members = servers.into_iter().map(|server| HttpClient::new(server, &tls));
    let members = members.collect::<Result<_, _>>().map_err(|why| {
        vec![directive.property("endpoint").error(format!("etcd: {why}"), "https://HOST:PORT")]
    })?;
    let metrics = EtcdMetrics::new(&setup.context.metrics);
    Ok(vec![Arc::new(Etcd {
        zones,
        fallthrough,
        prefix: KeyPrefix::new(&path),
        client: EtcdClient::new(members, credentials, metrics.clone()),
        lease_ttls,
        no_apex_fallback,
        waiting: AtomicUsize::new(0),
        metrics,
    })])
}
