//! The records of a name, from etcd and for other names from the server (coredns, plugin/backend_lookup.go).

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use dns_wire::codes::{class, rtype};
use dns_wire::{Name, Owner, Reply, Section};
use futures_util::future::BoxFuture;

use super::Etcd;
use super::record::{HostKind, PriorityWeights, SkyRecord, grouped};
use crate::plugin::{Answer, Runner};
use crate::request::Request;

/// The longest chain of CNAMEs in the zone.
const MAX_CHAIN: usize = 10;

/// The most names that are looked up for a query, in etcd and through the server.
const MAX_LOOKUPS: usize = 32;

/// The most leases that are asked for their time for a query.
const MAX_LEASES: usize = 32;

/// The TTL of a record without one.
const TTL: u32 = 300;

/// Why there are no records.
#[derive(Debug, PartialEq)]
pub(super) enum LookupError {
    /// The name does not exist.
    NameError,
    /// etcd did not answer, or with a document that is not valid.
    Failed(String),
}

/// A record for the reply.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FoundRecord {
    /// `None` for the name of the question.
    owner: Option<Name>,
    rtype: u16,
    class: u16,
    ttl: u32,
    rdata: Vec<u8>,
}

/// The lookups for one query.
pub(super) struct Lookup<'q> {
    pub etcd: &'q Etcd,
    pub zone: Name,
    pub request: &'q Request,
    pub runner: &'q dyn Runner,
    /// Names that were looked up.
    pub lookups: usize,
    /// The time of each lease that was asked.
    pub leases: HashMap<i64, Option<u32>>,
    pub truncated: bool,
}

type Found = Result<Vec<FoundRecord>, LookupError>;

impl Lookup<'_> {
    /// The records of a type for the name of the question, and those for the additional section.
    pub(super) async fn answers(&mut self) -> Result<[Vec<FoundRecord>; 2], LookupError> {
        let query = &self.request.query;
        let (name, qtype) = (query.to_name().lower(), query.qtype);
        let alone = |records| [records, Vec::new()];
        match qtype {
            rtype::A | rtype::AAAA | rtype::TXT => {
                self.addresses(None, name, qtype, Vec::new()).await.map(alone)
            }
            rtype::CNAME => self.alias(&name).await.map(alone),
            rtype::PTR => self.pointers(&name).await.map(alone),
            rtype::MX => self.targets(&name, rtype::MX).await,
            rtype::SRV => self.targets(&name, rtype::SRV).await,
            rtype::NS if name == self.zone => self.name_servers().await,
            _ => self.records_or_apex(&name, qtype).await.map(|_| [Vec::new(), Vec::new()]),
        }
    }

    /// The records of a name in etcd: those below its key or, if there are none, that of the key. With `exact` only the latter.
    async fn records(&mut self, name: &Name, qtype: u16, exact: bool) -> Result<Vec<SkyRecord>, LookupError> {
        self.lookups += 1;
        if self.lookups > MAX_LOOKUPS {
            return Err(LookupError::Failed(format!("etcd: more than {MAX_LOOKUPS} names for a query")));
        }
        let Some(query) = self.etcd.prefix.query(name) else { return Err(LookupError::NameError) };
        let mut found = Vec::new();
        if !exact {
            let below = format!("{}/", query.key);
            found = self.etcd.client.range(&below, true).await.map_err(LookupError::Failed)?;
        }
        if found.is_empty() {
            found = self.etcd.client.range(&query.key, false).await.map_err(LookupError::Failed)?;
        }
        if found.is_empty() {
            return Err(LookupError::NameError);
        }
        let mut records = Vec::new();
        for value in found.into_iter().filter(|value| query.matches(&value.key)) {
            let mut record =
                SkyRecord::read(value.key, &value.value, value.lease).map_err(LookupError::Failed)?;
            // Only TXT records have no host.
            if !record.host.is_empty() || (qtype == rtype::TXT && !record.text.is_empty()) {
                record.ttl = self.ttl(&record).await;
                records.push(record);
            }
        }
        Ok(grouped(records))
    }

    /// The smaller TTL of the record and its lease, or the default.
    async fn ttl(&mut self, record: &SkyRecord) -> u32 {
        let mut lease = None;
        if record.lease != 0 {
            let known = self.leases.get(&record.lease).copied();
            lease = match known {
                Some(known) => known,
                None if self.leases.len() >= MAX_LEASES => None,
                None => {
                    let asked = self.etcd.client.lease_ttl(record.lease).await;
                    *self.leases.entry(record.lease).or_insert(asked)
                }
            };
        }
        let (least, most) = self.etcd.lease_ttls;
        let lease = lease.map(|ttl| if ttl < least { least } else { ttl.min(most) });
        match (lease, record.ttl) {
            (None, 0) => TTL,
            (None, ttl) => ttl,
            (Some(lease), 0) => lease,
            (Some(lease), ttl) => lease.min(ttl),
        }
    }

    /// The records of a name; those of the zone itself are below `apex.dns.ZONE`, or those of all names in it.
    async fn records_or_apex(&mut self, name: &Name, qtype: u16) -> Result<Vec<SkyRecord>, LookupError> {
        if *name == self.zone {
            let apex = below("apex.dns", &self.zone).ok_or(LookupError::NameError)?;
            let found = self.records(&apex, qtype, false).await;
            if found != Err(LookupError::NameError) || self.etcd.no_apex_fallback {
                return found;
            }
        }
        self.records(name, qtype, false).await
    }

    /// Addresses or texts. CNAMEs are followed: in the zone here, else through the server. One that leads nowhere is left out.
    /// `owner` is `None` for the name of the question; `chain` has the CNAMEs before, each with its target.
    fn addresses(
        &mut self,
        owner: Option<Name>,
        name: Name,
        qtype: u16,
        chain: Vec<(Name, Name)>,
    ) -> BoxFuture<'_, Found> {
        Box::pin(async move {
            let services = match qtype {
                rtype::TXT => self.records(&name, qtype, false).await?,
                _ => self.records_or_apex(&name, qtype).await?,
            };
            // Each address and text once.
            let (mut records, mut known) = (Vec::new(), HashSet::new());
            for service in &services {
                let mut push = |rtype, rdata: Vec<u8>| {
                    if rtype == qtype && known.insert(rdata.clone()) {
                        records.push(FoundRecord { owner, rtype, class: class::IN, ttl: service.ttl, rdata });
                    }
                };
                match service.kind() {
                    HostKind::Address(address) => {
                        let (rtype, rdata) = address_rdata(address);
                        push(rtype, rdata);
                    }
                    HostKind::Text if qtype == rtype::TXT => push(qtype, service.text_rdata()),
                    HostKind::Text => {}
                    HostKind::Name => {
                        let Some(target) = service.host_name() else { continue };
                        let link = (name, target.lower());
                        // A name below the target has the target's records itself, so this is a loop as well.
                        if link.1.is_within(&name) || chain.len() > MAX_CHAIN || chain.contains(&link) {
                            continue;
                        }
                        let alias = FoundRecord {
                            owner,
                            rtype: rtype::CNAME,
                            class: class::IN,
                            ttl: service.ttl,
                            rdata: target.wire().to_vec(),
                        };
                        if target.is_within(&self.zone) {
                            let chain = chain.iter().copied().chain([link]).collect();
                            let found = self.addresses(Some(target), link.1, qtype, chain).await;
                            if let Some(found) = found.ok().filter(|found| !found.is_empty()) {
                                records.push(alias);
                                records.extend(found);
                            }
                        } else if let Some(found) = self.resolve(&target, qtype).await {
                            records.push(alias);
                            records.extend(found);
                        }
                    }
                }
            }
            Ok(records)
        })
    }

    /// Resolves a name outside of the zone through the server.
    async fn resolve(&mut self, name: &Name, qtype: u16) -> Option<Vec<FoundRecord>> {
        self.lookups += 1;
        if self.lookups > MAX_LOOKUPS {
            return None;
        }
        let mut found = Answer::default();
        let query = self.runner.resolve(self.request, name, qtype, &mut found).await?;
        if found.dropped {
            return None;
        }
        let reply = &found.reply;
        self.truncated |= reply.truncated;
        let record = |record: &dns_wire::Record| {
            let mut rdata = Vec::new();
            reply.copy_rdata(record, &query, &mut rdata);
            let owner = Some(reply.owner(record, &query));
            FoundRecord { owner, rtype: record.rtype, class: record.class, ttl: record.ttl, rdata }
        };
        Some(reply.section(Section::Answer).map(record).collect())
    }

    /// The CNAME of a name.
    async fn alias(&mut self, name: &Name) -> Found {
        let services = self.records(name, rtype::CNAME, true).await?;
        let Some(service) = services.first() else { return Ok(Vec::new()) };
        if matches!(service.kind(), HostKind::Address(_)) {
            return Ok(Vec::new());
        }
        let target = service.host_name();
        Ok(target.map(|target| own(rtype::CNAME, service.ttl, target.wire())).into_iter().collect())
    }

    /// The names of an address.
    async fn pointers(&mut self, name: &Name) -> Found {
        let services = self.records(name, rtype::PTR, true).await?;
        let (mut records, mut known) = (Vec::new(), HashSet::new());
        for service in services.iter().filter(|service| !matches!(service.kind(), HostKind::Address(_))) {
            let Some(target) = service.host_name() else { continue };
            if known.insert(target) {
                records.push(own(rtype::PTR, service.ttl, target.wire()));
            }
        }
        Ok(records)
    }

    /// SRV or MX records, and the addresses of their targets.
    async fn targets(&mut self, name: &Name, qtype: u16) -> Result<[Vec<FoundRecord>; 2], LookupError> {
        let services = self.records(name, qtype, false).await?;
        let weights = PriorityWeights::of(&services);
        let (mut records, mut extra) = (Vec::new(), Vec::new());
        let (mut known, mut known_addresses, mut followed) = (HashSet::new(), HashSet::new(), HashSet::new());
        for service in &services {
            if qtype == rtype::MX && !service.mail || qtype == rtype::SRV && service.port == -1 {
                continue;
            }
            let rdata = |target: &Name| {
                let mut rdata = Vec::new();
                if qtype == rtype::SRV {
                    for number in [service.priority as u16, weights.share(service), service.port as u16] {
                        rdata.extend_from_slice(&number.to_be_bytes());
                    }
                } else {
                    rdata.extend_from_slice(&(service.priority as u16).to_be_bytes());
                }
                rdata.extend_from_slice(target.wire());
                rdata
            };
            match service.kind() {
                HostKind::Address(address) => {
                    let Some(target) = service.key_target(&self.etcd.prefix) else { continue };
                    // The port tells SRV records of a target apart, the preference MX records.
                    let number = if qtype == rtype::SRV { service.port } else { service.priority };
                    if known.insert((target, number)) {
                        records.push(own(qtype, service.ttl, &rdata(&target)));
                    }
                    if known_addresses.insert((target, address)) {
                        extra.push(address_record(target, address, service.ttl));
                    }
                }
                HostKind::Name => {
                    let Some(target) = service.target() else { continue };
                    records.push(own(qtype, service.ttl, &rdata(&target)));
                    if followed.insert(target) {
                        self.follow_target(&target, &mut extra).await;
                    }
                }
                HostKind::Text => {}
            }
        }
        Ok([records, extra])
    }

    /// Adds the addresses of a target that is a name. As in CoreDNS, those in the zone are IPv4 addresses.
    async fn follow_target(&mut self, target: &Name, extra: &mut Vec<FoundRecord>) {
        if target.is_within(&self.zone) {
            let found = self.addresses(Some(*target), target.lower(), rtype::A, Vec::new()).await;
            extra.extend(found.unwrap_or_default());
            return;
        }
        let truncated = self.truncated;
        extra.extend(self.resolve(target, rtype::A).await.unwrap_or_default());
        let more = self.resolve(target, rtype::AAAA).await.unwrap_or_default();
        // The CNAMEs are there already.
        extra.extend(more.into_iter().filter(|record| record.rtype != rtype::CNAME));
        self.truncated = truncated;
    }

    /// The name servers of the zone, below `ns.dns.ZONE`, and their addresses.
    async fn name_servers(&mut self) -> Result<[Vec<FoundRecord>; 2], LookupError> {
        let name = below("ns.dns", &self.zone).ok_or(LookupError::NameError)?;
        let services = self.records(&name, rtype::NS, false).await?;
        let (mut records, mut extra, mut known) = (Vec::new(), Vec::new(), HashSet::new());
        for service in &services {
            let address = match service.kind() {
                HostKind::Address(address) => address,
                HostKind::Name => {
                    let why = format!("NS record must be an IP address: {}", service.host);
                    return Err(LookupError::Failed(why));
                }
                HostKind::Text => continue,
            };
            let Some(target) = service.key_target(&self.etcd.prefix) else { continue };
            extra.push(address_record(target, address, service.ttl));
            if known.insert(target) {
                records.push(own(rtype::NS, service.ttl, target.wire()));
            }
        }
        Ok([records, extra])
    }
}

/// Adds the records to a section.
pub(super) fn put(reply: &mut Reply, section: Section, records: &[FoundRecord]) {
    for FoundRecord { owner, rtype, class, ttl, rdata } in records {
        let owner = owner.as_ref().map_or(Owner::Question, |owner| Owner::Name(owner.wire()));
        reply.push_class(section, owner, (*rtype, *class), *ttl, rdata);
    }
}

/// A record of the name of the question.
fn own(rtype: u16, ttl: u32, rdata: &[u8]) -> FoundRecord {
    FoundRecord { owner: None, rtype, class: class::IN, ttl, rdata: rdata.to_vec() }
}

fn address_record(owner: Name, address: IpAddr, ttl: u32) -> FoundRecord {
    let (rtype, rdata) = address_rdata(address);
    FoundRecord { owner: Some(owner), rtype, class: class::IN, ttl, rdata }
}

fn address_rdata(address: IpAddr) -> (u16, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (rtype::A, address.octets().to_vec()),
        IpAddr::V6(address) => (rtype::AAAA, address.octets().to_vec()),
    }
}

/// A name below the zone; `None` if it is too long.
fn below(labels: &str, zone: &Name) -> Option<Name> {
    let labels: Name = labels.parse().ok()?;
    let labels = labels.wire().strip_suffix(&[0])?;
    Name::from_wire(&[labels, zone.wire()].concat())
}
