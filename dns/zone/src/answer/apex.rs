//! The zone's own records: SOA, NS and the name servers' addresses.

use std::net::IpAddr;

use dns_wire::codes::rtype;
use dns_wire::{Owner, Reply, Section};
use smallvec::SmallVec;

use super::resolved::QuestionName;
use super::{push_extra, put_name};
use crate::records::{EndpointRecord, ServiceRecords, ServiceShape};
use crate::zone::{SVC, Zone};

/// Upper bound of the SOA record's TTL in seconds, as in CoreDNS.
const SOA_TTL: u32 = 300;
/// Refresh, retry and expire of the SOA record in seconds, as in CoreDNS.
pub(super) const TIMES: [u32; 3] = [7200, 1800, 86_400];

/// A name server of the zone.
#[derive(Clone, Copy)]
pub(super) struct NameServer<'a> {
    /// The Service whose name it has; `None` for `ns.dns.<zone>`.
    service: Option<&'a ServiceRecords>,
    /// The endpoint, if that Service is headless.
    endpoint: Option<EndpointRecord>,
    pub(super) address: IpAddr,
}

impl Zone {
    /// Adds the SOA record (RFC 1035 §3.3.13). Its names repeat the zone in the query's letter case.
    pub(super) fn push_soa(&self, question: &QuestionName<'_>, section: Section, reply: &mut Reply) {
        let ttl = self.plan.options.ttl;
        let tail = question.tail();
        let owner = match question.query.offsets().get(question.left) {
            Some(offset) => Owner::Parent(*offset),
            None => Owner::Name(&[0]),
        };
        reply.push_with(section, owner, rtype::SOA, ttl.min(SOA_TTL), |bytes| {
            for name in [&b"\x02ns\x03dns"[..], b"\x0ahostmaster"] {
                bytes.extend_from_slice(name);
                bytes.extend_from_slice(tail.bytes());
            }
            for number in [self.sync_state(question.origin).serial, TIMES[0], TIMES[1], TIMES[2], ttl] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        });
    }

    /// Adds the NS records of the zone, and the addresses of the name servers.
    pub(super) fn push_servers(&self, question: &QuestionName<'_>, own: &[IpAddr], reply: &mut Reply) {
        let ttl = self.plan.options.ttl;
        let tail = question.tail();
        for server in self.servers(own) {
            let mut name = Vec::new();
            let mut space = None;
            // Services have no names in a zone of ServiceImports.
            match (server.service.filter(|_| !question.origin.multicluster), server.endpoint) {
                (Some(service), Some(endpoint)) => {
                    put_name(&mut name, service.name(endpoint, &mut space), service, SVC, tail.bytes());
                }
                (Some(service), None) => put_name(&mut name, &[], service, SVC, tail.bytes()),
                (None, _) => name.extend([b"\x02ns\x03dns", tail.bytes()].concat()),
            }
            if !reply.section(Section::Answer).any(|record| reply.rdata(record) == name) {
                reply.push(Section::Answer, Owner::Question, rtype::NS, ttl, &name);
            }
            push_extra(reply, Owner::Name(&name), ttl, server.address);
        }
    }

    /// The zone's name servers: Services with an endpoint at one of this server's own addresses or, without any, these
    /// addresses under `ns.dns.<zone>`, as in CoreDNS.
    pub(super) fn servers<'a>(&'a self, own: &[IpAddr]) -> SmallVec<[NameServer<'a>; 4]> {
        let mut servers = SmallVec::<[NameServer<'a>; 4]>::new();
        let mut found = false;
        let own = || own.iter().filter(|address| !address.is_loopback());
        for address in own() {
            for service in self.candidates_by_address(*address) {
                let here = |endpoint: EndpointRecord| endpoint.address == *address;
                if service.endpoints_at(*address).next().is_none() {
                    continue;
                }
                found = true;
                match service.shape {
                    ServiceShape::Headless => {
                        let slices = service.slices.iter().filter(|slice| slice.endpoints().any(here));
                        servers.extend(slices.flat_map(|slice| slice.endpoints()).map(|endpoint| {
                            NameServer {
                                service: Some(service),
                                endpoint: Some(endpoint),
                                address: endpoint.address,
                            }
                        }));
                    }
                    ServiceShape::Cluster(..) => {
                        let server = |address| NameServer { service: Some(service), endpoint: None, address };
                        servers.extend(service.v4.iter().map(|address| server(IpAddr::V4(*address))));
                        servers.extend(service.v6.iter().map(|address| server(IpAddr::V6(*address))));
                    }
                    ServiceShape::Missing | ServiceShape::External(_) => {}
                }
            }
        }
        if !found {
            servers.extend(own().map(|address| NameServer {
                service: None,
                endpoint: None,
                address: *address,
            }));
        }
        let mut seen = SmallVec::<[NameServer<'a>; 4]>::new();
        for server in servers {
            if !seen.iter().any(|other| other.is(&server)) {
                seen.push(server);
            }
        }
        seen
    }
}

impl NameServer<'_> {
    /// Removes duplicates: two slices or two own addresses may give the same name server.
    fn is(&self, other: &Self) -> bool {
        let service = |server: &Self| server.service.map(std::ptr::from_ref);
        self.address == other.address && service(self) == service(other) && {
            let (mut one, mut two) = (None, None);
            match (self.service, self.endpoint, other.endpoint) {
                (Some(service), Some(a), Some(b)) => service.name(a, &mut one) == service.name(b, &mut two),
                _ => true,
            }
        }
    }
}
