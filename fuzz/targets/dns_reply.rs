//! Any packet as a reply from an upstream: refused, or kept, cut to size and written again without loss.
#![no_main]

use dns_wire::{Name, Query, Reply};
use libfuzzer_sys::fuzz_target;

const A: u16 = 1;

fuzz_target!(|packet: &[u8]| {
    let name: Name = "www.example.org".parse().expect("a name");
    let mut query = Query::new(7, &name, A);
    let mut reply = Reply::default();
    if reply.parse(packet, &query).is_err() {
        assert!(reply.records().is_empty(), "a refused packet left records");
        return;
    }
    let kept = records(&reply, &query);
    for limit in [512, 1232, 65535] {
        let mut out = vec![0; 65535];
        let length = reply.encode(&query, limit, &mut out);
        assert!(length <= limit, "{length} bytes where {limit} are allowed");
        let mut again = Reply::default();
        let heard = again.parse(&out[..length], &query).expect("what we write we can read");
        assert!(heard.matches && heard.id == query.id, "{heard:?}");
        let sent = records(&again, &query);
        if again.truncated {
            assert!(sent.len() <= kept.len(), "truncation added records");
        } else {
            assert!(sent == kept, "written again: {sent:?}\nbefore: {kept:?}");
        }
    }
    // The same records for another question: names relative to the first one are made whole.
    let asked = query.clone();
    query.set_question(&"alias.example.com".parse().expect("a name"), A);
    let mut joined = Reply::default();
    joined.append(&reply, &asked);
    let mut out = vec![0; 65535];
    let length = joined.encode(&query, 65535, &mut out);
    assert!(Reply::default().parse(&out[..length], &query).is_ok(), "a chased reply cannot be read");
});

/// Section, owner, type, class, TTL and data, in the order of the sections: that is the order in a packet.
type Line = (dns_wire::Section, Vec<u8>, u16, u16, u32, Vec<u8>);

fn records(reply: &Reply, query: &Query) -> Vec<Line> {
    let line = |record: &dns_wire::Record| {
        let owner = reply.owner(record, query).lower().wire().to_vec();
        let data = reply.rdata(record).to_ascii_lowercase();
        (record.section, owner, record.rtype, record.class, record.ttl, data)
    };
    let mut lines: Vec<Line> = reply.records().iter().map(line).collect();
    lines.sort_by_key(|line| line.0); // stable
    lines
}
