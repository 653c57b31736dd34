//! The answer of a zone to a query (RFC 1034 §4.3.2, RFC 4592, RFC 6672).

use dns_wire::codes::{rcode, rtype};
use dns_wire::{Name, Owner, Query, Reply, Section};

use super::zone::{NameRecords, RecordSet, ZoneData, has_glue, target};

/// The most CNAMEs of a zone that are followed from name to name (coredns, plugin/file/lookup.go).
const MAX_LINKS: usize = 10;

/// How often the target of an alias is looked up anew for one query. CoreDNS does that through the server: for other zones, and
/// within a zone for names that a wildcard or a DNAME stands for.
const MAX_LOOKUPS: u8 = 8;

/// YXDOMAIN: the name that a DNAME makes is too long (RFC 6672 §2.2).
const YXDOMAIN: u16 = 6;

/// The result of looking a query up in a zone.
pub(super) enum ZoneOutcome {
    /// The reply is complete.
    Answered,
    /// The reply is complete, and the name has no records of any type.
    NoName,
    /// The answer ends in an alias of this name, which is not in the zone. The authority section is empty.
    External(Box<Name>),
    /// Aliases lead to each other.
    Loop,
}

/// Where the search for a name ends.
enum Found<'z> {
    /// The node of the name.
    NameRecords(&'z NameRecords),
    /// The wildcard that stands for the name.
    Wildcard(&'z NameRecords),
    /// Another zone begins at this node, which has this name.
    Delegation(&'z NameRecords, Name),
    /// Names below this one are aliases.
    Alias(&'z RecordSet, Name),
    /// Names below this one exist.
    Empty,
    Nothing,
}

impl ZoneData {
    /// Answers a query that is `depth` lookups away from that of a client.
    // Hot: 0 allocations.
    pub(super) fn answer(&self, query: &Query, depth: u8, reply: &mut Reply) -> ZoneOutcome {
        let mut builder = ReplyBuilder { zone: self, query, reply };
        builder.reply.authoritative = true;
        let mut name = query.to_name().lower();
        let (mut aliases, mut links, mut lookups) = (0, 0, depth);
        loop {
            let found = self.find(&name, query.qtype);
            let is_looked_up = match found {
                Found::NameRecords(_) => query.qtype == rtype::NS,
                Found::Alias(..) | Found::Wildcard(_) => true,
                Found::Delegation(..) | Found::Empty | Found::Nothing => false,
            };
            if aliases > 0 && is_looked_up {
                (links, lookups) = (0, lookups.saturating_add(1));
            }
            if links == MAX_LINKS && matches!(found, Found::NameRecords(_)) {
                // The client follows the rest.
                return builder.end_chain(&name, rcode::NOERROR);
            }
            if lookups > MAX_LOOKUPS && !matches!(found, Found::Delegation(..) | Found::Nothing) {
                return builder.end_chain(&name, rcode::SERVFAIL);
            }
            let target = match found {
                Found::Delegation(node, cut) => {
                    builder.refer(node, &cut);
                    builder.reply.authoritative = aliases > 0;
                    return ZoneOutcome::Answered;
                }
                Found::Alias(set, owner) => {
                    builder.push_set(Section::Answer, &owner, set);
                    let Some(target) = substitute(&name, &owner, set) else {
                        builder.reply.rcode = YXDOMAIN;
                        return ZoneOutcome::Answered;
                    };
                    let ttl = set.records.first().map_or(0, |record| record.ttl);
                    let owner = builder.owner(&name);
                    builder.reply.push(Section::Answer, owner, rtype::CNAME, ttl, target.wire());
                    if query.qtype == rtype::CNAME {
                        builder.push_apex_servers();
                        return ZoneOutcome::Answered;
                    }
                    target
                }
                Found::NameRecords(node) | Found::Wildcard(node) => {
                    let alias = node.set(rtype::CNAME).filter(|_| query.qtype != rtype::CNAME);
                    let Some(alias) = alias else {
                        builder.answer_node(node, &name, aliases);
                        return ZoneOutcome::Answered;
                    };
                    builder.push_signed(Section::Answer, &name, node, alias);
                    let target = alias.records.first().and_then(|record| Name::from_wire(&record.rdata));
                    let Some(target) = target else { return ZoneOutcome::Loop };
                    target
                }
                Found::Empty if aliases > 0 => {
                    builder.deny();
                    return ZoneOutcome::Answered;
                }
                // Another plugin, or another file, may have it.
                Found::Nothing if aliases > 0 => return ZoneOutcome::External(Box::new(name)),
                Found::Empty => {
                    builder.deny();
                    return ZoneOutcome::NoName;
                }
                Found::Nothing => {
                    builder.reply.rcode = rcode::NXDOMAIN;
                    builder.deny();
                    return ZoneOutcome::NoName;
                }
            };
            if !target.is_within(&self.origin) {
                return ZoneOutcome::External(Box::new(target));
            }
            name = target.lower();
            (aliases, links) = (aliases + 1, links + 1);
        }
    }

    /// Adds the other sections to a reply whose answer ends with what an alias outside of the zone has: the SOA record if that has
    /// nothing, else the name servers, and the addresses of targets that lead back into the zone.
    pub(super) fn complete_alias(&self, query: &Query, reply: &mut Reply, is_denied: bool) {
        let mut builder = ReplyBuilder { zone: self, query, reply };
        if is_denied {
            builder.deny();
        } else {
            builder.push_apex_servers();
        }
        builder.push_glue_of_answers();
    }

    /// Finds a name in lower case, from the zone downwards.
    fn find(&self, name: &Name, qtype: u16) -> Found<'_> {
        let wire = name.wire();
        let apex = wire.len() - self.origin.wire().len();
        let mut starts = [0_u8; dns_wire::name::MAX_LABELS];
        let (mut count, mut at) = (0, 0);
        while at < apex {
            starts[count] = at as u8;
            count += 1;
            at += 1 + usize::from(wire[at]);
        }
        let mut encloser = apex;
        for start in starts[..count].iter().rev().map(|start| usize::from(*start)) {
            let above = self.node(&wire[encloser..]);
            if let (Some(set), Some(owner)) =
                (above.and_then(|node| node.set(rtype::DNAME)), Name::from_wire(&wire[encloser..]))
            {
                return Found::Alias(set, owner);
            }
            let Some(node) = self.node(&wire[start..]) else {
                return self.wildcard(&wire[encloser..]).map_or(Found::Nothing, Found::Wildcard);
            };
            // The DS record of another zone belongs to this one (RFC 4035 §3.1.4.1).
            let is_cut = node.set(rtype::NS).is_some() && !(qtype == rtype::DS && start == 0);
            if let (true, Some(cut)) = (is_cut, Name::from_wire(&wire[start..])) {
                return Found::Delegation(node, cut);
            }
            encloser = start;
        }
        match self.node(wire) {
            Some(node) if node.sets.is_empty() && apex > 0 => Found::Empty,
            // CoreDNS keeps these two apart from all other records.
            Some(node) if apex == 0 && !is_apex_type(qtype) && node.has_only(is_apex_type) => Found::Empty,
            Some(node) => Found::NameRecords(node),
            None => Found::Nothing,
        }
    }

    /// The wildcard directly below a name (RFC 4592 §3.3.1).
    fn wildcard(&self, encloser: &[u8]) -> Option<&NameRecords> {
        let mut name = [0; dns_wire::name::MAX_NAME + 2];
        name[..2].copy_from_slice(b"\x01*");
        name.get_mut(2..2 + encloser.len())?.copy_from_slice(encloser);
        self.node(&name[..2 + encloser.len()])
    }
}

/// Types of which every zone has records at its apex, and their signatures.
fn is_apex_type(rtype: u16) -> bool {
    matches!(rtype, rtype::SOA | rtype::NS | rtype::RRSIG)
}

/// The name that a DNAME makes of one below it (RFC 6672 §2.2).
fn substitute(name: &Name, owner: &Name, set: &RecordSet) -> Option<Name> {
    let target = &set.records.first()?.rdata;
    let labels = &name.wire()[..name.wire().len() - owner.wire().len()];
    let mut wire = [0; dns_wire::name::MAX_NAME];
    wire.get_mut(..labels.len())?.copy_from_slice(labels);
    wire.get_mut(labels.len()..labels.len() + target.len())?.copy_from_slice(target);
    Name::from_wire(&wire[..labels.len() + target.len()])
}

struct ReplyBuilder<'a> {
    zone: &'a ZoneData,
    query: &'a Query,
    reply: &'a mut Reply,
}

impl<'a> ReplyBuilder<'a> {
    /// The owner of a record: the name in the question keeps the client's letter case.
    fn owner<'n>(&self, name: &'n Name) -> Owner<'n> {
        if name.wire() == self.query.lower() { Owner::Question } else { Owner::Name(name.wire()) }
    }

    fn push_set(&mut self, section: Section, owner: &Name, set: &RecordSet) {
        for record in &set.records {
            self.reply.push(section, self.owner(owner), set.rtype, record.ttl, &record.rdata);
        }
    }

    /// Adds a set, and its signatures if the client wants them.
    fn push_signed(&mut self, section: Section, owner: &Name, node: &NameRecords, set: &RecordSet) {
        self.push_set(section, owner, set);
        if !self.query.dnssec_ok() || set.rtype == rtype::RRSIG {
            return;
        }
        let signatures = node.set(rtype::RRSIG).into_iter().flat_map(|set| &set.records);
        // The type that a signature covers is its first field (RFC 4034 §3.1).
        for record in signatures.filter(|record| record.rdata.starts_with(&set.rtype.to_be_bytes())) {
            self.reply.push(section, self.owner(owner), rtype::RRSIG, record.ttl, &record.rdata);
        }
    }

    /// Answers with the records of the queried type. Behind aliases a name without them is no denial, as in CoreDNS, unless NS is
    /// asked for behind a single one.
    fn answer_node(&mut self, node: &NameRecords, name: &Name, aliases: usize) {
        let Some(set) = node.set(self.query.qtype) else {
            let is_denied = aliases == 0 || (aliases == 1 && self.query.qtype == rtype::NS);
            return if is_denied { self.deny() } else { self.push_apex_servers() };
        };
        self.push_signed(Section::Answer, name, node, set);
        let is_apex_ns = set.rtype == rtype::NS && name.wire() == self.zone.origin.wire();
        if is_apex_ns {
            self.push_glue(set, &self.zone.origin);
            return;
        }
        self.push_apex_servers();
        if set.rtype != rtype::NS && has_glue(set.rtype) {
            self.push_glue(set, &self.zone.origin);
        }
    }

    /// Ends an answer with as many aliases as are followed, the last of which leads to `next`.
    fn end_chain(&mut self, next: &Name, rcode: u16) -> ZoneOutcome {
        let is_next = |name: Name| name.lower() == *next;
        let mut answers = self.reply.section(Section::Answer);
        if answers.any(|record| record.rtype == rtype::CNAME && is_next(self.reply.owner(record, self.query)))
        {
            return ZoneOutcome::Loop;
        }
        drop(answers);
        self.reply.rcode = rcode;
        self.push_apex_servers();
        ZoneOutcome::Answered
    }

    /// Adds the name servers of the zone.
    fn push_apex_servers(&mut self) {
        let zone = self.zone;
        if let Some((apex, set)) = zone.apex().and_then(|apex| Some((apex, apex.set(rtype::NS)?))) {
            self.push_signed(Section::Authority, &zone.origin, apex, set);
        }
    }

    /// Adds the SOA record of a denial.
    fn deny(&mut self) {
        let zone = self.zone;
        if let Some((apex, set)) = zone.apex().and_then(|apex| Some((apex, apex.set(rtype::SOA)?))) {
            self.push_signed(Section::Authority, &zone.origin, apex, set);
        }
    }

    /// Refers to the servers of another zone, with the addresses of those within it: a resolver could not find them otherwise.
    fn refer(&mut self, node: &NameRecords, cut: &Name) {
        let Some(set) = node.set(rtype::NS) else { return };
        self.push_set(Section::Authority, cut, set);
        if let Some(keys) = node.set(rtype::DS).filter(|_| self.query.dnssec_ok()) {
            self.push_signed(Section::Authority, cut, node, keys);
        }
        self.push_glue(set, cut);
    }

    /// Adds the addresses of the targets that are within a name of the zone, each once.
    fn push_glue(&mut self, set: &RecordSet, within: &Name) {
        for record in set.records.iter().filter(|record| !record.repeats_target) {
            if let Some(name) = target(set.rtype, &record.rdata).filter(|name| name.is_within(within)) {
                self.push_addresses(&name);
            }
        }
    }

    /// Adds the addresses of the targets in the answers that are within the zone, each once.
    fn push_glue_of_answers(&mut self) {
        let mut targets: Vec<Name> = Vec::new();
        for record in self.reply.section(Section::Answer) {
            let is_service = record.rtype != rtype::NS && has_glue(record.rtype);
            let name = self.reply.target(record, self.query).filter(|_| is_service).map(Name::lower);
            targets.extend(name.filter(|name| !targets.contains(name)));
        }
        targets.iter().for_each(|name| self.push_addresses(name));
    }

    /// Adds the addresses of a name, in lower case, if it is within the zone.
    fn push_addresses(&mut self, name: &Name) {
        let zone = self.zone;
        let Some(node) = zone.node(name.wire()).filter(|_| name.is_within(&zone.origin)) else { return };
        for rtype in [rtype::A, rtype::AAAA] {
            if let Some(addresses) = node.set(rtype) {
                self.push_signed(Section::Additional, name, node, addresses);
            }
        }
    }
}
