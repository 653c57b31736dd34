//! IPSECKEY (RFC 4025) and AMTRELAY (RFC 8777): a byte of their data says which form the gateway behind it has.

use std::net::{Ipv4Addr, Ipv6Addr};

use dns_wire::Name;

use super::number;
use crate::presentation::text::name;
use crate::presentation::tokens::ZoneToken;

/// The bit of AMTRELAY beside the kind of its relay: whether discovery is optional.
const DISCOVERY: u8 = 0x80;

/// Appends precedence, kind of gateway, algorithm and gateway of IPSECKEY, and returns the tokens after them.
pub(super) fn read_key<'t, 's>(
    tokens: &'t [ZoneToken<'s>],
    origin: &Name,
    data: &mut Vec<u8>,
) -> Result<&'t [ZoneToken<'s>], String> {
    let [precedence, kind, algorithm, gateway, rest @ ..] = tokens else {
        return Err("fewer fields than the type has".to_owned());
    };
    let kind = number(kind)?;
    data.extend_from_slice(&[number(precedence)?, kind, number(algorithm)?]);
    read(kind, gateway, origin, data)?;
    Ok(rest)
}

/// Appends precedence, the discovery bit with the kind of relay, and the relay of AMTRELAY, and returns the tokens after them.
pub(super) fn read_relay<'t, 's>(
    tokens: &'t [ZoneToken<'s>],
    origin: &Name,
    data: &mut Vec<u8>,
) -> Result<&'t [ZoneToken<'s>], String> {
    let [precedence, discovery, kind, relay, rest @ ..] = tokens else {
        return Err("fewer fields than the type has".to_owned());
    };
    let discovery = match discovery.text {
        "0" => 0,
        "1" => DISCOVERY,
        other => return Err(format!("{other:?} is not 0 or 1")),
    };
    let kind: u8 = number(kind)?;
    data.extend_from_slice(&[number(precedence)?, discovery | kind]);
    read(kind, relay, origin, data)?;
    Ok(rest)
}

fn read(kind: u8, token: &ZoneToken<'_>, origin: &Name, data: &mut Vec<u8>) -> Result<(), String> {
    let wrong = |wanted: &str| format!("{:?} is not {wanted}, which gateway type {kind} has", token.text);
    match kind {
        0 if token.text == "." => {}
        0 => return Err(wrong("\".\"")),
        1 => {
            let ip: Ipv4Addr = token.text.parse().map_err(|_| wrong("an IPv4 address"))?;
            data.extend_from_slice(&ip.octets());
        }
        2 => {
            let ip: Ipv6Addr = token.text.parse().map_err(|_| wrong("an IPv6 address"))?;
            data.extend_from_slice(&ip.octets());
        }
        3 => data.extend_from_slice(token.name(origin)?.wire()),
        _ => return Err(format!("{kind} is not a gateway type, which are 0 to 3")),
    }
    Ok(())
}

/// The key of IPSECKEY in wire form.
pub(super) fn skip_key(data: &[u8]) -> Option<&[u8]> {
    let [_, kind, _, rest @ ..] = data else { return None };
    skip(*kind, rest)
}

/// What follows AMTRELAY in wire form.
pub(super) fn skip_relay(data: &[u8]) -> Option<&[u8]> {
    let [_, kind, rest @ ..] = data else { return None };
    skip(kind & !DISCOVERY, rest)
}

fn skip(kind: u8, data: &[u8]) -> Option<&[u8]> {
    match kind {
        0 => Some(data),
        1 => data.get(4..),
        2 => data.get(16..),
        3 => data.get(name(data)?.wire().len()..),
        _ => None,
    }
}
