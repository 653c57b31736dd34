//! Zones and server block keys, normalised like CoreDNS (coredns, plugin/normalize.go).

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::location::SourceLocation;

/// Transport protocol of a server block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Plain DNS over UDP and TCP (RFC 1035).
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over HTTPS (RFC 8484).
    Https,
    /// DNS over HTTP/3.
    Https3,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// CoreDNS's DNS over gRPC.
    Grpc,
}

impl Scheme {
    /// All schemes with their names.
    pub const ALL: [(&'static str, Self); 6] = [
        ("dns", Self::Dns),
        ("tls", Self::Tls),
        ("https", Self::Https),
        ("https3", Self::Https3),
        ("quic", Self::Quic),
        ("grpc", Self::Grpc),
    ];

    /// The name before `://`.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    /// The default port; for plain DNS `-dns.port` takes precedence.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Dns => 53,
            Self::Tls | Self::Quic => 853,
            Self::Https | Self::Https3 | Self::Grpc => 443,
        }
    }

    /// Splits off the scheme of an address; plain DNS without one.
    pub fn split(text: &str) -> (Self, &str) {
        let known = text.split_once("://").and_then(|(name, rest)| {
            let (_, scheme) = Self::ALL.into_iter().find(|(known, _)| *known == name)?;
            Some((scheme, rest))
        });
        known.unwrap_or((Self::Dns, text))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One zone that a server block serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKey {
    /// Transport protocol.
    pub scheme: Scheme,
    /// Lower-case and fully qualified; `.` is the root.
    pub zone: String,
    /// The port to listen on; 0 lets the system choose.
    pub port: u16,
    /// Where the key is written.
    pub at: SourceLocation,
}

impl fmt::Display for ServerKey {
    /// `dns://example.org.:53`, as in CoreDNS's messages and its `server` label.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.zone, self.port)
    }
}

/// Parses a key. A CIDR range may expand to several zones.
pub(crate) fn keys(text: &str, at: &SourceLocation, dns_port: u16) -> Result<Vec<ServerKey>, String> {
    let (scheme, rest) = Scheme::split(text);
    if text.starts_with("unix://") {
        return Err(format!("cannot serve {text:?}"));
    }
    let (zones, port) = zones_and_port(rest)?;
    let default = if scheme == Scheme::Dns { dns_port } else { scheme.default_port() };
    let port = match port {
        Some(port) => u16::try_from(port).map_err(|_| format!("invalid port {port} in {text:?}"))?,
        None => default,
    };
    Ok(zones.into_iter().map(|zone| ServerKey { scheme, zone, port, at: at.clone() }).collect())
}

/// The zones of a plugin's argument. Scheme and port are accepted and ignored.
pub(crate) fn zones(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Err("the zone is empty, as that of a variable which is not set".to_owned());
    }
    Ok(zones_and_port(Scheme::split(text).1)?.0)
}

fn zones_and_port(text: &str) -> Result<(Vec<String>, Option<i64>), String> {
    if text.is_empty() || text.ends_with(':') {
        return Err(format!("expecting data after last colon: {text:?}"));
    }
    // As in CoreDNS, a suffix after a colon that is not a number belongs to the name.
    let port = text.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse::<i64>().ok()?)));
    let (name, port) = port.map_or((text, None), |(name, port)| (name, Some(port)));
    if name.len() > 255 {
        return Err(format!("specified zone is too long: {} > 255", name.len()));
    }
    if let Some(net) = cidr(name) {
        if name.starts_with(':') || (name.starts_with('0') && name.contains(':')) {
            return Err(format!("invalid CIDR {name}"));
        }
        return Ok((reverse_zones(net), port));
    }
    let zone = qualified(name).ok_or_else(|| format!("zone is not a valid domain name: {name}"))?;
    Ok((vec![zone], port))
}

/// Parses a CIDR range; an address without a mask is an ordinary name. As in Go, octets have no leading zeros.
pub(crate) fn cidr(text: &str) -> Option<IpNet> {
    let (ip, length) = text.split_once('/')?;
    let length = length.bytes().all(|byte| byte.is_ascii_digit()).then(|| length.parse().ok())??;
    Some(IpNet::new(ip.parse().ok()?, length).ok()?.trunc())
}

/// The reverse zones that cover a range, each ending at a label boundary (an octet in IPv4, RFC 1035 §3.5; a nibble in IPv6,
/// RFC 3596 §2.5). At most 128.
fn reverse_zones(net: IpNet) -> Vec<String> {
    match net {
        IpNet::V4(net) => {
            let length = net.prefix_len().next_multiple_of(8);
            let nets = net.subnets(length).into_iter().flatten();
            nets.map(|net: Ipv4Net| reverse_v4(net.addr(), usize::from(length / 8))).collect()
        }
        IpNet::V6(net) => {
            let length = net.prefix_len().next_multiple_of(4);
            let nets = net.subnets(length).into_iter().flatten();
            nets.map(|net: Ipv6Net| reverse_v6(net.addr(), usize::from(length / 4))).collect()
        }
    }
}

fn reverse_v4(ip: Ipv4Addr, labels: usize) -> String {
    let octets = ip.octets();
    let mut zone: String = octets[..labels].iter().rev().map(|octet| format!("{octet}.")).collect();
    zone.push_str("in-addr.arpa.");
    zone
}

fn reverse_v6(ip: Ipv6Addr, labels: usize) -> String {
    let bits = ip.to_bits();
    let mut zone: String =
        (0..labels).rev().map(|nibble| format!("{:x}.", bits >> (124 - 4 * nibble) & 0xf)).collect();
    zone.push_str("ip6.arpa.");
    zone
}

/// Lower-cases a name and appends the final dot. `None` if it is not a domain name: an empty label, a label over 63 bytes, or
/// more than 255 bytes on the wire (RFC 1035 §2.3.4). `\.` and `\DDD` are escapes.
pub(crate) fn qualified(name: &str) -> Option<String> {
    if name == "." {
        return Some(name.to_owned());
    }
    let bytes = name.as_bytes();
    let (mut wire, mut label, mut index) = (1, 0, 0);
    while index < bytes.len() {
        match bytes[index] {
            b'.' => {
                if label == 0 {
                    return None;
                }
                wire += label + 1;
                label = 0;
            }
            b'\\' => {
                label += 1;
                index += escape(&bytes[index + 1..])?;
            }
            _ => label += 1,
        }
        if label > 63 {
            return None;
        }
        index += 1;
    }
    wire += if label > 0 { label + 1 } else { 0 };
    if bytes.is_empty() || wire > 255 {
        return None;
    }
    let mut zone = name.to_ascii_lowercase();
    if label > 0 {
        zone.push('.');
    }
    Some(zone)
}

/// Length of the escape after a backslash: three digits below 256, or one byte that is not a digit.
fn escape(rest: &[u8]) -> Option<usize> {
    match rest {
        [] => None,
        [b'0'..=b'9', ..] => {
            let code = std::str::from_utf8(rest.get(..3)?).ok()?;
            code.parse::<u8>().ok().map(|_| 3)
        }
        _ => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_zones_and_ranges_become_reverse_zones() {
        let many_a = format!("{}.example", "a".repeat(64));
        let long = format!("{}org", "abcdefghi.".repeat(26));
        for (text, wanted) in [
            (".", Ok(vec!["."])),
            ("Example.ORG", Ok(vec!["example.org."])),
            ("example.org.", Ok(vec!["example.org."])),
            ("dns://example.org:5300", Ok(vec!["example.org."])),
            (r"a\.b", Ok(vec![r"a\.b."])),
            (r"a\046b.c", Ok(vec![r"a\046b.c."])),
            (r"a\999.b", Err(r"zone is not a valid domain name: a\999.b")),
            (r"a\2.b", Err(r"zone is not a valid domain name: a\2.b")),
            (r"a\", Err(r"zone is not a valid domain name: a\")),
            ("10.0.0.0/24", Ok(vec!["0.0.10.in-addr.arpa."])),
            ("10.0.0.0/15", Ok(vec!["0.10.in-addr.arpa.", "1.10.in-addr.arpa."])),
            ("192.168.1.1/23", Ok(vec!["0.168.192.in-addr.arpa.", "1.168.192.in-addr.arpa."])),
            ("10.200.0.0/16", Ok(vec!["200.10.in-addr.arpa."])),
            ("1.2.3.4/32", Ok(vec!["4.3.2.1.in-addr.arpa."])),
            ("1.2.3.4", Ok(vec!["1.2.3.4."])),
            ("0.0.0.0/0", Ok(vec!["in-addr.arpa."])),
            ("2001:db8::/32", Ok(vec!["8.b.d.0.1.0.0.2.ip6.arpa."])),
            ("2001:db8::/31", Ok(vec!["8.b.d.0.1.0.0.2.ip6.arpa.", "9.b.d.0.1.0.0.2.ip6.arpa."])),
            ("2001:db8::/32:5300", Ok(vec!["8.b.d.0.1.0.0.2.ip6.arpa."])),
            ("010.0.0.0/8", Ok(vec!["010.0.0.0/8."])),
            ("::/0", Err("invalid CIDR ::/0")),
            ("0::/8", Err("invalid CIDR 0::/8")),
            ("a..b", Err("zone is not a valid domain name: a..b")),
            (".a", Err("zone is not a valid domain name: .a")),
            ("..", Err("zone is not a valid domain name: ..")),
            (":53", Err("zone is not a valid domain name: ")),
            ("", Err("the zone is empty, as that of a variable which is not set")),
            ("example.org:", Err("expecting data after last colon: \"example.org:\"")),
            (&many_a, Err(&*format!("zone is not a valid domain name: {many_a}"))),
            (&long, Err("specified zone is too long: 263 > 255")),
        ] {
            let zones = zones(text);
            let shown = zones.as_ref().map(|zones| zones.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(shown.map_err(String::as_str), wanted, "{text}");
        }
    }

    #[test]
    fn a_range_inside_an_octet_becomes_all_its_zones() {
        assert_eq!(zones("10.0.0.0/9").unwrap().len(), 128);
        assert_eq!(zones("10.129.60.0/22").unwrap()[3], "63.129.10.in-addr.arpa.");
        assert_eq!(zones("2001:db8::/33").unwrap().len(), 8);
    }
}
