//! SRV records (RFC 2782, specification §2.3.2 and §2.4.2).

use std::net::IpAddr;

use dns_wire::codes::rtype;
use dns_wire::{Owner, Reply, Section};

use super::place::{Asked, Filter};
use super::{fits, push_extra, put_name};
use crate::unit::{Endpoint, Group, Port, Unit};
use crate::zone::Zone;

impl Zone {
    /// Adds a record for each port of a Service with cluster IPs; all point to the service name.
    pub(super) fn push_cluster_srv(
        &self,
        asked: &Asked<'_>,
        unit: &Unit,
        ports: &[Port],
        listed: usize,
        filter: &Filter<'_>,
        reply: &mut Reply,
    ) {
        let none = unit.v4.is_empty() && unit.v6.is_empty();
        if none || !fits(&[], unit, asked.origin.length()) {
            return;
        }
        let ttl = self.plan.options.ttl;
        let weight = weight(filter.ports(ports).count() * listed);
        for (i, port) in ports.iter().enumerate() {
            let Some(number) = meant(port, filter) else { continue };
            if ports[..i].iter().any(|earlier| meant(earlier, filter) == Some(number)) {
                continue;
            }
            reply.push_with(Section::Answer, Owner::Question, rtype::SRV, ttl, |bytes| {
                put_numbers(bytes, weight, number);
                put_name(bytes, &[], unit, asked.zone());
            });
        }
        if reply.records().is_empty() {
            return;
        }
        // The target is part of the question, if the client wrote that in lower case.
        let (name, at) = (asked.query.name(), asked.start(asked.left - 3));
        let end = asked.start(asked.left);
        let whole;
        let owner = if name[at..end] == asked.query.lower()[at..end] {
            Owner::Parent(at as u8)
        } else {
            whole = target(&[], unit, asked.zone());
            Owner::Name(whole.wire())
        };
        for address in &unit.v4 {
            push_extra(reply, owner, ttl, IpAddr::V4(*address));
        }
        for address in &unit.v6 {
            push_extra(reply, owner, ttl, IpAddr::V6(*address));
        }
    }

    /// Adds a record for each endpoint and port that are meant; each points to the name of the endpoint.
    pub(super) fn push_endpoint_srv(
        &self,
        asked: &Asked<'_>,
        unit: &Unit,
        filter: &Filter<'_>,
        reply: &mut Reply,
    ) {
        let ttl = self.plan.options.ttl;
        let candidates = || filter.candidates(unit);
        let weight = weight(candidates().map(|(group, _)| filter.ports(&group.ports).count()).sum());
        for (group, endpoint) in candidates() {
            let mut space = None;
            let label = unit.label(endpoint, &mut space);
            if !fits(label, unit, asked.origin.length()) {
                continue;
            }
            for (i, port) in group.ports.iter().enumerate() {
                let Some(number) = meant(port, filter) else { continue };
                let same = |ports: &[Port]| ports.iter().any(|other| meant(other, filter) == Some(number));
                if same(&group.ports[..i])
                    || namesakes(unit, endpoint, filter).any(|(group, _)| same(&group.ports))
                {
                    continue;
                }
                reply.push_with(Section::Answer, Owner::Question, rtype::SRV, ttl, |bytes| {
                    put_numbers(bytes, weight, number);
                    put_name(bytes, label, unit, asked.zone());
                });
            }
        }
        for (group, endpoint) in candidates() {
            let mut space = None;
            let label = unit.label(endpoint, &mut space);
            let numbered = |group: &Group| group.ports.iter().any(|port| meant(port, filter).is_some());
            let known =
                |(group, other): (&Group, &Endpoint)| other.address == endpoint.address && numbered(group);
            if numbered(group)
                && fits(label, unit, asked.origin.length())
                && !namesakes(unit, endpoint, filter).any(known)
            {
                let name = target(label, unit, asked.zone());
                push_extra(reply, Owner::Name(name.wire()), ttl, endpoint.address);
            }
        }
    }

    /// Adds the record of a Pod's name: port 0, as CoreDNS has it (reference §2.4).
    pub(super) fn push_pod_srv(&self, asked: &Asked<'_>, address: IpAddr, reply: &mut Reply) {
        let ttl = self.plan.options.ttl;
        let (from, to) = (asked.start(asked.left - 3), asked.start(asked.left));
        let pod = &asked.query.lower()[from..to];
        let start = 6;
        reply.push_with(Section::Answer, Owner::Question, rtype::SRV, ttl, |bytes| {
            put_numbers(bytes, weight(1), 0);
            bytes.extend_from_slice(pod);
            bytes.extend_from_slice(asked.zone());
        });
        let record = reply.records()[0];
        let name = dns_wire::Name::from_wire(&reply.rdata(&record)[start..]).unwrap_or(dns_wire::Name::ROOT);
        push_extra(reply, Owner::Name(name.wire()), ttl, address);
    }
}

/// The number of a port that is meant and has one.
fn meant(port: &Port, filter: &Filter<'_>) -> Option<u16> {
    filter.ports(std::slice::from_ref(port)).next()?.number
}

/// Earlier endpoints of the same name that are meant, too.
fn namesakes<'a>(
    unit: &'a Unit,
    endpoint: &'a Endpoint,
    filter: &'a Filter<'_>,
) -> impl Iterator<Item = (&'a Group, &'a Endpoint)> {
    unit.namesakes(endpoint).filter(|(_, endpoint)| filter.is_in_zone(unit, endpoint))
}

/// The weight of each of `count` records, at least 1 (reference §2.4). Divides as CoreDNS does, in floating point.
fn weight(count: usize) -> u16 {
    let share = 100.0 / (100 * count.max(1)) as f64 * 100.0;
    (share.floor() as u16).max(1)
}

/// Priority, weight and port.
fn put_numbers(bytes: &mut Vec<u8>, weight: u16, port: u16) {
    for number in [0, weight, port] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
}

/// The target as a name of its own.
fn target(label: &[u8], unit: &Unit, zone: &[u8]) -> dns_wire::Name {
    let mut wire = [0; dns_wire::name::MAX_NAME + 1];
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        let end = (len + bytes.len()).min(wire.len());
        wire[len..end].copy_from_slice(&bytes[..end - len]);
        len = end;
    };
    if !label.is_empty() {
        put(&[label.len() as u8]);
        put(label);
    }
    put(&unit.key);
    put(b"\x03svc");
    put(zone);
    dns_wire::Name::from_wire(&wire).unwrap_or(dns_wire::Name::ROOT)
}
