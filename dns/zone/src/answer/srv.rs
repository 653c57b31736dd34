//! SRV records (RFC 2782; DNS specification §2.3.2 and §2.4.2).

use std::net::IpAddr;

use dns_wire::codes::rtype;
use dns_wire::{Owner, Reply, Section};

use super::resolved::{EndpointFilter, QuestionName};
use super::{fits, push_extra, put_name};
use crate::records::{EndpointRecord, PortRecord, ServiceRecords, SliceRecords};
use crate::zone::Zone;

impl Zone {
    /// Adds a record for each selected port of a Service with cluster IPs; the target is the service name.
    pub(super) fn push_cluster_srv(
        &self,
        question: &QuestionName<'_>,
        service: &ServiceRecords,
        ports: &[PortRecord],
        listed: usize,
        filter: &EndpointFilter<'_>,
        reply: &mut Reply,
    ) {
        let none = service.v4.is_empty() && service.v6.is_empty();
        if none || !fits(&[], service, question.origin.branch, question.origin.length()) {
            return;
        }
        let ttl = self.plan.options.ttl;
        let weight = weight(filter.ports(ports).count() * listed);
        for (i, number) in numbers(ports, filter).enumerate() {
            if numbers(ports, filter).take(i).any(|earlier| earlier == number) {
                continue;
            }
            reply.push_with(Section::Answer, Owner::Question, rtype::SRV, ttl, |bytes| {
                put_numbers(bytes, weight, number);
                put_name(bytes, &[], service, question.origin.branch, question.zone());
            });
        }
        if reply.records().is_empty() {
            return;
        }
        let owner = Owner::Target(0);
        for address in &service.v4 {
            push_extra(reply, owner, ttl, IpAddr::V4(*address));
        }
        for address in &service.v6 {
            push_extra(reply, owner, ttl, IpAddr::V6(*address));
        }
    }

    /// Adds a record for each selected endpoint and port; the target is the name of the endpoint.
    pub(super) fn push_endpoint_srv(
        &self,
        question: &QuestionName<'_>,
        service: &ServiceRecords,
        filter: &EndpointFilter<'_>,
        reply: &mut Reply,
    ) {
        let ttl = self.plan.options.ttl;
        let candidates = || filter.candidates(service);
        let weight = weight(candidates().map(|(slice, _)| filter.ports(&slice.ports).count()).sum());
        for (slice, endpoint) in candidates() {
            let mut space = None;
            let name = service.name(endpoint, &mut space);
            if !fits(name, service, question.origin.branch, question.origin.length()) {
                continue;
            }
            for number in new_ports(service, slice, endpoint, filter) {
                reply.push_with(Section::Answer, Owner::Question, rtype::SRV, ttl, |bytes| {
                    put_numbers(bytes, weight, number);
                    put_name(bytes, name, service, question.origin.branch, question.zone());
                });
            }
        }
        // A second pass adds the addresses of the targets to the additional section.
        let mut record = 0;
        for (slice, endpoint) in candidates() {
            let mut space = None;
            let name = service.name(endpoint, &mut space);
            if !fits(name, service, question.origin.branch, question.origin.length()) {
                continue;
            }
            let own = new_ports(service, slice, endpoint, filter).count();
            let known = |(slice, other): (&SliceRecords, EndpointRecord)| {
                filter.is_in_zone(service, other) && numbers(&slice.ports, filter).next().is_some()
            };
            let numbered = numbers(&slice.ports, filter).next().is_some();
            if numbered && !service.same_name_and_address(endpoint).any(known) {
                let whole;
                let owner = if own > 0 {
                    Owner::Target(record)
                } else {
                    // An earlier endpoint with the same name has added the SRV records.
                    whole = target(name, service, question);
                    Owner::Name(whole.wire())
                };
                push_extra(reply, owner, question.origin.address_ttl, endpoint.address);
            }
            record += own;
        }
    }

    /// Adds the record of a Pod name, with port 0 as in CoreDNS.
    pub(super) fn push_pod_srv(&self, question: &QuestionName<'_>, address: IpAddr, reply: &mut Reply) {
        let ttl = self.plan.options.ttl;
        let (from, to) = (question.start(question.left - 3), question.start(question.left));
        let pod = &question.query.lower()[from..to];
        reply.push_with(Section::Answer, Owner::Question, rtype::SRV, ttl, |bytes| {
            put_numbers(bytes, weight(1), 0);
            bytes.extend_from_slice(pod);
            bytes.extend_from_slice(question.zone());
        });
        push_extra(reply, Owner::Target(0), ttl, address);
    }
}

/// Numbers of the selected ports.
pub(super) fn numbers<'a>(
    ports: &'a [PortRecord],
    filter: &'a EndpointFilter<'_>,
) -> impl Iterator<Item = u16> + 'a {
    filter.ports(ports).filter_map(|port| port.number)
}

/// Port numbers of an endpoint, each once, without those that an earlier endpoint with the same name has added.
fn new_ports<'a>(
    service: &'a ServiceRecords,
    slice: &'a SliceRecords,
    endpoint: EndpointRecord,
    filter: &'a EndpointFilter<'_>,
) -> impl Iterator<Item = u16> + 'a {
    let has = |ports: &[PortRecord], number| numbers(ports, filter).any(|other| other == number);
    let brought =
        move |number| same_name(service, endpoint, filter).any(|(slice, _)| has(&slice.ports, number));
    numbers(&slice.ports, filter)
        .enumerate()
        .filter(move |(i, number)| !numbers(&slice.ports, filter).take(*i).any(|other| other == *number))
        .map(|(_, number)| number)
        .filter(move |number| !brought(*number))
}

/// Earlier selected endpoints with the same name.
fn same_name<'a>(
    service: &'a ServiceRecords,
    endpoint: EndpointRecord,
    filter: &'a EndpointFilter<'_>,
) -> impl Iterator<Item = (&'a SliceRecords, EndpointRecord)> {
    service.same_name(endpoint).filter(|(_, endpoint)| filter.is_in_zone(service, *endpoint))
}

/// The weight of each of `count` records: their even share of 100, at least 1. Computed in floating point as in CoreDNS,
/// since rounding differs otherwise.
pub(super) fn weight(count: usize) -> u16 {
    let share = 100.0 / (100 * count.max(1)) as f64 * 100.0;
    (share.floor() as u16).max(1)
}

/// Appends priority 0, weight and port.
pub(super) fn put_numbers(bytes: &mut Vec<u8>, weight: u16, port: u16) {
    for number in [0, weight, port] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
}

/// The target as an uncompressed name.
fn target(name: &[u8], service: &ServiceRecords, question: &QuestionName<'_>) -> dns_wire::Name {
    let mut wire = [0; dns_wire::name::MAX_NAME + 1];
    let mut len = 0;
    for part in [name, &service.key, question.origin.branch, question.zone()] {
        let end = (len + part.len()).min(wire.len());
        wire[len..end].copy_from_slice(&part[..end - len]);
        len = end;
    }
    dns_wire::Name::from_wire(&wire).unwrap_or(dns_wire::Name::ROOT)
}
