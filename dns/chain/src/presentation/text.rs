//! Writes records in presentation format.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use dns_wire::codes::rtype;
use dns_wire::{Name, Query, Record, Reply};

use crate::codes::{Class, Type};

/// A record of a reply, which answers `query`, as a line of a zone file. Data of types without a format of their own here is written as
/// RFC 3597 §5 has it.
pub fn record_text(reply: &Reply, record: &Record, query: &Query) -> String {
    let mut data = Vec::new();
    reply.copy_rdata(record, query, &mut data);
    let (owner, class) = (reply.owner(record, query), Class(record.class));
    let shown = rdata_text(record.rtype, &data).unwrap_or_else(|| unknown(&data));
    format!("{owner} {} {class} {} {shown}", record.ttl, Type(record.rtype))
}

/// `None` if the type has no format here, or the data is cut off.
fn rdata_text(rtype: u16, data: &[u8]) -> Option<String> {
    let number = |at: usize| Some(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?));
    Some(match rtype {
        rtype::A => Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).to_string(),
        rtype::AAAA => Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string(),
        rtype::CNAME | rtype::NS | rtype::PTR | rtype::DNAME => whole_name(data)?.to_string(),
        rtype::MX => format!("{} {}", number(0)?, whole_name(data.get(2..)?)?),
        rtype::SRV => format!("{} {} {} {}", number(0)?, number(2)?, number(4)?, whole_name(data.get(6..)?)?),
        rtype::SOA => {
            let mname = name(data)?;
            let rest = &data[mname.wire().len()..];
            let rname = name(rest)?;
            let mut text = format!("{mname} {rname}");
            let fields = &rest[rname.wire().len()..];
            if fields.len() != 20 {
                return None;
            }
            for field in fields.chunks_exact(4) {
                let field: [u8; 4] = field.try_into().ok()?;
                let _ = write!(text, " {}", u32::from_be_bytes(field));
            }
            text
        }
        rtype::TXT if !data.is_empty() => strings(data)?,
        _ => return None,
    })
}

/// The name at the start of data, without pointers.
pub(super) fn name(data: &[u8]) -> Option<Name> {
    let mut end = 0;
    while *data.get(end)? != 0 {
        end += 1 + usize::from(data[end]);
    }
    Name::from_wire(&data[..=end])
}

/// The name that data consists of.
fn whole_name(data: &[u8]) -> Option<Name> {
    name(data).filter(|name| name.wire().len() == data.len())
}

/// Character strings (RFC 1035 §3.3) in quotes.
fn strings(mut data: &[u8]) -> Option<String> {
    let mut texts = Vec::new();
    while let Some((len, rest)) = data.split_first() {
        let (string, after) = rest.split_at_checked(usize::from(*len))?;
        texts.push(quoted(string));
        data = after;
    }
    Some(texts.join(" "))
}

/// A character string, with `\DDD` for bytes that are not printable (RFC 1035 §5.1).
fn quoted(string: &[u8]) -> String {
    let mut text = "\"".to_owned();
    for byte in string {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => text += &format!("\\{byte:03}"),
        }
    }
    text.push('"');
    text
}

fn unknown(data: &[u8]) -> String {
    let mut text = format!("\\# {} ", data.len());
    for byte in data {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use dns_wire::{Owner, Section};

    use super::*;

    #[test]
    fn records_are_written_as_a_zone_file_has_them() {
        for text in [
            "a.test. 30 IN A 10.0.0.1",
            "a.test. 30 IN AAAA 2001:db8::1",
            "a.test. 30 IN CNAME b.test.",
            "a.test. 30 IN SRV 0 100 53 b.test.",
            "a.test. 30 IN MX 10 b.test.",
            "a.test. 30 IN SOA ns.test. host.test. 1 2 3 4 5",
            "a.test. 30 IN TXT \"one\" \"two words\"",
            "a.test. 30 CLASS7 A 10.0.0.1",
            "a.test. 30 IN TYPE999 \\# 3 010203",
        ] {
            let record = crate::presentation::record(text).unwrap().unwrap();
            let query = Query::new(1, &record.owner, record.rtype);
            let mut reply = Reply::default();
            let kind = (record.rtype, record.class);
            reply.push_class(Section::Answer, Owner::Question, kind, record.ttl, &record.rdata);
            assert_eq!(record_text(&reply, &reply.records()[0], &query), text);
        }
    }

    /// Data of an upstream may have any form.
    #[test]
    fn data_that_is_not_that_of_its_type_is_written_as_of_an_unknown_one() {
        for (rtype, data) in [
            (rtype::TXT, &b""[..]),
            (rtype::A, b"\x0a"),
            (rtype::CNAME, b"\x01a\0\0"),
            (rtype::MX, b"\0\x0a\0\0"),
            (rtype::SOA, b"\0\0\0\0\0\x01"),
        ] {
            assert_eq!(rdata_text(rtype, data), None, "{}", Type(rtype));
        }
    }

    #[test]
    fn bytes_that_are_not_printable_are_written_in_decimal() {
        assert_eq!(quoted(b"a \"b\\ \xc8\n'"), r#""a \"b\\ \200\010'""#);
    }
}
