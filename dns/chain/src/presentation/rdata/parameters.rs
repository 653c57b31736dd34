//! Service parameters of SVCB and HTTPS (RFC 9460 §2.1).

use std::net::{Ipv4Addr, Ipv6Addr};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::presentation::tokens::{ZoneToken, unescape};

/// Keys of service parameters by number (RFC 9460 §14.3.2, RFC 9461 §5, RFC 9540 §8).
const KEYS: [&str; 9] =
    ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp"];

/// Appends the parameters, sorted by key.
pub(super) fn read(tokens: &[ZoneToken<'_>], data: &mut Vec<u8>) -> Result<(), String> {
    let mut found: Vec<(u16, Vec<u8>)> = Vec::new();
    for token in tokens {
        let (name, value) = token.text.split_once('=').unwrap_or((token.text, ""));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        let wrong = || format!("parameter {:?}", token.text);
        let key = key_number(name).ok_or_else(wrong)?;
        let list = || value.split(',');
        let value: Option<Vec<u8>> = match key {
            0 => {
                let keys: Option<Vec<u16>> = list().map(key_number).collect();
                keys.map(|mut keys| {
                    keys.sort_unstable();
                    keys.into_iter().flat_map(u16::to_be_bytes).collect()
                })
            }
            1 => list()
                .map(|protocol| {
                    let length = u8::try_from(protocol.len()).ok().filter(|length| *length > 0)?;
                    Some([&[length], protocol.as_bytes()].concat())
                })
                .collect::<Option<Vec<_>>>()
                .map(|protocols| protocols.concat()),
            2 | 8 => value.is_empty().then(Vec::new),
            3 => value.parse::<u16>().ok().map(|port| port.to_be_bytes().to_vec()),
            4 => list()
                .map(|ip| ip.parse::<Ipv4Addr>().ok().map(|ip| ip.octets()))
                .collect::<Option<Vec<_>>>()
                .map(|ips| ips.concat()),
            5 => BASE64_STANDARD.decode(value).ok(),
            6 => list()
                .map(|ip| ip.parse::<Ipv6Addr>().ok().map(|ip| ip.octets()))
                .collect::<Option<Vec<_>>>()
                .map(|ips| ips.concat()),
            _ => unescape(value),
        };
        let value = value.ok_or_else(wrong)?;
        if found.iter().any(|(known, _)| *known == key) {
            return Err(format!("parameter {name} is repeated"));
        }
        found.push((key, value));
    }
    found.sort_unstable();
    for (key, value) in found {
        data.extend_from_slice(&key.to_be_bytes());
        data.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        data.extend_from_slice(&value);
    }
    Ok(())
}

fn key_number(name: &str) -> Option<u16> {
    let known = KEYS.iter().position(|known| *known == name).map(|at| at as u16);
    known.or_else(|| name.strip_prefix("key")?.parse().ok().filter(|key| *key < u16::MAX))
}

/// The data after a parameter in wire form (RFC 9460 §2.2).
pub(super) fn skip(data: &[u8]) -> Option<&[u8]> {
    let [_, _, high, low, rest @ ..] = data else { return None };
    rest.get(usize::from(u16::from_be_bytes([*high, *low]))..)
}
