//! APL: lists of address prefixes (RFC 3123).

use std::net::IpAddr;

use crate::presentation::tokens::ZoneToken;

/// Appends the prefixes, each `[!]FAMILY:ADDRESS/LENGTH`.
pub(super) fn read(tokens: &[ZoneToken<'_>], data: &mut Vec<u8>) -> Result<(), String> {
    for token in tokens {
        let item = item(token.text).ok_or_else(|| {
            format!("{:?} is not a prefix such as 1:192.168.32.0/21 or !2:2001:db8::/32", token.text)
        })?;
        data.extend_from_slice(&item);
    }
    Ok(())
}

fn item(text: &str) -> Option<Vec<u8>> {
    let (negation, prefix) = text.strip_prefix('!').map_or((0, text), |rest| (0x80, rest));
    let (family, prefix) = prefix.split_once(':')?;
    let (address, length) = prefix.split_once('/')?;
    let length: u8 = length.parse().ok()?;
    let mut address = match (family, address.parse().ok()?) {
        ("1", IpAddr::V4(ip)) if length <= 32 => ip.octets().to_vec(),
        ("2", IpAddr::V6(ip)) if length <= 128 => ip.octets().to_vec(),
        _ => return None,
    };
    let is_beyond = |bit: usize| address[bit / 8] & (0x80 >> (bit % 8)) != 0;
    if (usize::from(length)..address.len() * 8).any(is_beyond) {
        return None;
    }
    // Zeros at the end are not sent (RFC 3123 §4).
    address.truncate(address.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1));
    let family = if family == "1" { 1 } else { 2 };
    Some([&[0, family, length, negation | address.len() as u8], &*address].concat())
}

/// The data after a prefix in wire form.
pub(super) fn skip(data: &[u8]) -> Option<&[u8]> {
    let [_, _, _, length, rest @ ..] = data else { return None };
    rest.get(usize::from(length & 0x7f)..)
}
