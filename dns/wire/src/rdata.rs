//! Whether record data has the form of its type.
//!
//! Go's DNS library unpacks every record of a query, and CoreDNS answers FORMERR if it cannot. The table below has the
//! fields of its types (miekg/dns v1.1.72, zmsg.go).

use crate::codes::rtype;
use crate::name;
use crate::options::are_well_formed_options;

/// A part of record data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    /// This many bytes of any value.
    Bytes(usize),
    /// A domain name, which may be compressed.
    Name,
    /// A character string: a length byte and that many bytes (RFC 1035 §3.3).
    Text,
    /// Character strings up to the end of the data.
    Texts,
    /// A 16-bit length and that many bytes.
    Counted,
    /// A bitmap of types up to the end of the data (RFC 4034 §4.1.2).
    Types,
    /// Service parameters up to the end of the data (RFC 9460 §2.2).
    Parameters,
    /// The rest of the data.
    Rest,
}

use Field::{Bytes, Counted, Name, Parameters, Rest, Text, Texts, Types};

/// The fields of a type; only [`Rest`] for a type whose data is not checked.
fn fields(rtype: u16) -> &'static [Field] {
    match rtype {
        rtype::A => &[Bytes(4)],
        rtype::AAAA => &[Bytes(16)],
        rtype::NS
        | rtype::MD
        | rtype::MF
        | rtype::CNAME
        | rtype::MB
        | rtype::MG
        | rtype::MR
        | rtype::PTR
        | rtype::DNAME
        | 23 => &[Name],
        rtype::SOA => &[Name, Name, Bytes(4), Bytes(4), Bytes(4), Bytes(4), Bytes(4)],
        rtype::MINFO | rtype::RP | 58 => &[Name, Name],
        rtype::MX | rtype::AFSDB | rtype::RT | rtype::KX | 107 => &[Bytes(2), Name],
        rtype::PX => &[Bytes(2), Name, Name],
        rtype::SRV => &[Bytes(2), Bytes(2), Bytes(2), Name],
        rtype::NAPTR => &[Bytes(2), Bytes(2), Text, Text, Text, Name],
        rtype::HINFO | 20 => &[Text, Text],
        // X25, UINFO.
        19 | 100 => &[Text],
        // GPOS.
        27 => &[Text, Text, Text],
        // NINFO, SPF, AVC, RESINFO.
        rtype::TXT | 56 | 99 | 258 | 261 => &[Texts],
        // SIG, RRSIG.
        24 | rtype::RRSIG => {
            &[Bytes(2), Bytes(1), Bytes(1), Bytes(4), Bytes(4), Bytes(4), Bytes(2), Name, Rest]
        }
        // KEY, DNSKEY, RKEY, CDS, CDNSKEY, TA, DLV.
        25 | rtype::DS | 48 | 57 | 59 | 60 | 32768 | 32769 => &[Bytes(2), Bytes(1), Bytes(1), Rest],
        // LOC.
        29 => &[Bytes(1), Bytes(1), Bytes(1), Bytes(1), Bytes(4), Bytes(4), Bytes(4)],
        // NXT, NSEC.
        30 | 47 => &[Name, Types],
        // CERT.
        37 => &[Bytes(2), Bytes(2), Bytes(1), Rest],
        // SSHFP.
        44 => &[Bytes(1), Bytes(1), Rest],
        // TLSA, SMIMEA.
        52 | 53 => &[Bytes(1), Bytes(1), Bytes(1), Rest],
        // CSYNC.
        62 => &[Bytes(4), Bytes(2), Types],
        // ZONEMD.
        63 => &[Bytes(4), Bytes(1), Bytes(1), Rest],
        // SVCB.
        64 | rtype::HTTPS => &[Bytes(2), Name, Parameters],
        // UID, GID.
        101 | 102 => &[Bytes(4)],
        // NID, L64.
        104 | 106 => &[Bytes(2), Bytes(8)],
        // L32.
        105 => &[Bytes(2), Bytes(4)],
        // EUI48, EUI64.
        108 => &[Bytes(6)],
        109 => &[Bytes(8)],
        // NXNAME, ANY: no data at all.
        128 | rtype::ANY => &[],
        // TKEY.
        249 => &[Name, Bytes(4), Bytes(4), Bytes(2), Bytes(2), Counted, Counted],
        // TSIG.
        250 => &[Name, Bytes(6), Bytes(2), Counted, Bytes(2), Bytes(2), Counted],
        // URI.
        256 => &[Bytes(2), Bytes(2), Rest],
        // CAA.
        257 => &[Bytes(1), Text, Rest],
        _ => &[Rest],
    }
}

/// Whether the data of a record has the form of its type. `packet` ends with the data, which begins at `start`. Data may
/// be empty, whatever the type (RFC 2136 §2.4), and as in Go's library it may end after any of its fields.
pub(crate) fn is_well_formed(packet: &[u8], start: usize, rtype: u16) -> bool {
    if start == packet.len() {
        return true;
    }
    if rtype == rtype::OPT {
        return packet.get(start..).is_some_and(are_well_formed_options);
    }
    let mut at = start;
    for field in fields(rtype) {
        match field_end(packet, at, *field) {
            Some(end) if end == packet.len() => return true,
            Some(end) => at = end,
            None => return false,
        }
    }
    false
}

/// Where a field that begins at `at` ends.
fn field_end(packet: &[u8], at: usize, field: Field) -> Option<usize> {
    let rest = packet.get(at..)?;
    let end = match field {
        Bytes(count) => at + count,
        Name => name::read(packet, at)?.1,
        Text => at + 1 + usize::from(*rest.first()?),
        Counted => at + 2 + usize::from(u16::from_be_bytes(*rest.first_chunk()?)),
        Texts => {
            return consists_of(rest, |rest| Some(1 + usize::from(*rest.first()?))).then_some(packet.len());
        }
        Types => return are_type_blocks(rest).then_some(packet.len()),
        Parameters => return are_parameters(rest).then_some(packet.len()),
        Rest => packet.len(),
    };
    (end <= packet.len()).then_some(end)
}

/// Whether elements of the lengths that `length` returns fill the data exactly.
fn consists_of(mut data: &[u8], mut length: impl FnMut(&[u8]) -> Option<usize>) -> bool {
    while !data.is_empty() {
        match length(data).and_then(|length| data.get(length..)) {
            Some(rest) => data = rest,
            None => return false,
        }
    }
    true
}

/// Blocks of 1 to 32 bytes, in increasing order of their windows.
fn are_type_blocks(data: &[u8]) -> bool {
    let mut last = None;
    consists_of(data, |rest| {
        let [window, length] = *rest.first_chunk()?;
        let in_order = last.replace(window).is_none_or(|last| last < window);
        (in_order && (1..=32).contains(&length)).then_some(2 + usize::from(length))
    })
}

/// Parameters in strictly increasing order of their keys. 65535 is reserved.
fn are_parameters(data: &[u8]) -> bool {
    let mut last = None;
    consists_of(data, |rest| {
        let [k0, k1, l0, l1] = *rest.first_chunk()?;
        let key = u16::from_be_bytes([k0, k1]);
        let in_order = last.replace(key).is_none_or(|last| last < key);
        (in_order && key != u16::MAX).then_some(4 + usize::from(u16::from_be_bytes([l0, l1])))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_data_is_checked_against_the_fields_of_its_type() {
        for (rtype, data, wanted) in [
            (rtype::A, &b"\x01\x02\x03\x04"[..], true),
            (rtype::A, b"", true),
            (rtype::A, b"\x01\x02\x03", false),
            (rtype::A, b"\x01\x02\x03\x04\x05", false),
            (rtype::AAAA, &[0; 16], true),
            (rtype::AAAA, &[0; 4], false),
            (rtype::CNAME, b"\x01a\x00", true),
            (rtype::CNAME, b"\x01a", false),
            (rtype::CNAME, b"\x01a\x00\x00", false),
            (rtype::CNAME, b"\xc0\x00", true),
            (rtype::CNAME, b"\xc0\x0f", false),
            (rtype::MX, b"\x00\x05\x01a\x00", true),
            (rtype::MX, b"\x00\x05", true),
            (rtype::MX, b"\x00", false),
            (rtype::SOA, b"\x00\x00", true),
            (rtype::SOA, b"\x00\x00\x00\x00\x00", false),
            (rtype::SRV, b"\x00\x01\x00\x02\x00\x03\x01a\x00", true),
            (rtype::TXT, b"\x02ab\x00", true),
            (rtype::TXT, b"\x03ab", false),
            (rtype::HINFO, b"\x01a\x01b", true),
            (rtype::HINFO, b"\x01a\x01b\x00", false),
            (rtype::NAPTR, b"\x00\x01\x00\x01\x01s\x00\x00\x00", true),
            (rtype::DS, b"\x00\x01\x05", true),
            (rtype::DS, b"\x00\x01\x05\x01\xff", true),
            (47, b"\x00\x00\x01\x40\x01\x01\x80", true),
            (47, b"\x00\x01\x01\x80\x00\x01\x40", false),
            (47, b"\x00\x00\x00", false),
            (47, b"\x00\x00\x21", false),
            (rtype::HTTPS, b"\x00\x01\x00\x00\x01\x00\x03\x02h2", true),
            (rtype::HTTPS, b"\x00\x01\x00\x00\x03\x00\x00\x00\x01\x00\x00", false),
            (rtype::HTTPS, b"\x00\x01\x00\xff\xff\x00\x00", false),
            (250, b"\x00\0\0\0\0\0\0\0\0\x00\x01x\0\0\0\0\0\0", true),
            (250, b"\x00\0\0\0\0\0\0\0\0\x00\x09x", false),
            (257, b"\x00\x05issueca.example", true),
            (257, b"\x00\x05iss", false),
            (rtype::OPT, b"\x00\x0a\x00\x02ab", true),
            (rtype::OPT, b"\x00\x0a\x00\x03ab", false),
            (rtype::ANY, b"x", false),
            (65_280, b"anything", true),
        ] {
            // 15 zero bytes before the data: pointers to them are valid, pointers to the data itself are not.
            let packet = [&[0; 15][..], data].concat();
            assert_eq!(is_well_formed(&packet, 15, rtype), wanted, "type {rtype}: {data:?}");
        }
    }
}
