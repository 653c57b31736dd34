//! The weight file: a line with a name, followed by lines with an address and its weight.

use std::collections::HashMap;
use std::net::IpAddr;

use dns_wire::Name;
use foldhash::fast::RandomState;

/// The expected form of a line.
pub(super) const WANTED: &str = "a domain name, or an IP address with a weight from 1 to 255";

/// Weights of addresses by name, in lower case.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Weights(HashMap<Box<[u8]>, Vec<(IpAddr, u8)>, RandomState>);

impl Weights {
    /// Parses the file. An error has the line number and the cause.
    pub(super) fn read(text: &str) -> Result<Self, (usize, String)> {
        let mut weights = Self::default();
        let mut name: Option<Box<[u8]>> = None;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let wrong = |what: String| (number, what);
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                [] => {}
                [ip, ref weight @ ..] if ip.parse::<IpAddr>().is_ok() && weight.len() <= 1 => {
                    let weight = weight.first().map_or(Ok(1), |weight| {
                        let known = weight.parse().ok().filter(|weight: &u8| *weight > 0);
                        known.ok_or_else(|| wrong(format!("weight {weight:?}")))
                    })?;
                    let name = name.clone().ok_or_else(|| wrong(format!("address {ip} before any name")))?;
                    let known = weights.0.entry(name).or_default();
                    known.extend(ip.parse().map(|ip: IpAddr| (ip, weight)));
                }
                [text] => {
                    let read: Name = text.parse().map_err(|_| wrong(format!("name {text:?}")))?;
                    name = Some(read.lower().wire().into());
                }
                _ => return Err(wrong(format!("line {line:?}"))),
            }
        }
        Ok(weights)
    }

    /// The weights of the addresses of a name.
    pub(super) fn of(&self, name: &[u8]) -> Option<&[(IpAddr, u8)]> {
        self.0.get(name).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_line_is_reported_by_its_number() {
        for (text, line) in [
            ("10.0.0.1 3", 1),
            ("a.example\n10.0.0.1 0", 2),
            ("a.example\n\n10.0.0.1 256", 3),
            ("a.example\n10.0.0.1 3 4", 2),
            ("a..example", 1),
        ] {
            assert_eq!(Weights::read(text).map_err(|(line, _)| line).err(), Some(line), "{text:?}");
        }
        let weights = Weights::read("A.example.\n10.0.0.1\nfd00::1 7 # last\n").unwrap();
        assert_eq!(weights.of(b"\x01a\x07example\0").map(<[_]>::len), Some(2));
    }
}
