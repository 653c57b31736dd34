//! The allowed targets of Services of type ExternalName.
//!
//! The owner of the Service chooses the name, and the proxy connects to it. The proxy's own ports, other programs of its
//! machine and the metadata service of a cloud (169.254.169.254) must not be reachable that way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cluster::CompactString;

/// The target of an ExternalName.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ExternalTarget {
    Address(IpAddr),
    /// A host name without final dot, to be resolved. Its addresses have to pass [`refused_address`], too.
    Host(CompactString),
}

/// Why a Service of type ExternalName has no target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalNameError {
    /// The name is a loopback, link-local or similar address; with a description of the address.
    RefusedAddress(&'static str),
    /// It is neither a host name nor an address.
    BadName,
}

/// The end of a sentence that begins with the name: `is …`.
impl std::fmt::Display for ExternalNameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::RefusedAddress(kind) => f.write_str(kind),
            Self::BadName => f.write_str("neither a host name nor an address"),
        }
    }
}

impl ExternalTarget {
    /// Reads `spec.externalName`.
    pub(crate) fn parse(name: &str) -> Result<Self, ExternalNameError> {
        let host = name.strip_suffix('.').unwrap_or(name);
        if let Ok(ip) = host.parse::<IpAddr>() {
            return refused_address(ip)
                .map_or(Ok(Self::Address(ip)), |kind| Err(ExternalNameError::RefusedAddress(kind)));
        }
        let last = host.rsplit('.').next().unwrap_or_default();
        if last.eq_ignore_ascii_case("localhost") {
            return Err(ExternalNameError::RefusedAddress("a loopback address"));
        }
        if !is_host_name(host) || is_number(last) {
            return Err(ExternalNameError::BadName);
        }
        Ok(Self::Host(host.into()))
    }
}

/// A description of the address if an ExternalName must not resolve to it: it is a loopback, link-local, unspecified or
/// multicast address. An IPv4 address embedded in an IPv6 address is checked as IPv4.
pub fn refused_address(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => refused_ipv4(ip),
        IpAddr::V6(ip) if ip.is_loopback() => Some("a loopback address"),
        IpAddr::V6(ip) if ip.is_unspecified() => Some("the unspecified address"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(ip) if ip.is_multicast() => Some("not the address of a host"),
        IpAddr::V6(ip) => embedded_ipv4(ip).and_then(refused_ipv4),
    }
}

fn refused_ipv4(ip: Ipv4Addr) -> Option<&'static str> {
    match ip {
        _ if ip.is_loopback() => Some("a loopback address"),
        // 0.0.0.0/8: Linux connects 0.0.0.0 to this machine.
        _ if ip.octets()[0] == 0 => Some("the unspecified address"),
        _ if ip.is_link_local() => Some("a link-local address"),
        _ if ip.is_multicast() || ip.is_broadcast() => Some("not the address of a host"),
        _ => None,
    }
}

/// The IPv4 address in a mapped (RFC 4291), compatible, NAT64 (RFC 6052) or 6to4 (RFC 3056) address.
fn embedded_ipv4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let address = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xFFFF, high, low] | [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => address(high, low),
        [0x2002, high, low, ..] => address(high, low),
        _ => None,
    }
}

fn is_host_name(host: &str) -> bool {
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// Whether the last label makes the name an address in an unusual notation: C libraries read `127.1` and `0x7f.1` as addresses.
fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || label.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_hosts_are_accepted() {
        for (name, host) in [
            ("example.org", "example.org"),
            ("example.org.", "example.org"),
            ("Web-1.shop_2.svc.cluster.local", "Web-1.shop_2.svc.cluster.local"),
            ("1.example", "1.example"),
            ("0x7f.example", "0x7f.example"),
            ("localhost.example", "localhost.example"),
        ] {
            assert_eq!(ExternalTarget::parse(name), Ok(ExternalTarget::Host(host.into())), "{name}");
        }
        for address in ["192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1", "64:ff9b::c000:201"] {
            let target = ExternalTarget::Address(address.parse().expect(address));
            assert_eq!(ExternalTarget::parse(address), Ok(target), "{address}");
        }
    }

    #[test]
    fn loopback_and_link_local_targets_are_refused() {
        for name in [
            "localhost",
            "LocalHost.",
            "a.localhost",
            "127.0.0.1",
            "127.0.0.1.",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            let refused = ExternalTarget::parse(name);
            assert!(matches!(refused, Err(ExternalNameError::RefusedAddress(_))), "{name}: {refused:?}");
        }
    }

    #[test]
    fn a_target_that_is_neither_a_name_nor_an_address_is_refused() {
        for name in [
            "",
            ".",
            "a..b",
            "a.example..",
            "no/slash",
            "a b",
            "a:80",
            "[::1]",
            "user@host",
            "127.1",
            "0x7f.1",
            "0x7f000001",
            "2130706433",
            "0177.0.0.1",
            "127.0.0.01",
            "1.2.3.4.5",
            "256.1.1.1",
            "a.0x",
        ] {
            assert_eq!(ExternalTarget::parse(name), Err(ExternalNameError::BadName), "{name}");
        }
        assert_eq!(ExternalTarget::parse(&"a.".repeat(130)), Err(ExternalNameError::BadName));
    }
}
