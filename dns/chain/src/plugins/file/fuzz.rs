//! Any text as a zone file, and queries to the zone.

use dns_wire::codes::rtype;
use dns_wire::{Edns, Name, Query, Reply};

use super::answer::ZoneOutcome;
use super::load;
use super::zone::ZoneData;
use crate::presentation::{self, TextRecord, record_text};

/// The file that `$INCLUDE inner.db` reads. Every other name includes the text itself.
const INNER: &str = "inner 60 A 192.0.2.1\n";
/// Limits of one input, so that the time of all inputs is alike.
const MAX_RECORDS: usize = 2000;
const MAX_NAMES: usize = 24;

/// Types that are asked for at every name, besides those that it has.
const TYPES: [u16; 7] = [rtype::A, rtype::NS, rtype::SOA, rtype::CNAME, rtype::DS, rtype::DNAME, rtype::ANY];

/// Reads a zone file of `example.org` and asks the zone for names that it has, for names below them, and for others.
///
/// # Panics
/// When a record that is read cannot be written and read again, or when a reply is not one to its query.
pub fn zone_file(text: &str) {
    let origin: Name = "example.org.".parse().expect("a name");
    let include = |file: &str| Ok(if file == "inner.db" { INNER } else { text }.to_owned());
    let mut names = vec![origin];
    let mut count = 0;
    let read = presentation::zone(text, &origin, &include, &mut |record| {
        count += 1;
        if count > MAX_RECORDS {
            return Err(presentation::Refusal::Limit(String::new()));
        }
        let is_within = record.owner.lower().is_within(&origin);
        if is_within && names.len() < MAX_NAMES && !names.contains(&record.owner) {
            names.push(record.owner);
        }
        assert_written(&record);
        Ok(())
    });
    if let Err(error) = read {
        assert!((1..=text.split('\n').count()).contains(&error.line()), "{error}");
    }
    let Ok(zone) = load::parse(text, &origin, &include, MAX_RECORDS) else { return };
    let below = |name: &Name| ["a", "*", "A.B"].map(|label| join(label, name));
    let others: Vec<Name> = names.iter().flat_map(below).flatten().collect();
    names.extend(others);
    for name in &names {
        let own = zone.node(name.lower().wire()).into_iter().flat_map(|node| &node.sets);
        own.map(|set| set.rtype).chain(TYPES).take(20).for_each(|rtype| ask(&zone, name, rtype));
    }
}

/// A name below another; `None` if it is too long.
fn join(label: &str, name: &Name) -> Option<Name> {
    format!("{label}.{name}").parse().ok()
}

/// The text of a record is read as the same record.
fn assert_written(record: &TextRecord) {
    let mut reply = Reply::default();
    let owner = dns_wire::Owner::Name(record.owner.wire());
    let class = (record.rtype, record.class);
    reply.push_class(dns_wire::Section::Answer, owner, class, record.ttl, &record.rdata);
    let written = record_text(&reply, &reply.records()[0], &Query::default());
    let again = presentation::record(&written).unwrap_or_else(|error| panic!("{written}: {error}"));
    assert_eq!(again.as_ref(), Some(record), "{written}");
}

fn ask(zone: &ZoneData, name: &Name, rtype: u16) {
    let mut query = Query::new(7, name, rtype);
    query.edns = Some(Edns { udp_size: 1232, version: 0, dnssec_ok: true });
    let mut reply = Reply::default();
    if let ZoneOutcome::External(target) = zone.answer(&query, 0, &mut reply) {
        assert!(target.wire() != query.lower() || !name.is_within(&zone.origin), "{name} is its own target");
        zone.complete_alias(&query, &mut reply, rtype == super::rtype::A);
    }
    let mut buffer = vec![0; usize::from(u16::MAX)];
    for limit in [512, 1232, buffer.len()] {
        let length = reply.encode(&query, limit, &mut buffer);
        assert!((12..=limit).contains(&length), "{length} bytes for {limit}");
        let mut received = Reply::default();
        let header = received.parse(&buffer[..length], &query);
        assert!(header.is_ok_and(|header| header.matches && header.id == 7), "{name} {rtype}: {header:?}");
    }
}
