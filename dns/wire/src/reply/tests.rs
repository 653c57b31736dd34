use std::net::Ipv4Addr;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name as HickoryName, RData, Record as HickoryRecord};
use proptest::prelude::*;

use super::*;
use crate::Edns;
use crate::codes::rtype;

fn name(text: &str) -> Name {
    text.parse().expect(text)
}

fn query(text: &str, qtype: u16, size: Option<u16>) -> Query {
    let mut query = Query::new(7, &name(text), qtype);
    query.edns = size.map(|udp_size| Edns { udp_size, version: 0, dnssec_ok: false });
    query
}

fn encode(reply: &mut Reply, query: &Query, limit: usize) -> Vec<u8> {
    let mut out = vec![0; 65535];
    let length = reply.encode(query, limit, &mut out);
    out.truncate(length);
    out
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex")).collect()
}

/// Adds SRV records and their addresses. With `relative` the owners of the addresses are given as targets of the SRV records.
fn srv(reply: &mut Reply, count: u32, relative: bool) {
    let targets = || (0..count).map(|i| (i, name(&format!("10-244-0-{i}.web.shop.svc.cluster.local"))));
    for (_, target) in targets() {
        reply.push_with(Section::Answer, Owner::Question, rtype::SRV, 5, |bytes| {
            for number in [0, (100 / count) as u16, 80] {
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            bytes.extend_from_slice(target.wire());
        });
    }
    for (i, target) in targets() {
        let address = Ipv4Addr::from(0x0af4_0000 + i).octets();
        let owner = if relative { Owner::Target(i as usize) } else { Owner::Name(target.wire()) };
        reply.push(Section::Additional, owner, rtype::A, 5, &address);
    }
}

/// From github.com/miekg/dns 1.1.73: Truncate, then Pack with Compress on.
#[test]
fn packets_equal_those_of_gos_dns_library() {
    let mut reply = Reply { authoritative: true, ..Reply::default() };
    srv(&mut reply, 3, false);
    let question = query("_http._tcp.web.shop.svc.cluster.local", rtype::SRV, Some(1232));
    assert_eq!(
        encode(&mut reply, &question, 1232),
        hex(
            "000785000001000300000004055f68747470045f746370037765620473686f700373766307636c7573746572056c6f6361\
             6c0000210001c00c0021000100000005002d0000002100500a31302d3234342d302d30037765620473686f700373766307\
             636c7573746572056c6f63616c00c00c0021000100000005002d0000002100500a31302d3234342d302d31037765620473\
             686f700373766307636c7573746572056c6f63616c00c00c0021000100000005002d0000002100500a31302d3234342d30\
             2d32037765620473686f700373766307636c7573746572056c6f63616c00c049000100010000000500040af40000c08200\
             0100010000000500040af40001c0bb000100010000000500040af4000200002904d0000000000000"
        )
    );

    reply.clear();
    reply.push(Section::Answer, Owner::Question, rtype::CNAME, 60, name("web.cdn.example.net").wire());
    let cdn = name("web.cdn.example.net");
    reply.push(Section::Answer, Owner::Name(cdn.wire()), rtype::CNAME, 60, name("a.b.Example.org").wire());
    let back = name("a.b.Example.org");
    reply.push(Section::Answer, Owner::Name(back.wire()), rtype::A, 60, &[192, 0, 2, 1]);
    assert_eq!(
        encode(&mut reply, &query("www.Example.org", rtype::A, None), 512),
        hex(
            "00078100000100030000000003777777074578616d706c65036f72670000010001c00c000500010000003c001503776562\
             0363646e076578616d706c65036e657400c02d000500010000003c000601610162c010c04e000100010000003c0004c000\
             0201"
        )
    );

    reply.clear();
    for (preference, target) in [(10_u16, "mail.example.org"), (20, "mail2.example.org")] {
        reply.push_with(Section::Answer, Owner::Question, rtype::MX, 60, |bytes| {
            bytes.extend_from_slice(&preference.to_be_bytes());
            bytes.extend_from_slice(name(target).wire());
        });
    }
    assert_eq!(
        encode(&mut reply, &query("example.org", rtype::MX, None), 512),
        hex(
            "000781000001000200000000076578616d706c65036f726700000f0001c00c000f00010000003c0009000a046d61696cc0\
             0cc00c000f00010000003c000a0014056d61696c32c00c"
        )
    );
}

/// From github.com/miekg/dns 1.1.73, as above: length, answers, additionals with the OPT record, TC.
#[test]
fn packets_are_truncated_at_the_same_record_as_by_gos_dns_library() {
    for (count, limit, length, answers, additionals, truncated) in [
        (5, 512, 431, 5, 6, false),
        (6, 512, 504, 6, 7, false),
        (7, 512, 497, 7, 3, true),
        (20, 512, 465, 7, 1, true),
        (400, 512, 465, 7, 1, true),
        (7, 1232, 577, 7, 8, false),
        (20, 1232, 1232, 20, 2, true),
        (400, 1232, 1216, 20, 1, true),
        (20, 4096, 1536, 20, 21, false),
        (400, 4096, 4058, 69, 1, true),
    ] {
        let question = query("_http._tcp.web.shop.svc.cluster.local", rtype::SRV, Some(limit));
        for relative in [false, true] {
            let mut reply = Reply::default();
            srv(&mut reply, count, relative);
            let packet = encode(&mut reply, &question, limit.into());
            let count_at = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
            assert_eq!(
                (packet.len(), count_at(6), count_at(10), packet[2] & 2 != 0),
                (length, answers, additionals, truncated),
                "{count} endpoints in {limit} bytes, owners relative: {relative}"
            );
            let last = reply.records()[reply.records().len() - 1];
            let name = format!("10-244-0-{}.web.shop.svc.cluster.local.", count - 1);
            assert_eq!(reply.owner(&last, &question).to_string(), name);
        }
    }
    for (count, kept) in [(29, 29), (30, 29), (33, 29)] {
        let mut reply = Reply::default();
        for i in 0..count {
            reply.push(Section::Answer, Owner::Question, rtype::A, 5, &[10, 0, 0, i]);
        }
        let packet = encode(&mut reply, &query("web.shop.svc.cluster.local", rtype::A, None), 512);
        assert_eq!(
            (packet.len(), packet[7], packet[2] & 2 != 0),
            (508, kept, count > kept),
            "{count} addresses"
        );
    }
}

#[test]
fn names_relative_to_the_question_repeat_its_case() {
    let question = query("Nope.SHOP.svc.Cluster.local", rtype::A, Some(512));
    let mut reply = Reply { rcode: 3, ..Reply::default() };
    let zone = question.offsets()[3];
    reply.push_with(Section::Authority, Owner::Parent(zone), rtype::SOA, 5, |bytes| {
        for label in [&b"\x02ns\x03dns"[..], b"\x0ahostmaster"] {
            bytes.extend_from_slice(label);
            bytes.extend_from_slice(&Reply::parent(zone));
        }
        bytes.extend_from_slice(&[0; 20]);
    });
    let record = reply.records()[0];
    assert_eq!(reply.owner(&record, &question).to_string(), "Cluster.local.");
    assert_eq!(
        reply.target(&record, &question).map(|name| name.to_string()),
        Some("ns.dns.Cluster.local.".into())
    );

    let packet = encode(&mut reply, &question, 512);
    let message = Message::from_vec(&packet).unwrap();
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(
        message.authorities[0].to_string(),
        "Cluster.local. 5 IN SOA ns.dns.Cluster.local. hostmaster.Cluster.local. 0 0 0 0 0"
    );

    let mut other = Reply::default();
    reply.records_mut()[0].section = Section::Answer;
    other.append(&reply, &question);
    let packet = encode(&mut other, &query("another.name", rtype::A, None), 512);
    assert_eq!(
        Message::from_vec(&packet).unwrap().answers[0].to_string(),
        "Cluster.local. 5 IN SOA ns.dns.Cluster.local. hostmaster.Cluster.local. 0 0 0 0 0",
        "appended to the reply of another question"
    );
}

#[test]
fn header_bits_come_from_the_query_and_the_reply() {
    let mut query = Query::default();
    let mut out = [0; 512];
    let mut reply = Reply::default();
    for (sent, set, expected) in [
        (0x0000, false, 0x8000),
        (0x0110, false, 0x8110),
        (0x01b0, false, 0x8110),
        (0x2110, false, 0xa000),
        (0x0000, true, 0x86a5),
    ] {
        let packet =
            [&[0, 7, (sent >> 8) as u8, sent as u8, 0, 1, 0, 0, 0, 0, 0, 0], &b"\0\0\x01\0\x01"[..]].concat();
        query.parse(&packet).unwrap();
        reply.clear();
        if set {
            reply.rcode = 5;
            (reply.authoritative, reply.truncated) = (true, true);
            (reply.recursion_available, reply.authentic_data) = (true, true);
        }
        assert_eq!(reply.encode(&query, 512, &mut out), 17);
        assert_eq!(u16::from_be_bytes([out[2], out[3]]), expected, "{sent:04x}");
    }
}

#[test]
fn the_opt_record_follows_that_of_the_client() {
    let mut question = query("a.example", rtype::A, Some(4096));
    question.edns = question.edns.map(|edns| Edns { dnssec_ok: true, ..edns });
    let mut reply = Reply { rcode: 23, ..Reply::default() };
    let packet = encode(&mut reply, &question, 512);
    assert_eq!(
        &packet[packet.len() - 11..],
        b"\0\0\x29\x10\0\x01\0\x80\0\0\0",
        "size and DO echoed, rcode 23 = 1<<4|7"
    );
    assert_eq!(packet[3] & 15, 7);

    // Options come only from an upstream; those of the client are not echoed.
    let upstream = b"\0\x07\x80\0\0\x01\0\0\0\0\0\x01\x01a\x07example\0\0\x01\0\x01\0\0\x29\x02\0\0\0\0\0\0\x05\0\x0f\0\x01!";
    assert_eq!(reply.parse(upstream, &question), Ok(ResponseHeader { id: 7, matches: true }));
    let packet = encode(&mut reply, &question, 512);
    assert_eq!(&packet[packet.len() - 16..], b"\0\0\x29\x10\0\0\0\x80\0\0\x05\0\x0f\0\x01!");

    // A reply that is padded to 600 bytes, for a client that accepts 512.
    let padded = [&upstream[..upstream.len() - 7], b"\x02\x40\0\x0c\x02\x3c", &[0; 572]].concat();
    assert_eq!(reply.parse(&padded, &question), Ok(ResponseHeader { id: 7, matches: true }));
    reply.push(Section::Answer, Owner::Question, rtype::A, 5, &[192, 0, 2, 1]);
    let packet = encode(&mut reply, &question, 512);
    assert_eq!(
        &packet[packet.len() - 11..],
        b"\0\0\x29\x10\0\0\0\x80\0\0\0",
        "the reply without its options"
    );
    assert_eq!((packet[7], packet[2] & 2), (1, 0));
    assert!(
        encode(&mut reply, &question, 1232).len() > 572,
        "a client that accepts a longer reply gets the options"
    );

    question.edns = None;
    assert_eq!(encode(&mut reply, &question, 512)[11], 0, "no OPT record if the client sent none");
    reply.rcode = 16;
    assert_eq!(encode(&mut reply, &question, 512)[3] & 15, 2, "BADVERS without EDNS would be NOERROR");
}

#[test]
fn a_response_matches_only_its_own_question() {
    let question = query("a.example", rtype::A, None);
    let mut reply = Reply::default();
    let packet = |flags: u8, question: &[u8]| [&[0, 9, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0], question].concat();
    for (what, packet, matches) in [
        ("the same", packet(0x80, b"\x01a\x07example\0\0\x01\0\x01"), true),
        ("another case", packet(0x80, b"\x01A\x07exAmple\0\0\x01\0\x01"), true),
        ("another name", packet(0x80, b"\x01b\x07example\0\0\x01\0\x01"), false),
        ("another type", packet(0x80, b"\x01a\x07example\0\0\x1c\0\x01"), false),
        ("another class", packet(0x80, b"\x01a\x07example\0\0\x01\0\x03"), false),
        ("no response", packet(0, b"\x01a\x07example\0\0\x01\0\x01"), false),
    ] {
        assert_eq!(reply.parse(&packet, &question), Ok(ResponseHeader { id: 9, matches }), "{what}");
    }
    assert_eq!(reply.parse(&[0; 11], &question), Err(InvalidMessage { at: 0 }));
    assert_eq!(reply.parse(&packet(0x80, b"\x01a"), &question), Err(InvalidMessage { at: 12 }));
    for (rtype, class, length, well_formed) in [
        (1, 1, 4, true),
        (1, 1, 3, false),
        (28, 1, 16, true),
        (28, 1, 4, false),
        (28, 1, 0, false),
        (1, 3, 9, true),
    ] {
        let record = [&[0, 0, rtype, 0, class, 0, 0, 0, 1, 0, length][..], &vec![7; length.into()]].concat();
        let packet = [&[0, 9, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0], &record[..]].concat();
        assert_eq!(
            reply.parse(&packet, &question).is_ok(),
            well_formed,
            "type {rtype}, class {class}, {length} bytes"
        );
    }
}

fn hickory_name() -> impl Strategy<Value = HickoryName> {
    // Few labels, some in upper case, so that names share suffixes and differ in letter case.
    let label = prop_oneof![Just("a"), Just("B"), Just("b"), Just("example"), Just("long-label-number-one")];
    proptest::collection::vec(label, 0..6)
        .prop_map(|labels| HickoryName::from_ascii(labels.join(".") + ".").expect("these are labels"))
}

fn hickory_record() -> impl Strategy<Value = HickoryRecord> {
    let data = prop_oneof![
        any::<[u8; 4]>().prop_map(|octets| RData::A(A(octets.into()))),
        any::<[u8; 16]>().prop_map(|octets| RData::AAAA(AAAA(octets.into()))),
        hickory_name().prop_map(|name| RData::CNAME(CNAME(name))),
        hickory_name().prop_map(|name| RData::NS(NS(name))),
        hickory_name().prop_map(|name| RData::PTR(PTR(name))),
        (any::<u16>(), hickory_name()).prop_map(|(preference, name)| RData::MX(MX::new(preference, name))),
        (hickory_name(), hickory_name(), any::<u32>())
            .prop_map(|(m, r, serial)| RData::SOA(SOA::new(m, r, serial, 2, 3, 4, 5))),
        (any::<u16>(), any::<u16>(), any::<u16>(), hickory_name()).prop_map(
            |(priority, weight, port, target)| RData::SRV(SRV::new(priority, weight, port, target))
        ),
        "[ -~]{0,40}".prop_map(|text| RData::TXT(TXT::new(vec![text]))),
    ];
    (hickory_name(), any::<u32>(), data)
        .prop_map(|(name, ttl, data)| HickoryRecord::from_rdata(name, ttl, data))
}

proptest! {
    /// A message that hickory encoded is parsed and encoded again, and hickory then parses the same message.
    #[test]
    fn messages_pass_through_unchanged(
        question in hickory_name(),
        answers in proptest::collection::vec(hickory_record(), 0..5),
        authorities in proptest::collection::vec(hickory_record(), 0..3),
        additionals in proptest::collection::vec(hickory_record(), 0..3),
        rcode in 0..16_u16,
        bits in any::<[bool; 4]>(),
    ) {
        let query = query(&question.to_ascii(), rtype::A, None);
        let mut message = Message::response(7, hickory_proto::op::OpCode::Query);
        message.queries.push(hickory_proto::op::Query::query(question, hickory_proto::rr::RecordType::A));
        (message.answers, message.authorities, message.additionals) = (answers, authorities, additionals);
        message.metadata.recursion_desired = true;
        message.metadata.response_code = rcode.into();
        message.metadata.authoritative = bits[0];
        message.metadata.truncation = bits[1];
        message.metadata.recursion_available = bits[2];
        message.metadata.authentic_data = bits[3];
        let sent = message.to_vec().unwrap();

        let mut reply = Reply::default();
        prop_assert_eq!(reply.parse(&sent, &query), Ok(ResponseHeader { id: 7, matches: true }));
        let ours = encode(&mut reply, &query, 65535);
        let read = Message::from_vec(&ours).unwrap();
        prop_assert_eq!(&read, &message);
        for (ours, theirs) in read.answers.iter().zip(&message.answers) {
            // Comparing names ignores the letter case; the text also shows that.
            prop_assert_eq!(ours.to_string(), theirs.to_string());
        }
        prop_assert!(ours.len() <= sent.len(), "ours is compressed as well: {} and {}", ours.len(), sent.len());
    }

    /// The packet is at most as long as the limit and can be parsed.
    #[test]
    fn a_reply_never_exceeds_its_limit(
        answers in proptest::collection::vec(hickory_record(), 0..8),
        limit in 0..700_usize,
        edns in any::<bool>(),
    ) {
        let query = query("a.b.example", rtype::A, edns.then_some(512));
        let mut message = Message::response(7, hickory_proto::op::OpCode::Query);
        message.answers = answers;
        let mut reply = Reply::default();
        reply.parse(&message.to_vec().unwrap(), &query).unwrap();
        let ours = encode(&mut reply, &query, limit);
        prop_assert!(ours.len() <= limit);
        if ours.is_empty() {
            prop_assert!(limit < 29 + 11, "the question fits into {limit}");
            return Ok(());
        }
        let read = Message::from_vec(&ours).unwrap();
        prop_assert_eq!(read.edns.is_some(), edns);
        prop_assert_eq!(read.metadata.truncation, read.answers.len() < message.answers.len());
        prop_assert_eq!(&read.answers[..], &message.answers[..read.answers.len()], "whole records from the front");
    }

    #[test]
    fn any_bytes_are_parsed_or_rejected(packet in proptest::collection::vec(any::<u8>(), 0..400)) {
        let query = query("a.example", rtype::A, Some(512));
        let mut reply = Reply::default();
        if reply.parse(&packet, &query).is_ok() {
            let ours = encode(&mut reply, &query, 65535);
            prop_assert!(Reply::default().parse(&ours, &query).is_ok());
            for record in reply.records() {
                let _ = (reply.owner(record, &query), reply.target(record, &query));
            }
        } else {
            prop_assert!(reply.records().is_empty());
        }
    }

    /// Bytes that resemble a message, so that all branches are reached.
    #[test]
    fn any_records_are_parsed_or_rejected(
        counts in proptest::array::uniform3(0..3_u8),
        rest in proptest::collection::vec(prop_oneof![Just(0), Just(1), Just(0xc0), Just(12), 0..64_u8, any::<u8>()], 0..200),
    ) {
        let [a, b, c] = counts;
        let packet = [&[0, 1, 0x80, 0, 0, 0, 0, a, 0, b, 0, c][..], &rest].concat();
        let query = query("a.example", rtype::A, Some(512));
        let mut reply = Reply::default();
        if reply.parse(&packet, &query).is_ok() {
            let ours = encode(&mut reply, &query, 65535);
            prop_assert!(Reply::default().parse(&ours, &query).is_ok());
        }
    }
}
