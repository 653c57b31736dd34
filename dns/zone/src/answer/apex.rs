//! The zone's own records: SOA, NS and the name servers' addresses.

use std::net::IpAddr;

use dns_wire::codes::rtype;
use dns_wire::{Owner, Reply, Section};
use smallvec::SmallVec;

use super::place::Asked;
use super::{push_extra, put_name};
use crate::unit::{Endpoint, Face, Unit};
use crate::zone::Zone;

/// Most seconds that a SOA record may be kept (reference §2.3).
const SOA_TTL: u32 = 300;
/// Refresh, retry and expire of the SOA record (reference §2.3).
const TIMES: [u32; 3] = [7200, 1800, 86_400];

/// A name server of the zone.
#[derive(Clone, Copy)]
pub(super) struct Server<'a> {
    /// The Service that leads to it; `None`: called `ns.dns.<zone>`.
    unit: Option<&'a Unit>,
    /// The endpoint, where that Service is headless.
    endpoint: Option<&'a Endpoint>,
    pub(super) address: IpAddr,
}

impl Zone {
    /// Adds the SOA record (RFC 1035 §3.3.13, reference §2.3); its names repeat the zone as the query writes it.
    pub(super) fn push_soa(&self, asked: &Asked<'_>, section: Section, reply: &mut Reply) {
        let ttl = self.plan.options.ttl;
        let tail = asked.tail();
        let owner = match asked.query.offsets().get(asked.left) {
            Some(offset) => Owner::Parent(*offset),
            None => Owner::Name(&[0]),
        };
        reply.push_with(section, owner, rtype::SOA, ttl.min(SOA_TTL), |bytes| {
            for name in [&b"\x02ns\x03dns"[..], b"\x0ahostmaster"] {
                bytes.extend_from_slice(name);
                bytes.extend_from_slice(tail.bytes());
            }
            for number in [self.standing(asked.origin).serial, TIMES[0], TIMES[1], TIMES[2], ttl] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        });
    }

    /// Adds the NS records of the zone, and the addresses of the name servers.
    pub(super) fn push_servers(&self, asked: &Asked<'_>, own: &[IpAddr], reply: &mut Reply) {
        let ttl = self.plan.options.ttl;
        let tail = asked.tail();
        for server in self.servers(own) {
            let mut name = Vec::new();
            let mut space = None;
            // A Service has no name in a zone of imports.
            match (server.unit.filter(|_| !asked.origin.multicluster), server.endpoint) {
                (Some(unit), Some(endpoint)) => {
                    put_name(&mut name, unit.name(endpoint, &mut space), unit, tail.bytes());
                }
                (Some(unit), None) => put_name(&mut name, &[], unit, tail.bytes()),
                (None, _) => name.extend([b"\x02ns\x03dns", tail.bytes()].concat()),
            }
            if !reply.section(Section::Answer).any(|record| reply.rdata(record) == name) {
                reply.push(Section::Answer, Owner::Question, rtype::NS, ttl, &name);
            }
            push_extra(reply, Owner::Name(&name), ttl, server.address);
        }
    }

    /// Who serves the zone: the Services with an endpoint at one of our own addresses; if there is none, these
    /// addresses themselves (reference §2.4).
    pub(super) fn servers<'a>(&'a self, own: &[IpAddr]) -> SmallVec<[Server<'a>; 4]> {
        let mut servers = SmallVec::<[Server<'a>; 4]>::new();
        let mut found = false;
        let own = || own.iter().filter(|address| !address.is_loopback());
        for address in own() {
            for unit in self.holders(*address) {
                let here = |endpoint: &Endpoint| endpoint.address == *address;
                if unit.endpoints_at(*address).next().is_none() {
                    continue;
                }
                found = true;
                match unit.face {
                    Face::Headless => {
                        let groups = unit.groups.iter().filter(|group| group.endpoints.iter().any(here));
                        servers.extend(groups.flat_map(|group| group.endpoints.iter()).map(|endpoint| {
                            Server { unit: Some(unit), endpoint: Some(endpoint), address: endpoint.address }
                        }));
                    }
                    Face::Cluster(..) => {
                        let server = |address| Server { unit: Some(unit), endpoint: None, address };
                        servers.extend(unit.v4.iter().map(|address| server(IpAddr::V4(*address))));
                        servers.extend(unit.v6.iter().map(|address| server(IpAddr::V6(*address))));
                    }
                    Face::Missing | Face::External(_) => {}
                }
            }
        }
        if !found {
            servers.extend(own().map(|address| Server { unit: None, endpoint: None, address: *address }));
        }
        let mut seen = SmallVec::<[Server<'a>; 4]>::new();
        for server in servers {
            if !seen.iter().any(|other| other.is(&server)) {
                seen.push(server);
            }
        }
        seen
    }
}

impl Server<'_> {
    /// Two slices, or two of our addresses, may lead to the same server.
    fn is(&self, other: &Self) -> bool {
        let unit = |server: &Self| server.unit.map(std::ptr::from_ref);
        self.address == other.address && unit(self) == unit(other) && {
            let (mut one, mut two) = (None, None);
            match (self.unit, self.endpoint, other.endpoint) {
                (Some(unit), Some(a), Some(b)) => unit.name(a, &mut one) == unit.name(b, &mut two),
                _ => true,
            }
        }
    }
}
