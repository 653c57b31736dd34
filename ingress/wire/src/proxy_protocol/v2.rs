//! Version 2 (§2.2): a signature, four bytes, addresses in network order, TLVs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{InvalidProxyHeader, MAX_V2, ProxiedAddresses, ProxyHeader, same_family};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const FIXED: usize = 16;
/// The path of a UNIX socket address.
const UNIX_PATH: usize = 108;

const VERSION: u8 = 0x20;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;

pub(super) fn parse(input: &[u8]) -> Result<Option<ProxyHeader>, InvalidProxyHeader> {
    let Some(command) = input.get(SIGNATURE.len()) else { return Ok(None) };
    if command & 0xf0 != VERSION || command & 0x0f > PROXY {
        return Err(InvalidProxyHeader::Malformed);
    }
    let Some([family, high, low]) = input.get(13..FIXED) else { return Ok(None) };
    let length = FIXED + usize::from(u16::from_be_bytes([*high, *low]));
    if length > MAX_V2 {
        return Err(InvalidProxyHeader::TooLong);
    }
    let Some(rest) = input.get(FIXED..length) else { return Ok(None) };
    // Addresses and TLVs of a LOCAL connection are skipped, whatever they are (§2.2).
    let (addresses, tlvs) = if command & 0x0f == LOCAL {
        (ProxiedAddresses::Local, &[][..])
    } else {
        addresses(*family, rest).ok_or(InvalidProxyHeader::Malformed)?
    };
    if !well_formed(tlvs) {
        return Err(InvalidProxyHeader::Malformed);
    }
    Ok(Some(ProxyHeader { addresses, tlvs: tlvs.to_vec(), length }))
}

/// Splits addresses and TLVs.
fn addresses(family: u8, rest: &[u8]) -> Option<(ProxiedAddresses, &[u8])> {
    match family {
        TCP4 => {
            let (addresses, tlvs) = rest.split_first_chunk::<12>()?;
            let ip =
                |at: usize| addresses[at..].first_chunk::<4>().map(|ip| IpAddr::from(Ipv4Addr::from(*ip)));
            Some((tcp(ip(0)?, ip(4)?, &addresses[8..])?, tlvs))
        }
        TCP6 => {
            let (addresses, tlvs) = rest.split_first_chunk::<36>()?;
            let ip =
                |at: usize| addresses[at..].first_chunk::<16>().map(|ip| IpAddr::from(Ipv6Addr::from(*ip)));
            Some((tcp(ip(0)?, ip(16)?, &addresses[32..])?, tlvs))
        }
        UNIX_STREAM => {
            let (source, rest) = rest.split_first_chunk::<UNIX_PATH>()?;
            let (destination, tlvs) = rest.split_first_chunk::<UNIX_PATH>()?;
            let path = |bytes: &[u8]| bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
            Some((ProxiedAddresses::Unix { source: path(source), destination: path(destination) }, tlvs))
        }
        // Datagrams and AF_UNSPEC: the whole rest is skipped. Other values are reserved: a receiver must refuse them.
        0x00 | 0x01 | 0x02 | 0x10 | 0x12 | 0x20 | 0x22 | 0x30 | 0x32 => {
            Some((ProxiedAddresses::Unknown, &[]))
        }
        _ => None,
    }
}

fn tcp(source: IpAddr, destination: IpAddr, ports: &[u8]) -> Option<ProxiedAddresses> {
    let [a, b, c, d] = *ports.first_chunk::<4>()?;
    Some(ProxiedAddresses::Tcp {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    })
}

fn well_formed(tlvs: &[u8]) -> bool {
    let mut iter = TlvIter::new(tlvs);
    iter.by_ref().for_each(drop);
    iter.0.is_empty()
}

/// Iterates over TLVs as type and value; ends at the first that is cut.
#[derive(Clone, Debug)]
pub struct TlvIter<'a>(&'a [u8]);

impl<'a> TlvIter<'a> {
    pub(super) fn new(tlvs: &'a [u8]) -> Self {
        Self(tlvs)
    }
}

impl<'a> Iterator for TlvIter<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let ([kind, high, low], rest) = self.0.split_first_chunk::<3>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
        self.0 = rest;
        Some((*kind, value))
    }
}

/// Appends a header of version 2 without TLVs: `LOCAL` where the addresses are of different families.
pub fn write_v2(source: SocketAddr, destination: SocketAddr, out: &mut Vec<u8>) {
    out.extend_from_slice(SIGNATURE);
    if !same_family(source, destination) {
        return out.extend_from_slice(&[VERSION | LOCAL, 0, 0, 0]);
    }
    let (family, length) = if source.is_ipv4() { (TCP4, 12) } else { (TCP6, 36) };
    out.extend_from_slice(&[VERSION | PROXY, family, 0, length]);
    for address in [source, destination] {
        match address.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
    }
    for address in [source, destination] {
        out.extend_from_slice(&address.port().to_be_bytes());
    }
}
