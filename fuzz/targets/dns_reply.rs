//! An arbitrary packet as an upstream's reply: it is rejected, or parsed, truncated and encoded again without loss.
#![no_main]

use dns_wire::{EchoedCase, Name, Query, Reply, restore_letter_case, set_letter_case};
use libfuzzer_sys::fuzz_target;

const A: u16 = 1;

fuzz_target!(|packet: &[u8]| {
    let name: Name = "www.example.org".parse().expect("a name");
    let mut query = Query::new(7, &name, A);
    restore(packet, &query);
    let mut reply = Reply::default();
    if reply.parse(packet, &query).is_err() {
        assert!(reply.records().is_empty(), "a rejected packet left records");
        return;
    }
    let parsed = records(&reply, &query);
    for limit in [512, 1232, 65535] {
        let mut out = vec![0; 65535];
        let length = reply.encode(&query, limit, &mut out);
        assert!(length <= limit, "{length} bytes with a limit of {limit}");
        let mut again = Reply::default();
        let header = again.parse(&out[..length], &query).expect("an encoded reply can be parsed");
        assert!(header.matches && header.id == query.id, "{header:?}");
        let sent = records(&again, &query);
        if again.truncated {
            assert!(sent.len() <= parsed.len(), "truncation added records");
        } else {
            assert!(sent == parsed, "encoded again: {sent:?}\nbefore: {parsed:?}");
        }
    }
    // Appends the records to a reply for another question: names that refer to the first question are expanded.
    let first = query.clone();
    query.set_question(&"alias.example.com".parse().expect("a name"), A);
    let mut joined = Reply::default();
    joined.append(&reply, &first);
    let mut out = vec![0; 65535];
    let length = joined.encode(&query, 65535, &mut out);
    assert!(Reply::default().parse(&out[..length], &query).is_ok(), "the joined reply cannot be parsed");
});

/// The letter case of the question is restored in a reply to it, and nothing else is changed.
fn restore(packet: &[u8], query: &Query) {
    let mut sent = vec![0; 512];
    let length = query.encode(query.id, &mut sent);
    set_letter_case(&mut sent[..length], packet);
    let mut restored = packet.to_vec();
    let echoed = restore_letter_case(&mut restored, &sent[..length], query.name());
    assert!(restored.eq_ignore_ascii_case(packet));
    assert!(echoed != EchoedCase::OtherQuestion || restored == packet);
    assert!(echoed == EchoedCase::OtherQuestion || restored[12..].starts_with(query.name()));
    // An arbitrary message as a query.
    set_letter_case(&mut restored, &[0xff]);
}

/// Section, owner, type, class, TTL and data of a record.
type RecordFields = (dns_wire::Section, Vec<u8>, u16, u16, u32, Vec<u8>);

/// The records of a reply, ordered by section as in a packet.
fn records(reply: &Reply, query: &Query) -> Vec<RecordFields> {
    let fields = |record: &dns_wire::Record| {
        let owner = reply.owner(record, query).lower().wire().to_vec();
        let data = reply.rdata(record).to_ascii_lowercase();
        (record.section, owner, record.rtype, record.class, record.ttl, data)
    };
    let mut records: Vec<RecordFields> = reply.records().iter().map(fields).collect();
    records.sort_by_key(|record| record.0); // stable
    records
}
