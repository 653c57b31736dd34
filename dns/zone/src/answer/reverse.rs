//! PTR records (specification §2.3.3 and §2.4.3, reference §2.4).

use std::net::IpAddr;

use dns_wire::codes::rtype;
use dns_wire::{Owner, Reply, Section};

use super::{fits, put_name};
use crate::unit::{Face, Unit};
use crate::zone::Zone;

impl Zone {
    /// Adds the names of an address: the Service whose cluster IP it is, else every endpoint that has it.
    pub(super) fn push_pointers(&self, address: IpAddr, reply: &mut Reply) {
        if let Some(unit) = self.cluster_ip(address) {
            return self.push_pointer(&[], unit, reply);
        }
        for unit in self.pointed(address) {
            for (_, endpoint) in unit.endpoints_at(address) {
                if unit.twins(endpoint).next().is_none() {
                    self.push_pointer(unit.name(endpoint, &mut None), unit, reply);
                }
            }
        }
    }

    /// The Service with this cluster IP; of several, the first by name.
    fn cluster_ip(&self, address: IpAddr) -> Option<&Unit> {
        let has = |unit: &&Unit| {
            matches!(unit.face, Face::Cluster(..))
                && match address {
                    IpAddr::V4(address) => unit.v4.contains(&address),
                    IpAddr::V6(address) => unit.v6.contains(&address),
                }
        };
        self.pointed(address).filter(has).min_by(|a, b| a.key.cmp(&b.key))
    }

    /// The units that could hold the address. Namespaces that `namespaces` does not name are hidden; those that
    /// `namespace_labels` leaves out are not, as in CoreDNS.
    fn pointed(&self, address: IpAddr) -> impl Iterator<Item = &Unit> {
        let all = self.plan.options.namespaces.is_empty();
        self.holders(address).filter(move |unit| all || unit.exposed)
    }

    fn push_pointer(&self, name: &[u8], unit: &Unit, reply: &mut Reply) {
        let zone = self.plan.primary.wire();
        if fits(name, unit, zone.len()) {
            reply.push_with(Section::Answer, Owner::Question, rtype::PTR, self.plan.options.ttl, |bytes| {
                put_name(bytes, name, unit, zone);
            });
        }
    }
}
