use std::str::FromStr;

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::RecordType;
use proptest::prelude::*;

use super::*;
use crate::codes::class;

/// A query for `Web.shop. A` with ID 0x1234, these flags and counts, and the bytes after the question.
fn packet(flags: u16, counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; HEADER];
    write_header(0x1234, flags, counts, &mut packet).unwrap();
    packet.extend_from_slice(b"\x03Web\x04shop\x00\x00\x01\x00\x01");
    packet.extend_from_slice(rest);
    packet
}

/// An OPT record: UDP size 1232, this version, these flags and options.
fn opt(version: u8, flags: u8, options: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0, 41, 0x04, 0xd0, 0, version, flags, 0, 0, options.len() as u8];
    record.extend_from_slice(options);
    record
}

/// A record whose owner is the root.
fn record(rtype: u16, data: &[u8]) -> Vec<u8> {
    let [t0, t1] = rtype.to_be_bytes();
    [&[0, t0, t1, 0, 1, 0, 0, 0, 9, 0, data.len() as u8][..], data].concat()
}

#[test]
fn packets_are_accepted_or_rejected_as_by_coredns() {
    use Rejection::{Drop, Reply};
    let plain = |flags, counts| packet(flags, counts, b"");
    let a = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00\x01";
    for (what, packet, accepted) in [
        ("empty", vec![], Err(Drop)),
        ("shorter than a header", vec![0; 11], Err(Drop)),
        ("a response", plain(QR, [1, 0, 0, 0]), Err(Drop)),
        ("a response, malformed", plain(QR, [9, 9, 9, 9]), Err(Drop)),
        ("a query", plain(RD, [1, 0, 0, 0]), Ok(())),
        ("NOTIFY", plain(4 << 11, [1, 0, 0, 0]), Ok(())),
        ("NOTIFY with its SOA", packet(4 << 11, [1, 1, 0, 0], a), Ok(())),
        ("IQUERY", plain(1 << 11, [1, 0, 0, 0]), Err(Reply(4))),
        ("UPDATE", plain(5 << 11, [1, 0, 3, 0]), Err(Reply(4))),
        ("no question", plain(0, [0, 0, 0, 0]), Err(Reply(1))),
        ("two questions", plain(0, [2, 0, 0, 0]), Err(Reply(1))),
        ("two answers", plain(0, [1, 2, 0, 0]), Err(Reply(1))),
        ("two authorities", plain(0, [1, 0, 2, 0]), Err(Reply(1))),
        ("three additionals", plain(0, [1, 0, 0, 3]), Err(Reply(1))),
        (
            "a header only, with a question announced",
            plain(0, [1, 0, 0, 0])[..HEADER].to_vec(),
            Err(Reply(2)),
        ),
        ("the end within the name", plain(0, [1, 0, 0, 0])[..HEADER + 6].to_vec(), Err(Reply(1))),
        ("the end after the name", plain(0, [1, 0, 0, 0])[..HEADER + 10].to_vec(), Ok(())),
        ("the end within the type", plain(0, [1, 0, 0, 0])[..HEADER + 11].to_vec(), Err(Reply(1))),
        ("the end after the type", plain(0, [1, 0, 0, 0])[..HEADER + 12].to_vec(), Ok(())),
        ("the end within the class", plain(0, [1, 0, 0, 0])[..HEADER + 13].to_vec(), Err(Reply(1))),
        ("announced records that are missing", plain(0, [1, 1, 1, 2]), Ok(())),
        ("bytes after the end", packet(0, [1, 0, 0, 0], b"xyz"), Ok(())),
        ("the end within a record", packet(0, [1, 0, 0, 1], &opt(0, 0, b"")[..9]), Err(Reply(1))),
        ("a record with a name that loops", packet(0, [1, 1, 0, 0], b"\xc0\x16\x00\x01"), Err(Reply(1))),
        ("an additional that is no OPT", packet(0, [1, 0, 0, 1], a), Ok(())),
        ("OPT", packet(0, [1, 0, 0, 1], &opt(0, 0, b"")), Ok(())),
        ("OPT with a cookie", packet(0, [1, 0, 0, 1], &opt(0, 0, b"\x00\x0a\x00\x01x")), Ok(())),
        ("OPT with half an option", packet(0, [1, 0, 0, 1], &opt(0, 0, b"\x00\x0a\x00\x02x")), Err(Reply(1))),
        ("an address of three bytes", packet(0, [1, 0, 0, 1], &record(rtype::A, b"abc")), Err(Reply(1))),
        ("an address of five bytes", packet(0, [1, 1, 0, 0], &record(rtype::A, b"abcde")), Err(Reply(1))),
        ("an address without data", packet(0, [1, 0, 1, 0], &record(rtype::A, b"")), Ok(())),
        (
            "a name that extends beyond its data",
            packet(0, [1, 0, 0, 1], &record(rtype::NS, b"\x05a")),
            Err(Reply(1)),
        ),
        ("a pointer to the question", packet(0, [1, 0, 0, 1], &record(rtype::NS, b"\xc0\x0c")), Ok(())),
        ("data of an unknown type", packet(0, [1, 0, 0, 1], &record(65_280, b"abc")), Ok(())),
        (
            "OPT and one more record",
            packet(0, [1, 0, 0, 2], &[opt(0, 0, b""), record(rtype::A, b"abcd")].concat()),
            Ok(()),
        ),
        // Forbidden by RFC 6891 §6.1.1; Go's library uses the last one.
        ("two OPT", packet(0, [1, 0, 0, 2], &[opt(0, 0, b""), opt(0, 0, b"")].concat()), Err(Reply(1))),
        ("EDNS version 1", packet(0, [1, 0, 0, 1], &opt(1, 0, b"")), Ok(())),
    ] {
        let mut query = Query::default();
        assert_eq!(query.parse(&packet), accepted, "{what}");
    }
}

#[test]
fn missing_fields_of_a_question_are_zero() {
    let whole = packet(RD, [1, 0, 0, 0], b"");
    let mut query = Query::default();
    for (length, qtype, qclass) in [(HEADER + 14, 1, 1), (HEADER + 12, 1, 0), (HEADER + 10, 0, 0)] {
        query.parse(&whole[..length]).unwrap();
        assert_eq!((query.qtype, query.qclass), (qtype, qclass), "{length} bytes");
    }
}

#[test]
fn an_edns_option_of_an_invalid_length_is_a_format_error() {
    for (code, lengths, well_formed) in [
        (1, &[18, 20][..], true),
        (1, &[0, 17], false),
        (2, &[4, 8], true),
        (2, &[0, 3, 9], false),
        (9, &[0, 4], true),
        (9, &[1, 3], false),
        (11, &[0, 2], true),
        (11, &[1, 3], false),
        (15, &[2, 7], true),
        (15, &[0, 1], false),
        (10, &[0, 3, 8], true),
        (65001, &[0, 1], true),
    ] {
        for length in lengths {
            let option =
                [&[(code >> 8) as u8, code as u8, 0, *length][..], &vec![0; *length as usize]].concat();
            assert_eq!(
                crate::options::are_well_formed_options(&option),
                well_formed,
                "option {code} of {length} bytes"
            );
        }
    }
}

#[test]
fn a_client_subnet_with_an_unknown_family_or_too_long_a_prefix_is_a_format_error() {
    for (what, subnet, well_formed) in [
        ("family 0 without a prefix", &[0, 0, 0, 0][..], true),
        ("24 bits of IPv4", &[0, 1, 24, 0, 192, 0, 2], true),
        ("a whole IPv4 address", &[0, 1, 32, 0, 192, 0, 2, 1], true),
        ("fewer octets than the prefix has", &[0, 1, 24, 0, 192], true),
        ("56 bits of IPv6", &[0, 2, 56, 0, 32, 1, 13, 184, 0, 0, 0], true),
        ("empty", &[], false),
        ("a family alone", &[0, 1], false),
        ("no scope", &[0, 1, 0], false),
        ("family 0 with a prefix", &[0, 0, 8, 0], false),
        ("33 bits of IPv4", &[0, 1, 33, 0, 192, 0, 2, 1, 0], false),
        ("a scope of 33 bits", &[0, 1, 24, 33, 192, 0, 2], false),
        ("129 bits of IPv6", &[0, 2, 129, 0], false),
        ("a third family", &[0, 3, 0, 0], false),
    ] {
        // The subnet follows a cookie, so the test also shows that all options are checked.
        let options = [&b"\x00\x0a\x00\x01x\x00\x08\x00"[..], &[subnet.len() as u8], subnet].concat();
        let accepted = Query::default().parse(&packet(0, [1, 0, 0, 1], &opt(0, 0, &options)));
        let wanted = if well_formed { Ok(()) } else { Err(Rejection::Reply(1)) };
        assert_eq!(accepted, wanted, "{what}");
    }
}

#[test]
fn a_name_is_accepted_up_to_its_length_limits() {
    let ask = |name: &[u8]| {
        let mut packet = vec![0; HEADER];
        write_header(1, 0, [1, 0, 0, 0], &mut packet).unwrap();
        packet.extend_from_slice(name);
        packet.extend_from_slice(&[0, 1, 0, 1]);
        Query::default().parse(&packet)
    };
    let label = |len: u8| [&[len][..], &vec![b'a'; len.into()]].concat();
    let short = [label(63), label(63), label(63), label(61), vec![0]].concat();
    let long = [label(63), label(63), label(63), label(62), vec![0]].concat();
    let ones = [label(1).repeat(127), vec![0]].concat();
    for (what, name, accepted) in [
        ("the root", vec![0], true),
        ("255 bytes", short, true),
        ("256 bytes", long, false),
        ("127 labels", ones, true),
        ("128 labels", [label(1).repeat(128), vec![0]].concat(), false),
        ("a label of 64 bytes", [label(64), vec![0]].concat(), false),
        ("a pointer to itself", b"\xc0\x0c".to_vec(), false),
        ("a pointer into the header", b"\x01a\xc0\x00".to_vec(), false),
    ] {
        assert_eq!(ask(&name).is_ok(), accepted, "{what}");
    }
}

#[test]
fn a_query_has_the_fields_of_its_packet() {
    let mut query = Query::default();
    let sent = packet(RD | CD | AD, [1, 0, 0, 1], &opt(0, 0x80, b"\x00\x0a\x00\x01x"));
    query.parse(&sent).unwrap();
    assert_eq!((query.id, query.qtype, query.qclass), (0x1234, rtype::A, class::IN));
    assert_eq!((query.name(), query.lower()), (&b"\x03Web\x04shop\x00"[..], &b"\x03web\x04shop\x00"[..]));
    assert_eq!(query.offsets(), [0, 4]);
    assert_eq!(query.edns, Some(Edns { udp_size: 1232, version: 0, dnssec_ok: true }));
    assert_eq!(query.options(), b"\x00\x0a\x00\x01x");
    assert!(
        query.recursion_desired() && query.checking_disabled() && query.authentic_data() && query.dnssec_ok()
    );
    assert_eq!(query.udp_limit(), 1232);

    let mut out = [0; 512];
    let length = query.encode(0x1234, &mut out);
    assert_eq!(out[..length], sent, "the query is forwarded unchanged");
}

#[test]
fn a_small_edns_size_counts_as_512() {
    let mut query = Query::default();
    for (size, limit) in [(0, 512), (511, 512), (512, 512), (513, 513), (65535, 65535)] {
        query.edns = Some(Edns { udp_size: size, version: 0, dnssec_ok: false });
        assert_eq!(query.udp_limit(), limit);
    }
    query.edns = None;
    assert_eq!(query.udp_limit(), 512);
}

#[test]
fn error_replies_echo_the_fields_that_coredns_echoes() {
    let error_reply = |packet: &[u8], code| {
        let mut query = Query::default();
        assert_eq!(query.parse(packet), Err(Rejection::Reply(code)));
        let mut out = [0xff; 512];
        let length = query.encode_error(code, &mut out);
        out[..length].to_vec()
    };
    let question = b"\x03Web\x04shop\x00\x00\x01\x00\x01";
    let all = RD | RA | AD | CD | TC | AA | 0x40;
    let update = packet(5 << 11 | all, [1, 0, 0, 0], b"");
    assert_eq!(
        error_reply(&update, rcode::NOTIMP),
        b"\x12\x34\xab\xb4\0\0\0\0\0\0\0\0",
        "the operation is kept and the question is left out"
    );
    let two = packet(4 << 11 | all, [2, 0, 0, 0], b"");
    assert_eq!(
        error_reply(&two, rcode::FORMERR),
        b"\x12\x34\x83\xb1\0\0\0\0\0\0\0\0",
        "the operation is cleared"
    );
    let truncated = packet(RD, [1, 0, 0, 1], b"\0\0");
    let expected = [&b"\x12\x34\x81\x01\0\x01\0\0\0\0\0\0"[..], question].concat();
    assert_eq!(error_reply(&truncated, rcode::FORMERR), expected, "the question was parsed");
    let version = packet(RD | AD, [1, 0, 0, 1], &opt(1, 0x80, b""));
    let mut query = Query::default();
    query.parse(&version).unwrap();
    let mut out = [0xff; 512];
    let length = query.encode_error(rcode::BADVERS, &mut out);
    let expected =
        [&b"\x12\x34\x81\x00\0\x01\0\0\0\0\0\x01"[..], question, b"\0\0\x29\0\0\x01\0\0\0\0\0"].concat();
    assert_eq!(out[..length], expected, "an OPT of size 0");
}

#[test]
fn encoded_queries_are_parsed_by_hickory() {
    let query = Query::new(9, &Name::from_str("Example.org").unwrap(), rtype::AAAA);
    let mut out = [0; 512];
    let length = query.encode(9, &mut out);
    let message = Message::from_vec(&out[..length]).unwrap();
    assert_eq!((message.metadata.id, message.metadata.op_code), (9, OpCode::Query));
    assert!(message.metadata.recursion_desired && message.edns.is_none());
    assert_eq!(message.queries[0].name.to_string(), "Example.org.");
    assert_eq!(message.queries[0].query_type, RecordType::AAAA);
}

proptest! {
    #[test]
    fn any_bytes_are_accepted_or_rejected(packet in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut query = Query::default();
        let accepted = query.parse(&packet);
        let mut out = [0; 600];
        if let Err(Rejection::Reply(code)) = accepted {
            let length = query.encode_error(code, &mut out);
            prop_assert!(length >= HEADER);
            prop_assert!(Message::from_vec(&out[..length]).is_ok());
        }
    }

    #[test]
    fn any_bytes_after_a_valid_header_are_accepted_or_rejected(
        additionals in 0..3_u16,
        rest in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut query = Query::default();
        if query.parse(&packet(RD, [1, 0, 0, additionals], &rest)).is_ok() {
            let mut out = [0; 1024];
            let length = query.encode(query.id, &mut out);
            prop_assert!(Query::default().parse(&out[..length]).is_ok(), "an accepted query can be forwarded");
        }
    }

    #[test]
    fn truncated_packets_and_short_buffers_do_not_panic(cut in 0..40_usize) {
        let sent = packet(RD, [1, 0, 0, 1], &opt(0, 0x80, b"\x00\x0a\x00\x01x"));
        let _ = Query::default().parse(&sent[..cut.min(sent.len())]);
        let mut query = Query::default();
        query.parse(&sent).unwrap();
        let mut out = vec![0; cut];
        prop_assert!(query.encode(1, &mut out) <= cut);
        prop_assert!(query.encode_error(rcode::FORMERR, &mut out) <= cut);
    }
}

#[test]
fn letters_of_any_place_are_lowered_and_other_bytes_are_not() {
    for length in 0..40 {
        for byte in 0..=u8::MAX {
            let from: Vec<u8> = (0..length).map(|at| byte.wrapping_add(at)).collect();
            let mut to = vec![0; from.len()];
            copy_lower(&from, &mut to);
            assert_eq!(to, from.to_ascii_lowercase());
        }
    }
}
