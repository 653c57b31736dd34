//! Version 1 (§2.1): one line of text.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{InvalidProxyHeader, MAX_V1, ProxiedAddresses, ProxyHeader, same_family};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

pub(super) fn parse(input: &[u8]) -> Result<Option<ProxyHeader>, InvalidProxyHeader> {
    let window = &input[..input.len().min(MAX_V1)];
    let Some(feed) = memchr::memchr(b'\n', window) else {
        return if input.len() >= MAX_V1 { Err(InvalidProxyHeader::TooLong) } else { Ok(None) };
    };
    let line = window[..feed].strip_suffix(b"\r").ok_or(InvalidProxyHeader::Malformed)?;
    let text = line.get(SIGNATURE.len()..).ok_or(InvalidProxyHeader::Malformed)?;
    let addresses = addresses(text).ok_or(InvalidProxyHeader::Malformed)?;
    Ok(Some(ProxyHeader { addresses, tlvs: Vec::new(), length: feed + 1 }))
}

fn addresses(text: &[u8]) -> Option<ProxiedAddresses> {
    let text = std::str::from_utf8(text).ok()?;
    // After UNKNOWN, the rest of the line is ignored (§2.1).
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Some(ProxiedAddresses::Unknown);
    }
    let mut words = text.split(' ');
    let mut next = || words.next();
    let (family, source, destination) = (next()?, next()?, next()?);
    let (source_port, destination_port) = (port(next()?)?, port(next()?)?);
    if words.next().is_some() {
        return None;
    }
    let ip = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    Some(ProxiedAddresses::Tcp {
        source: SocketAddr::new(ip(source)?, source_port),
        destination: SocketAddr::new(ip(destination)?, destination_port),
    })
}

/// A port in decimal digits without leading zeros.
fn port(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (plain && (text == "0" || !text.starts_with('0'))).then(|| text.parse().ok()).flatten()
}

/// Appends a header of version 1. `UNKNOWN` where the addresses are of different families.
pub fn write_v1(source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    if !same_family(source, destination) {
        return out.extend_from_slice(b"PROXY UNKNOWN\r\n");
    }
    let family = if source.is_ipv4() { 4 } else { 6 };
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "PROXY TCP{family} {} {} {} {}\r\n",
        source.ip(),
        destination.ip(),
        source.port(),
        destination.port()
    );
}
