//! Conversion between IP addresses and the labels that encode them: dashed (`10-0-0-1`) and reversed (`in-addr.arpa`).

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dns_wire::Query;

/// A text of up to 64 bytes on the stack: a label or an address.
pub(crate) struct ShortText {
    len: usize,
    bytes: [u8; 64],
}

impl ShortText {
    const EMPTY: Self = Self { len: 0, bytes: [0; 64] };

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Converts to a label in wire form, with its length byte first. The longest address leaves room for that byte.
    pub(crate) fn into_wire(mut self) -> Self {
        self.bytes.copy_within(..self.len, 1);
        self.bytes[0] = self.len as u8;
        Self { len: self.len + 1, ..self }
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn replace(mut self, from: u8, to: u8) -> Self {
        for byte in &mut self.bytes[..self.len] {
            if *byte == from {
                *byte = to;
            }
        }
        self
    }
}

impl Write for ShortText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// The label of an endpoint that has neither hostname nor Pod name: `172-0-0-2`, `5678-abcd--1`. A label must not end in a
/// dash, so `fd00::` becomes `fd00--0`, as in CoreDNS.
pub(crate) fn dashed(address: IpAddr) -> ShortText {
    match address {
        IpAddr::V4(address) => dashed_v4(address),
        IpAddr::V6(address) => {
            let mut text = write(address).replace(b':', b'-').replace(b'.', b'-');
            if text.as_bytes().ends_with(b"-") {
                let _ = text.write_str("0");
            }
            text
        }
    }
}

/// Formats by hand: `write!` costs five times as much, and SRV answers need one label for each endpoint.
fn dashed_v4(address: Ipv4Addr) -> ShortText {
    let mut text = ShortText::EMPTY;
    for (i, octet) in address.octets().into_iter().enumerate() {
        let digits = [octet / 100, octet / 10 % 10, octet % 10].map(|digit| b'0' + digit);
        let skip = if octet > 99 { 0 } else { 1 + usize::from(octet < 10) };
        if i > 0 {
            text.bytes[text.len] = b'-';
            text.len += 1;
        }
        let digits = &digits[skip..];
        text.bytes[text.len..text.len + digits.len()].copy_from_slice(digits);
        text.len += digits.len();
    }
    text
}

fn write(address: Ipv6Addr) -> ShortText {
    let mut text = ShortText::EMPTY;
    // The text form of an address has at most 45 bytes.
    let _ = write!(text, "{address}");
    text
}

/// Parses the label of an endpoint: the exact inverse of [`dashed`].
pub(crate) fn endpoint_address(label: &[u8]) -> Option<IpAddr> {
    let address = pod_address(label)?;
    (dashed(address).as_bytes() == label).then_some(address)
}

/// Parses the first label of `<label>.<namespace>.pod.<zone>`. As in CoreDNS, a label with exactly three dashes and no `--`
/// is an IPv4 address, every other label an IPv6 address.
pub(crate) fn pod_address(label: &[u8]) -> Option<IpAddr> {
    let mut text = ShortText::EMPTY;
    text.write_str(std::str::from_utf8(label).ok()?).ok()?;
    let dashes = label.iter().filter(|byte| **byte == b'-').count();
    if dashes == 3 && !label.windows(2).any(|pair| pair == b"--") {
        return text.replace(b'-', b'.').as_str().parse().ok().map(IpAddr::V4);
    }
    text.replace(b'-', b':').as_str().parse().ok().map(IpAddr::V6)
}

/// Whether the label is the canonical text of the address with dashes for dots and colons, as `pods verified` requires. CoreDNS
/// compares with the text in `status.podIPs`; it is canonical unless the network plugin wrote another form.
pub(crate) fn is_exact(label: &[u8], address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => dashed_v4(address).as_bytes() == label,
        IpAddr::V6(address) => write(address).replace(b':', b'-').as_bytes() == label,
    }
}

/// The address that a name under `in-addr.arpa` (RFC 1035 §3.5) or `ip6.arpa` (RFC 3596 §2.5) encodes.
pub fn reversed(query: &Query) -> Option<IpAddr> {
    match query.offsets().len() {
        6 => reversed_v4(query.lower()).map(IpAddr::V4),
        34 => reversed_v6(query.lower()).map(IpAddr::V6),
        _ => None,
    }
}

fn reversed_v4(name: &[u8]) -> Option<Ipv4Addr> {
    let mut labels = dns_wire::name::labels(name.strip_suffix(b"\x07in-addr\x04arpa\x00")?);
    let mut octets = [0; 4];
    for octet in octets.iter_mut().rev() {
        let label = labels.next()?;
        if label.len() > 1 && label[0] == b'0' {
            return None;
        }
        *octet = std::str::from_utf8(label).ok()?.parse().ok()?;
        if !label[0].is_ascii_digit() {
            return None;
        }
    }
    Some(octets.into())
}

fn reversed_v6(name: &[u8]) -> Option<Ipv6Addr> {
    let nibbles = name.strip_suffix(b"\x03ip6\x04arpa\x00")?;
    let mut value = 0_u128;
    for (i, label) in dns_wire::name::labels(nibbles).enumerate() {
        let [nibble] = label else { return None };
        let nibble = char::from(*nibble).to_digit(16)?;
        value |= u128::from(nibble) << (4 * i);
    }
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_called_by_their_address_with_dashes() {
        for (address, label) in [
            ("172.0.0.2", "172-0-0-2"),
            ("10.200.30.255", "10-200-30-255"),
            ("0.0.0.0", "0-0-0-0"),
            ("5678:abcd::1", "5678-abcd--1"),
            ("2001:db8::", "2001-db8--0"),
            ("::", "--0"),
            ("::1", "--1"),
            ("1:2:3:4:5:6:7:8", "1-2-3-4-5-6-7-8"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(std::str::from_utf8(dashed(address).as_bytes()), Ok(label));
            assert_eq!(endpoint_address(label.as_bytes()), Some(address), "{label}");
        }
        for label in ["172-0-0-02", "2001-db8-0-0-0-0-0-1", "web-0", "1-2-3", "", "256-0-0-1", "2001-db8--"] {
            assert_eq!(endpoint_address(label.as_bytes()), None, "{label}");
        }
    }

    #[test]
    fn reverse_names_are_read_whole_or_not_at_all() {
        let nibbles = |text: &str| text.split("").collect::<Vec<_>>().join(".").trim_matches('.').to_owned();
        let v6 = nibbles("b00000000000000000000000ba9a8765") + ".ip6.arpa";
        for (name, address) in [
            ("4.3.2.10.in-addr.arpa", Some("10.2.3.4")),
            ("4.3.2.10.IN-ADDR.arpa", Some("10.2.3.4")),
            ("04.3.2.10.in-addr.arpa", None),
            ("+4.3.2.10.in-addr.arpa", None),
            ("256.3.2.10.in-addr.arpa", None),
            ("3.2.10.in-addr.arpa", None),
            ("5.4.3.2.10.in-addr.arpa", None),
            ("a.b.c.d.e.f", None),
            (&v6, Some("5678:a9ab::b")),
            (&v6.replacen("b.", "bb.", 1), None),
            (&v6.replacen("b.", "g.", 1), None),
        ] {
            let query = Query::new(0, &name.parse().unwrap(), 12);
            assert_eq!(reversed(&query), address.map(|text| text.parse().unwrap()), "{name}");
        }
    }
}
