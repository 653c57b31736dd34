//! The names of Services outside of the cluster, as CoreDNS's plugin `k8s_external` answers them: `<service>.<namespace>.<zone>`.

mod records;

use std::net::IpAddr;

use dns_wire::codes::{rcode, rtype};
use dns_wire::{Name, Owner, Query, Reply, Section};

use super::resolved::{EndpointFilter, QuestionName, without_underscore};
use super::{ZoneVerdict, push_once};
use crate::address::{endpoint_address, reversed};
use crate::records::{ExternalRecords, ServiceRecords, ServiceShape};
use crate::zone::{ServedZone, Zone, is_reverse, service};

/// The zones and options of a `k8s_external`.
#[derive(Debug)]
pub struct ExternalZones {
    /// The longest first.
    zones: Vec<ServedZone>,
    /// The first zone that is no reverse zone; PTR records point into it.
    primary: Name,
    /// The labels of the name servers' subdomain, in lower case and wire form without the root.
    apex: Box<[u8]>,
    /// How many labels these are.
    apex_labels: usize,
    ttl: u32,
    headless: bool,
}

/// The object that a name in a zone refers to.
enum ExternalName<'a> {
    /// The name does not exist.
    Nothing,
    /// The name exists without records.
    Empty,
    /// `ns1.<apex>.<zone>`.
    NameServer,
    /// A Service with external hosts.
    Service(&'a ServiceRecords, &'a ExternalRecords, EndpointFilter<'a>),
    /// Endpoints of a Service without external hosts.
    Endpoints(&'a ServiceRecords, EndpointFilter<'a>),
}

impl ExternalZones {
    /// The zones, the subdomain of the name servers (`apex`), the TTL in seconds, and whether headless Services are answered.
    pub fn new(zones: &[Name], apex: &Name, ttl: u32, headless: bool) -> Self {
        let forward = zones.iter().find(|zone| !is_reverse(zone));
        let primary = forward.or(zones.first()).map_or(Name::ROOT, |zone| zone.lower());
        let served = |zone: &Name| ServedZone {
            name: zone.lower(),
            labels: zone.labels().count(),
            reverse: is_reverse(zone),
            multicluster: false,
            branch: &[],
            address_ttl: ttl,
        };
        let mut zones: Vec<ServedZone> = zones.iter().map(served).collect();
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.labels));
        let wire = apex.lower();
        let labels = wire.wire().strip_suffix(&[0]).unwrap_or_default();
        Self { zones, primary, apex: labels.into(), apex_labels: apex.labels().count(), ttl, headless }
    }
}

impl Zone {
    /// Answers a query of class IN from the external hosts of Services. `own` is as in [`Zone::answer`]. After
    /// [`ZoneVerdict::Chase`] the caller resolves the targets of the CNAME records, and those of the SRV records without
    /// addresses.
    // Hot: 0 allocations, except when a reply is larger than all before it.
    pub fn answer_external(
        &self,
        zones: &ExternalZones,
        query: &Query,
        own: &[IpAddr],
        reply: &mut Reply,
    ) -> ZoneVerdict {
        reply.clear();
        let Some(origin) = zones.zones.iter().find(|zone| zone.contains(query)) else {
            return ZoneVerdict::NotMine;
        };
        if matches!(query.qtype, rtype::AXFR | rtype::IXFR) {
            reply.rcode = rcode::REFUSED;
            return ZoneVerdict::Refused;
        }
        reply.authoritative = true;
        let question = QuestionName::new(query, origin);
        let mut verdict = ZoneVerdict::Answered;
        if question.left == 0 {
            self.push_external_apex(zones, &question, own, reply);
        } else if query.qtype == rtype::PTR
            && let Some(address) = reversed(query)
        {
            self.push_external_pointers(zones, address, reply);
            if reply.records().is_empty() {
                verdict = self.external_name_error(reply);
            }
        } else {
            match self.resolve_external(zones, &question) {
                // Below the subdomain of the name servers a name error is final.
                None => reply.rcode = rcode::NXDOMAIN,
                Some(ExternalName::Nothing) => verdict = self.external_name_error(reply),
                Some(ExternalName::Empty) => {}
                Some(ExternalName::NameServer) => {
                    for address in self.external_servers(zones, own) {
                        push_once(reply, Owner::Question, query.qtype, zones.ttl, address);
                    }
                }
                Some(ExternalName::Service(service, external, filter)) => {
                    if self.push_external_service(zones, &question, (service, external), filter, reply) {
                        verdict = ZoneVerdict::Chase;
                    }
                }
                Some(ExternalName::Endpoints(service, filter)) => {
                    self.push_external_endpoints(zones, &question, service, filter, reply);
                }
            }
        }
        if reply.section(Section::Answer).next().is_none() {
            self.push_external_soa(zones, &question, Section::Authority, reply);
        }
        verdict
    }

    /// NXDOMAIN, or SERVFAIL until the cluster has been listed.
    fn external_name_error(&self, reply: &mut Reply) -> ZoneVerdict {
        if self.local.synced {
            reply.rcode = rcode::NXDOMAIN;
            return ZoneVerdict::NameError;
        }
        reply.rcode = rcode::SERVFAIL;
        ZoneVerdict::NotSynced
    }

    /// `None` for a name below the subdomain of the name servers that does not exist.
    fn resolve_external<'a>(
        &'a self,
        zones: &ExternalZones,
        question: &QuestionName<'a>,
    ) -> Option<ExternalName<'a>> {
        let (left, name) = (question.left, question.query.lower());
        if let Some(below) = left.checked_sub(zones.apex_labels)
            && name[question.start(below)..question.start(left)] == *zones.apex
        {
            return match below {
                0 => Some(ExternalName::Empty),
                1 if question.label(0) == b"ns1" => Some(ExternalName::NameServer),
                _ => None,
            };
        }
        Some(self.resolve_external_service(zones, question))
    }

    fn resolve_external_service<'a>(
        &'a self,
        zones: &ExternalZones,
        question: &QuestionName<'a>,
    ) -> ExternalName<'a> {
        let (left, name) = (question.left, question.query.lower());
        if !self.has_namespace(question.label(left - 1)) {
            return ExternalName::Nothing;
        }
        let Some(before) = left.checked_sub(2) else { return ExternalName::Empty };
        let filter = match before {
            0 => EndpointFilter::default(),
            1 => EndpointFilter::endpoint(&name[..question.start(1)], endpoint_address(question.label(0))),
            2 => {
                let [port, protocol] = [question.label(0), question.label(1)].map(without_underscore);
                EndpointFilter::port(port, protocol)
            }
            _ => return ExternalName::Nothing,
        };
        let key = &name[question.start(before)..question.start(left)];
        let Some(service) = service(&self.services, key).filter(|service| service.exposed) else {
            return ExternalName::Nothing;
        };
        if let Some(external) = &service.external {
            // As in CoreDNS the label of an endpoint has no effect here.
            let is_there = filter.ports(&external.ports).next().is_some();
            return if is_there {
                ExternalName::Service(service, external, filter)
            } else {
                ExternalName::Nothing
            };
        }
        let has_endpoint_names = service.shape == ServiceShape::Headless
            || (before == 1 && service.shape != ServiceShape::Missing);
        if zones.headless && has_endpoint_names && filter.candidates(service).next().is_some() {
            return ExternalName::Endpoints(service, filter);
        }
        ExternalName::Nothing
    }
}
