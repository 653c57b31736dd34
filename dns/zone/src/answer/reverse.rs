//! PTR records (DNS specification §2.3.3 and §2.4.3).

use std::net::IpAddr;

use dns_wire::codes::rtype;
use dns_wire::{Owner, Reply, Section};

use super::{fits, put_name};
use crate::records::ServiceRecords;
use crate::zone::{SVC, Zone};

impl Zone {
    /// Adds the names of an address: the Service that has it as cluster IP, else every endpoint that has it.
    pub(super) fn push_pointers(&self, address: IpAddr, reply: &mut Reply) {
        if let Some(service) = self.cluster_ip(address) {
            return self.push_pointer(&[], service, reply);
        }
        for service in self.pointed(address) {
            for (_, endpoint) in service.endpoints_at(address) {
                if service.same_name_and_address(endpoint).next().is_none() {
                    self.push_pointer(service.name(endpoint, &mut None), service, reply);
                }
            }
        }
    }

    /// The Service with this cluster IP; of several, the first by name.
    fn cluster_ip(&self, address: IpAddr) -> Option<&ServiceRecords> {
        self.pointed(address)
            .filter(|service| service.has_cluster_ip(address))
            .min_by(|a, b| a.key.cmp(&b.key))
    }

    /// Services that may have the address. As in CoreDNS, `namespaces` hides PTR records and `namespace_labels` does not.
    pub(super) fn pointed(&self, address: IpAddr) -> impl Iterator<Item = &ServiceRecords> {
        let all = self.plan.options.namespaces.is_empty();
        self.candidates_by_address(address).filter(move |service| all || service.exposed)
    }

    fn push_pointer(&self, name: &[u8], service: &ServiceRecords, reply: &mut Reply) {
        let zone = self.plan.primary.wire();
        if fits(name, service, SVC, zone.len()) {
            reply.push_with(Section::Answer, Owner::Question, rtype::PTR, self.plan.options.ttl, |bytes| {
                put_name(bytes, name, service, SVC, zone);
            });
        }
    }
}
