//! The records of names outside of the cluster: of Services, of addresses, and of the zone itself.

use std::net::IpAddr;

use dns_wire::codes::rtype;
use dns_wire::{Owner, Reply, Section};
use smallvec::SmallVec;

use super::ExternalZones;
use crate::answer::apex::TIMES;
use crate::answer::resolved::{EndpointFilter, QuestionName};
use crate::answer::srv::{numbers, put_numbers, weight};
use crate::answer::{fits, octets, push_extra, push_once, put_name};
use crate::records::{ExternalHost, ExternalRecords, ServiceRecords, ServiceShape};
use crate::zone::Zone;

impl Zone {
    /// Adds the records of a Service with external hosts. Returns whether there are names among these that have to be
    /// resolved.
    pub(super) fn push_external_service(
        &self,
        zones: &ExternalZones,
        question: &QuestionName<'_>,
        (service, external): (&ServiceRecords, &ExternalRecords),
        filter: EndpointFilter<'_>,
        reply: &mut Reply,
    ) -> bool {
        let ttl = self.plan.options.ttl;
        let (qtype, mut has_names) = (question.query.qtype, false);
        match qtype {
            rtype::A | rtype::AAAA => {
                for (at, host) in external.hosts.iter().enumerate() {
                    match host {
                        ExternalHost::Address(address) => {
                            push_once(reply, Owner::Question, qtype, zones.ttl, *address);
                        }
                        ExternalHost::Name(name) if !external.hosts[..at].contains(host) => {
                            reply.push(Section::Answer, Owner::Question, rtype::CNAME, ttl, name);
                            has_names = true;
                        }
                        ExternalHost::Name(_) => {}
                    }
                }
            }
            rtype::SRV => {
                let ports = || filter.ports(&external.ports).count();
                let weight = weight(ports() * external.hosts.len());
                let mut first = None;
                for (at, host) in external.hosts.iter().enumerate() {
                    let name = match host {
                        ExternalHost::Name(name) if !external.hosts[..at].contains(host) => Some(name),
                        ExternalHost::Name(_) => continue,
                        // All addresses have the name of the Service.
                        ExternalHost::Address(_) if first.is_some() => continue,
                        ExternalHost::Address(_) => None,
                    };
                    if name.is_none() && !fits(&[], service, &[], question.origin.length()) {
                        continue;
                    }
                    for (i, number) in numbers(&external.ports, &filter).enumerate() {
                        if numbers(&external.ports, &filter).take(i).any(|earlier| earlier == number) {
                            continue;
                        }
                        has_names |= name.is_some();
                        if name.is_none() && first.is_none() {
                            first = Some(reply.records().len());
                        }
                        reply.push_with(Section::Answer, Owner::Question, rtype::SRV, ttl, |bytes| {
                            put_numbers(bytes, weight, number);
                            match name {
                                Some(name) => bytes.extend_from_slice(name),
                                None => put_name(bytes, &[], service, &[], question.zone()),
                            }
                        });
                    }
                }
                if let Some(first) = first {
                    for (at, host) in external.hosts.iter().enumerate() {
                        if let ExternalHost::Address(address) = host
                            && !external.hosts[..at].contains(host)
                        {
                            push_extra(reply, Owner::Target(first), zones.ttl, *address);
                        }
                    }
                }
            }
            _ => {}
        }
        has_names
    }

    pub(super) fn push_external_endpoints(
        &self,
        zones: &ExternalZones,
        question: &QuestionName<'_>,
        service: &ServiceRecords,
        filter: EndpointFilter<'_>,
        reply: &mut Reply,
    ) {
        match question.query.qtype {
            qtype @ (rtype::A | rtype::AAAA) => {
                for (_, endpoint) in filter.candidates(service) {
                    if filter.is_first(service, endpoint) {
                        push_address(reply, qtype, zones.ttl, endpoint.address);
                    }
                }
            }
            rtype::SRV => self.push_endpoint_srv(question, service, &filter, reply),
            _ => {}
        }
    }

    /// Adds the names of the Services with an external address.
    pub(super) fn push_external_pointers(&self, zones: &ExternalZones, address: IpAddr, reply: &mut Reply) {
        let zone = zones.primary.wire();
        let has = |service: &&ServiceRecords| {
            service.external.as_ref().is_some_and(|external| external.addresses().any(|own| own == address))
        };
        let mut services: SmallVec<[&ServiceRecords; 4]> = self.pointed(address).filter(has).collect();
        services.sort_by(|a, b| a.key.cmp(&b.key));
        for service in services {
            if fits(&[], service, &[], zone.len()) {
                reply.push_with(Section::Answer, Owner::Question, rtype::PTR, zones.ttl, |bytes| {
                    put_name(bytes, &[], service, &[], zone);
                });
            }
        }
    }

    /// Answers SOA and NS queries for the zone itself.
    pub(super) fn push_external_apex(
        &self,
        zones: &ExternalZones,
        question: &QuestionName<'_>,
        own: &[IpAddr],
        reply: &mut Reply,
    ) {
        match question.query.qtype {
            rtype::SOA => self.push_external_soa(zones, question, Section::Answer, reply),
            rtype::NS => {
                let tail = question.tail();
                reply.push_with(Section::Answer, Owner::Question, rtype::NS, zones.ttl, |bytes| {
                    for part in [b"\x03ns1", &*zones.apex, tail.bytes()] {
                        bytes.extend_from_slice(part);
                    }
                });
                for address in self.external_servers(zones, own) {
                    push_extra(reply, Owner::Target(0), zones.ttl, address);
                }
            }
            _ => {}
        }
    }

    /// Adds the SOA record (RFC 1035 §3.3.13).
    pub(super) fn push_external_soa(
        &self,
        zones: &ExternalZones,
        question: &QuestionName<'_>,
        section: Section,
        reply: &mut Reply,
    ) {
        let tail = question.tail();
        let owner = match question.query.offsets().get(question.left) {
            Some(offset) => Owner::Parent(*offset),
            None => Owner::Name(&[0]),
        };
        reply.push_with(section, owner, rtype::SOA, zones.ttl, |bytes| {
            for name in [&b"\x03ns1"[..], b"\x0ahostmaster"] {
                for part in [name, &zones.apex, tail.bytes()] {
                    bytes.extend_from_slice(part);
                }
            }
            for number in [self.local.serial, TIMES[0], TIMES[1], TIMES[2], zones.ttl] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
        });
    }

    /// The addresses of the name server: external ones of the Services that lead to this server or, if no Service does, its own.
    pub(super) fn external_servers(&self, zones: &ExternalZones, own: &[IpAddr]) -> SmallVec<[IpAddr; 4]> {
        let mut servers = SmallVec::<[IpAddr; 4]>::new();
        let mut is_behind_service = false;
        let own = || own.iter().filter(|address| !address.is_loopback());
        for address in own() {
            for service in self.candidates_by_address(*address) {
                if service.endpoints_at(*address).next().is_none() {
                    continue;
                }
                is_behind_service = true;
                if zones.headless && service.shape == ServiceShape::Headless {
                    let here = service
                        .slices
                        .iter()
                        .filter(|slice| slice.endpoints().any(|endpoint| endpoint.address == *address));
                    servers.extend(here.flat_map(|slice| slice.endpoints()).map(|endpoint| endpoint.address));
                } else {
                    servers.extend(service.external.iter().flat_map(|external| external.addresses()));
                }
            }
        }
        if !is_behind_service {
            servers.extend(own().copied());
        }
        let mut seen = SmallVec::<[IpAddr; 4]>::new();
        for address in servers {
            if !seen.contains(&address) {
                seen.push(address);
            }
        }
        seen
    }
}

/// Adds an address that is not there yet to the answer section if it matches the query type.
fn push_address(reply: &mut Reply, qtype: u16, ttl: u32, address: IpAddr) {
    let (rtype, octets) = octets(&address);
    if rtype == qtype {
        reply.push(Section::Answer, Owner::Question, rtype, ttl, octets.get());
    }
}
