//! Record data in presentation format, by the fields of each type.

mod gateway;
mod host_identity;
mod location;
mod parameters;
mod prefixes;
mod wire;

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dns_wire::Name;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::tokens::ZoneToken;
use crate::codes::Type;

/// A field of record data.
#[derive(Clone, Copy)]
enum Field {
    Name,
    Byte,
    Word,
    Long,
    /// A time in seconds, with or without units.
    Seconds,
    V4,
    V6,
    /// A character string (RFC 1035 §3.3).
    Text,
    /// A character string, which is empty if the text ends before it.
    OptionalText,
    /// Character strings up to the end.
    Texts,
    /// A quoted text of any length that fills the rest of the data (RFC 8659 §4.1, RFC 7553 §4.5).
    LongText,
    /// The name of a type.
    Type,
    /// A date such as 20240101000000, or seconds (RFC 4034 §3.2).
    Date,
    /// A number or the name of a DNSSEC algorithm (RFC 4034 §A.1).
    Algorithm,
    /// A number or the name of a kind of certificate (RFC 4398 §2.1).
    CertificateType,
    Base64,
    Hex,
    /// A word of hexadecimal digits with its length; `-` if it is empty (RFC 5155 §3.3).
    Salt,
    /// A word in base32hex with its length (RFC 5155 §3.3).
    Hash,
    /// A bitmap of the types up to the end (RFC 4034 §4.1.2).
    Types,
    /// Service parameters up to the end (RFC 9460 §2.1).
    Parameters,
    /// 64 bits as four hexadecimal numbers (RFC 6742 §2.1.2).
    Locator,
    /// Prefixes of addresses up to the end (RFC 3123).
    Prefixes,
    /// A place on earth (RFC 1876).
    Location,
    /// What precedes the key of IPSECKEY (RFC 4025 §3.1).
    Gateway,
    /// AMTRELAY (RFC 8777 §4.3).
    Relay,
    /// HIP (RFC 8005 §6).
    HostIdentity,
    /// This many bytes in pairs of hexadecimal digits with hyphens between them (RFC 7043 §3.2).
    Eui(usize),
}

use Field::{
    Algorithm, Base64, Byte, CertificateType, Date, Eui, Gateway, Hash, Hex, HostIdentity, Location, Locator,
    Long, LongText, OptionalText, Parameters, Prefixes, Relay, Salt, Seconds, Text, Texts, Types, V4, V6,
    Word,
};

/// The fields of a type; `None` for types that have to be written as `\# LENGTH HEX`.
fn fields(rtype: u16) -> Option<&'static [Field]> {
    Some(match rtype {
        1 => &[V4],
        28 => &[V6],
        // NS, MD, MF, CNAME, MB, MG, MR, PTR, NSAP-PTR, DNAME.
        2 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 23 | 39 => &[Field::Name],
        6 => &[Field::Name, Field::Name, Long, Seconds, Seconds, Seconds, Seconds],
        // HINFO.
        13 => &[Text, Text],
        // MINFO, RP, TALINK.
        14 | 17 | 58 => &[Field::Name, Field::Name],
        // MX, AFSDB, RT, KX, LP.
        15 | 18 | 21 | 36 | 107 => &[Word, Field::Name],
        // TXT, NINFO, SPF, AVC, RESINFO.
        16 | 56 | 99 | 258 | 261 => &[Texts],
        // X25, UINFO.
        19 | 100 => &[Text],
        // ISDN.
        20 => &[Text, OptionalText],
        // PX.
        26 => &[Word, Field::Name, Field::Name],
        // GPOS.
        27 => &[Text, Text, Text],
        // LOC.
        29 => &[Location],
        // EID, NIMLOC.
        31 | 32 => &[Hex],
        33 => &[Word, Word, Word, Field::Name],
        35 => &[Word, Word, Text, Text, Text, Field::Name],
        // CERT.
        37 => &[CertificateType, Word, Algorithm, Base64],
        // APL.
        42 => &[Prefixes],
        // DS, CDS, TA, DLV.
        43 | 59 | 32768 | 32769 => &[Word, Algorithm, Byte, Hex],
        44 => &[Byte, Byte, Hex],
        // SIG, RRSIG.
        24 | 46 => &[Field::Type, Algorithm, Byte, Seconds, Date, Date, Word, Field::Name, Base64],
        // NXT, which CoreDNS reads as NSEC, and NSEC.
        30 | 47 => &[Field::Name, Types],
        // IPSECKEY.
        45 => &[Gateway, Base64],
        // KEY, DNSKEY, RKEY, CDNSKEY.
        25 | 48 | 57 | 60 => &[Word, Byte, Algorithm, Base64],
        50 => &[Byte, Byte, Word, Salt, Hash, Types],
        51 => &[Byte, Byte, Word, Salt],
        // TLSA, SMIMEA.
        52 | 53 => &[Byte, Byte, Byte, Hex],
        49 | 61 => &[Base64],
        62 => &[Long, Word, Types],
        63 => &[Long, Byte, Byte, Hex],
        64 | 65 => &[Word, Field::Name, Parameters],
        101 | 102 => &[Long],
        // HIP.
        55 => &[HostIdentity],
        // NID, L64.
        104 | 106 => &[Word, Locator],
        // L32.
        105 => &[Word, V4],
        108 => &[Eui(6)],
        109 => &[Eui(8)],
        256 => &[Word, Word, LongText],
        257 => &[Byte, Text, LongText],
        // AMTRELAY.
        260 => &[Relay],
        _ => return None,
    })
}

/// The data of a type in wire form.
pub(super) fn read(rtype: u16, tokens: &[ZoneToken<'_>], origin: &Name) -> Result<Vec<u8>, String> {
    if let [first, rest @ ..] = tokens
        && first.text == r"\#"
    {
        let data = generic(rest)?;
        return if fields(rtype).is_none_or(|fields| wire::is_valid(fields, &data)) {
            Ok(data)
        } else {
            Err(format!("{} bytes that are not those of the type", data.len()))
        };
    }
    let fields = fields(rtype)
        .ok_or_else(|| r"no text form is known; write \# LENGTH HEX (RFC 3597 §5)".to_owned())?;
    let (mut rest, mut data) = (tokens, Vec::new());
    for field in fields {
        rest = field.read(rest, origin, &mut data)?;
    }
    if let Some(extra) = rest.first() {
        return Err(format!("unexpected {:?}", extra.text));
    }
    if data.len() > usize::from(u16::MAX) {
        return Err("more than 65535 bytes".to_owned());
    }
    Ok(data)
}

/// `\# LENGTH HEX…` (RFC 3597 §5).
fn generic(tokens: &[ZoneToken<'_>]) -> Result<Vec<u8>, String> {
    let (length, rest) = tokens.split_first().ok_or(r"\# without a length")?;
    let data = hexadecimal(rest)?;
    let length: u16 = number(length)?;
    if data.len() == usize::from(length) {
        Ok(data)
    } else {
        Err(format!("{} bytes, not {length}", data.len()))
    }
}

impl Field {
    /// Appends the field and returns the tokens after it.
    fn read<'t, 's>(
        self,
        tokens: &'t [ZoneToken<'s>],
        origin: &Name,
        data: &mut Vec<u8>,
    ) -> Result<&'t [ZoneToken<'s>], String> {
        match self {
            Texts => {
                if tokens.is_empty() {
                    // CoreDNS sends no data, which is not valid (RFC 1035 §3.3.14).
                    data.push(0);
                }
                for token in tokens {
                    // A longer text is split, as in Go's library.
                    let text = token.bytes()?;
                    for part in text.chunks(255).chain(text.is_empty().then_some(&[][..])) {
                        data.push(part.len() as u8);
                        data.extend_from_slice(part);
                    }
                }
                return Ok(&[]);
            }
            Base64 => {
                let text: String = tokens.iter().map(|token| token.text).collect();
                data.extend_from_slice(&base64(&text)?);
                return Ok(&[]);
            }
            Hex => {
                data.extend_from_slice(&hexadecimal(tokens)?);
                return Ok(&[]);
            }
            Types => {
                bitmap(tokens, data)?;
                return Ok(&[]);
            }
            Parameters => {
                parameters::read(tokens, data)?;
                return Ok(&[]);
            }
            Prefixes => {
                prefixes::read(tokens, data)?;
                return Ok(&[]);
            }
            Location => {
                data.extend_from_slice(&location::read(tokens)?);
                return Ok(&[]);
            }
            HostIdentity => {
                host_identity::read(tokens, origin, data)?;
                return Ok(&[]);
            }
            Gateway => return gateway::read_key(tokens, origin, data),
            Relay => return gateway::read_relay(tokens, origin, data),
            OptionalText if tokens.is_empty() => {
                data.push(0);
                return Ok(&[]);
            }
            _ => {}
        }
        let (token, rest) = tokens.split_first().ok_or("fewer fields than the type has")?;
        let wrong = |wanted: &str| format!("{:?} is not {wanted}", token.text);
        match self {
            Self::Name => data.extend_from_slice(token.name(origin)?.wire()),
            Byte => data.push(number(token)?),
            Word => data.extend_from_slice(&number::<u16>(token)?.to_be_bytes()),
            Long => data.extend_from_slice(&number::<u32>(token)?.to_be_bytes()),
            Seconds => data.extend_from_slice(&token.ttl()?.to_be_bytes()),
            V4 => {
                let ip: Ipv4Addr = token.text.parse().map_err(|_| wrong("an IPv4 address"))?;
                data.extend_from_slice(&ip.octets());
            }
            V6 => {
                let ip: Ipv6Addr = token.text.parse().map_err(|_| wrong("an IPv6 address"))?;
                data.extend_from_slice(&ip.octets());
            }
            Text | OptionalText => {
                let text = token.bytes()?;
                data.push(u8::try_from(text.len()).map_err(|_| wrong("a string of at most 255 bytes"))?);
                data.extend_from_slice(&text);
            }
            LongText => data.extend_from_slice(&token.bytes()?),
            Self::Type => {
                let known = Type::named(token.text).ok_or_else(|| wrong("a type"))?;
                data.extend_from_slice(&known.0.to_be_bytes());
            }
            Date => data.extend_from_slice(&date(token.text).ok_or_else(|| wrong("a date"))?.to_be_bytes()),
            Algorithm => data.push(algorithm(token.text).ok_or_else(|| wrong("an algorithm"))?),
            CertificateType => {
                let known = certificate_type(token.text).ok_or_else(|| wrong("a kind of certificate"))?;
                data.extend_from_slice(&known.to_be_bytes());
            }
            Locator => {
                let groups = locator(token.text).ok_or_else(|| wrong("four hexadecimal numbers"))?;
                groups.iter().for_each(|group| data.extend_from_slice(&group.to_be_bytes()));
            }
            Salt => {
                let salt = if token.text == "-" { Vec::new() } else { hexadecimal(&[*token])? };
                data.push(u8::try_from(salt.len()).map_err(|_| wrong("a salt"))?);
                data.extend_from_slice(&salt);
            }
            Hash => {
                let hash = base32(token.text).ok_or_else(|| wrong("base32hex"))?;
                data.push(u8::try_from(hash.len()).map_err(|_| wrong("a hash"))?);
                data.extend_from_slice(&hash);
            }
            Eui(length) => {
                let bytes = hex::decode(token.text.replace('-', "")).unwrap_or_default();
                if bytes.len() != length {
                    return Err(wrong("an EUI address"));
                }
                data.extend_from_slice(&bytes);
            }
            Texts | Base64 | Hex | Types | Parameters | Prefixes | Location | HostIdentity | Gateway
            | Relay => {}
        }
        Ok(rest)
    }
}

fn number<N: std::str::FromStr>(token: &ZoneToken<'_>) -> Result<N, String> {
    token.text.parse().map_err(|_| format!("{:?} is not a number in range", token.text))
}

fn base64(text: &str) -> Result<Vec<u8>, String> {
    BASE64_STANDARD.decode(text).map_err(|_| format!("{text:?} is not base64"))
}

fn hexadecimal(tokens: &[ZoneToken<'_>]) -> Result<Vec<u8>, String> {
    let text: String = tokens.iter().map(|token| token.text).collect();
    hex::decode(&text).map_err(|_| format!("{text:?} is not hexadecimal"))
}

/// Base32 with the extended hex alphabet, without padding (RFC 4648 §7).
fn base32(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut buffer, mut bits) = (Vec::new(), 0_u32, 0);
    for ch in text.chars() {
        buffer = buffer << 5 | ch.to_digit(32)?;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits) as u8);
            buffer &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

/// Seconds since 1970, modulo 2^32.
fn date(text: &str) -> Option<u32> {
    if text.len() != 14 {
        return text.parse().ok();
    }
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<i16>().ok();
    let small = |range| part(range).and_then(|value| i8::try_from(value).ok());
    let date = DateTime::new(
        part(0..4)?,
        small(4..6)?,
        small(6..8)?,
        small(8..10)?,
        small(10..12)?,
        small(12..14)?,
        0,
    );
    let seconds = date.ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
    Some(seconds as u32)
}

/// A number, or the name of one in any letter case.
fn named_number<N: Copy + std::str::FromStr>(text: &str, names: &[(&str, N)]) -> Option<N> {
    let named = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| *number);
    named.or_else(|| text.parse().ok())
}

/// IANA "Domain Name System Security (DNSSEC) Algorithm Numbers".
fn algorithm(text: &str) -> Option<u8> {
    const NAMES: &[(&str, u8)] = &[
        ("RSAMD5", 1),
        ("DH", 2),
        ("DSA", 3),
        ("RSASHA1", 5),
        ("DSA-NSEC3-SHA1", 6),
        ("RSASHA1-NSEC3-SHA1", 7),
        ("RSASHA256", 8),
        ("RSASHA512", 10),
        ("ECC-GOST", 12),
        ("ECDSAP256SHA256", 13),
        ("ECDSAP384SHA384", 14),
        ("ED25519", 15),
        ("ED448", 16),
        ("INDIRECT", 252),
        ("PRIVATEDNS", 253),
        ("PRIVATEOID", 254),
    ];
    named_number(text, NAMES)
}

/// IANA "CERT RR Certificate Types" (RFC 4398 §2.1), and the name that CoreDNS has for IPKIX.
fn certificate_type(text: &str) -> Option<u16> {
    const NAMES: &[(&str, u16)] = &[
        ("PKIX", 1),
        ("SPKI", 2),
        ("PGP", 3),
        ("IPKIX", 4),
        ("IPIX", 4),
        ("ISPKI", 5),
        ("IPGP", 6),
        ("ACPKIX", 7),
        ("IACPKIX", 8),
        ("URI", 253),
        ("OID", 254),
    ];
    named_number(text, NAMES)
}

/// Four hexadecimal numbers of 16 bits between colons.
fn locator(text: &str) -> Option<[u16; 4]> {
    let is_group =
        |group: &str| (1..=4).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups = text.split(':').map(|group| u16::from_str_radix(group, 16).ok().filter(|_| is_group(group)));
    groups.collect::<Option<Vec<_>>>()?.try_into().ok()
}

fn bitmap(tokens: &[ZoneToken<'_>], data: &mut Vec<u8>) -> Result<(), String> {
    let mut types = Vec::new();
    for token in tokens {
        types.push(Type::named(token.text).ok_or_else(|| format!("{:?} is not a type", token.text))?.0);
    }
    types.sort_unstable();
    for window in types.chunk_by(|a, b| a >> 8 == b >> 8) {
        let mut bits = [0_u8; 32];
        for rtype in window {
            bits[usize::from(rtype & 0xff) / 8] |= 0x80 >> (rtype % 8);
        }
        let length = bits.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        data.extend_from_slice(&[(window[0] >> 8) as u8, length as u8]);
        data.extend_from_slice(&bits[..length]);
    }
    Ok(())
}
