//! Answers a query from a [`Zone`] as CoreDNS's `kubernetes` plugin does.

mod resolved;
mod apex;
mod chase;
mod external;
mod reverse;
mod describe;
mod searched;
mod srv;

use std::net::IpAddr;

use dns_wire::codes::{rcode, rtype};
use dns_wire::{Owner, Query, Reply, Section};

use crate::address::reversed;
use crate::records::{EndpointRecord, ServiceRecords, ServiceShape};
use crate::zone::{ServedZone, Zone};
pub use describe::NameSource;
pub use external::ExternalZones;
use resolved::{QuestionName, ResolvedName};
pub use searched::SearchedName;

/// Outcome of a query. All variants but [`ZoneVerdict::NotMine`] and [`ZoneVerdict::Refused`] leave a complete reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneVerdict {
    /// The name is in none of the zones; the reply is empty.
    NotMine,
    /// The name exists: the reply has records, or only the SOA record (NODATA).
    Answered,
    /// The name does not exist: NXDOMAIN with the SOA record. `fallthrough` applies.
    NameError,
    /// The name is unknown and the cluster has not been listed completely: SERVFAIL with the SOA record. `fallthrough`
    /// applies.
    NotSynced,
    /// The reply holds CNAME records and the target of the last one is outside the zone. The caller resolves the target and
    /// [appends](Reply::append) its answers, or calls [`Zone::nodata`] if that fails.
    Chase,
    /// AXFR and IXFR are not supported: the reply holds REFUSED and no records.
    Refused,
}

/// TTL of the `dns-version` record in seconds; fixed, as in CoreDNS.
const VERSION_TTL: u32 = 28_800;
/// Version of the DNS-based service discovery specification (its §2.2), as a character string.
const VERSION: &[u8] = b"\x051.1.0";

impl Zone {
    /// Answers a query of class IN into `reply`. `own` holds the addresses that this server listens on, from
    /// which the zone's name servers are derived; loopback addresses are ignored.
    pub fn answer(&self, query: &Query, own: &[IpAddr], reply: &mut Reply) -> ZoneVerdict {
        // Hot: 0 allocations, except when a reply is larger than all before it.
        reply.clear();
        let Some(origin) = self.plan.origin(query) else { return ZoneVerdict::NotMine };
        if matches!(query.qtype, rtype::AXFR | rtype::IXFR) {
            reply.rcode = rcode::REFUSED;
            return ZoneVerdict::Refused;
        }
        reply.authoritative = true;
        let question = QuestionName::new(query, origin);
        if query.qtype == rtype::SOA {
            let section = if question.left == 0 { Section::Answer } else { Section::Authority };
            self.push_soa(&question, section, reply);
            return ZoneVerdict::Answered;
        }
        if query.qtype == rtype::PTR
            && let Some(address) = reversed(query)
        {
            self.push_pointers(address, reply);
            return if reply.records().is_empty() {
                self.name_error(&question, reply)
            } else {
                ZoneVerdict::Answered
            };
        }
        let verdict = match self.resolve(&question) {
            ResolvedName::Nothing => return self.name_error(&question, reply),
            ResolvedName::Version if query.qtype != rtype::TXT => return self.name_error(&question, reply),
            ResolvedName::Version => {
                reply.push(Section::Answer, Owner::Question, rtype::TXT, VERSION_TTL, VERSION);
                ZoneVerdict::Answered
            }
            ResolvedName::External(target) => self.push_external(&question, target, own, reply),
            target => {
                self.push_records(&question, &target, own, reply);
                ZoneVerdict::Answered
            }
        };
        if reply.records().is_empty() {
            self.push_soa(&question, Section::Authority, reply);
        }
        verdict
    }

    /// Replaces the reply by NODATA (RFC 2308 §2.2), for an ExternalName whose target could not be resolved.
    pub fn nodata(&self, query: &Query, reply: &mut Reply) {
        reply.clear();
        reply.authoritative = true;
        if let Some(origin) = self.plan.origin(query) {
            self.push_soa(&QuestionName::new(query, origin), Section::Authority, reply);
        }
    }

    fn push_records(
        &self,
        question: &QuestionName<'_>,
        target: &ResolvedName<'_>,
        own: &[IpAddr],
        reply: &mut Reply,
    ) {
        match (question.query.qtype, target) {
            (rtype::A | rtype::AAAA, target) => {
                self.push_addresses(target, question.query.qtype, own, Owner::Question, reply);
            }
            (rtype::NS, ResolvedName::Apex) => self.push_servers(question, own, reply),
            (rtype::SRV, ResolvedName::Service(service, filter)) => match &service.shape {
                ServiceShape::Cluster(ports, listed) => {
                    self.push_cluster_srv(question, service, ports, *listed, filter, reply)
                }
                _ => self.push_endpoint_srv(question, service, filter, reply),
            },
            (rtype::SRV, ResolvedName::Endpoints(service, filter)) => {
                self.push_endpoint_srv(question, service, filter, reply)
            }
            (rtype::SRV, ResolvedName::Pod(address)) => self.push_pod_srv(question, *address, reply),
            _ => {}
        }
    }

    /// Adds the addresses of a resolved name that match the query type.
    fn push_addresses(
        &self,
        target: &ResolvedName<'_>,
        qtype: u16,
        own: &[IpAddr],
        owner: Owner<'_>,
        reply: &mut Reply,
    ) {
        let ttl = self.plan.options.ttl;
        match target {
            ResolvedName::Service(service, _) if qtype == rtype::A => {
                for address in &service.v4 {
                    reply.push(Section::Answer, owner, rtype::A, ttl, &address.octets());
                }
            }
            ResolvedName::Service(service, _) => {
                for address in &service.v6 {
                    reply.push(Section::Answer, owner, rtype::AAAA, ttl, &address.octets());
                }
            }
            ResolvedName::Endpoints(service, filter) => {
                let of_family = |endpoint: &EndpointRecord| endpoint.address.is_ipv4() == (qtype == rtype::A);
                for (_, endpoint) in filter.candidates(service) {
                    if of_family(&endpoint) && filter.is_first(service, endpoint) {
                        let (rtype, octets) = octets(&endpoint.address);
                        reply.push(Section::Answer, owner, rtype, ttl, octets.get());
                    }
                }
            }
            ResolvedName::Pod(address) => push_once(reply, owner, qtype, ttl, *address),
            ResolvedName::Servers => {
                for server in self.servers(own) {
                    push_once(reply, owner, qtype, ttl, server.address);
                }
            }
            _ => {}
        }
    }

    fn name_error(&self, question: &QuestionName<'_>, reply: &mut Reply) -> ZoneVerdict {
        self.push_soa(question, Section::Authority, reply);
        if self.sync_state(question.origin).synced {
            reply.rcode = rcode::NXDOMAIN;
            return ZoneVerdict::NameError;
        }
        reply.rcode = rcode::SERVFAIL;
        ZoneVerdict::NotSynced
    }
}

/// Adds an address to the answer section if it matches the query type and is not there yet.
fn push_once(reply: &mut Reply, owner: Owner<'_>, qtype: u16, ttl: u32, address: IpAddr) {
    let (rtype, octets) = octets(&address);
    let known =
        || reply.records().iter().any(|record| record.rtype == rtype && reply.rdata(record) == octets.get());
    if rtype == qtype && !known() {
        reply.push(Section::Answer, owner, rtype, ttl, octets.get());
    }
}

/// Adds an address to the additional section.
fn push_extra(reply: &mut Reply, owner: Owner<'_>, ttl: u32, address: IpAddr) {
    let (rtype, octets) = octets(&address);
    reply.push(Section::Additional, owner, rtype, ttl, octets.get());
}

/// The type and the data of an address record (RFC 1035 §3.4.1, RFC 3596 §2.2).
fn octets(address: &IpAddr) -> (u16, Octets) {
    match address {
        IpAddr::V4(address) => (rtype::A, Octets::V4(address.octets())),
        IpAddr::V6(address) => (rtype::AAAA, Octets::V6(address.octets())),
    }
}

enum Octets {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Octets {
    fn get(&self) -> &[u8] {
        match self {
            Self::V4(octets) => octets,
            Self::V6(octets) => octets,
        }
    }
}

/// The zone at the end of a name, in the query's letter case.
#[derive(Clone, Copy)]
enum Tail<'a> {
    /// A compression pointer into the question.
    Short([u8; 2]),
    /// The zone in wire form.
    Whole(&'a [u8]),
}

impl Tail<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Short(pointer) => pointer,
            Self::Whole(name) => name,
        }
    }
}

/// Appends `<name>.<service>.<namespace>.<branch>.<tail>`; `name` is in wire form and may be empty. The branch is `svc`, or
/// empty in a zone of `k8s_external`.
fn put_name(bytes: &mut Vec<u8>, name: &[u8], service: &ServiceRecords, branch: &[u8], tail: &[u8]) {
    for part in [name, &service.key, branch, tail] {
        bytes.extend_from_slice(part);
    }
}

/// Whether `<name>.<service>.<namespace>.<branch>.<zone>` fits into 255 bytes (RFC 1035 §2.3.4).
fn fits(name: &[u8], service: &ServiceRecords, branch: &[u8], zone_length: usize) -> bool {
    name.len() + service.key.len() + branch.len() + zone_length <= dns_wire::name::MAX_NAME
}

impl ServedZone {
    fn length(&self) -> usize {
        self.name.wire().len()
    }
}
