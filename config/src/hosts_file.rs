//! Hosts files (hosts(5)): each line has an IP address and the names that it has.

use std::fmt;
use std::net::IpAddr;

/// A line of a hosts file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsLine<'a> {
    /// The number of the line, from 1.
    pub number: usize,
    /// The address. An IPv4 address in IPv6 form is an IPv4 address.
    pub address: IpAddr,
    /// The names as written. They are not checked.
    pub names: Vec<&'a str>,
}

/// A line that does not begin with an IP address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidHostsLine {
    /// The number of the line, from 1.
    pub number: usize,
    /// The first word, at most 64 characters of it.
    pub word: String,
}

/// The lines of a hosts file. Comments and empty lines are skipped.
pub fn lines(text: &str) -> impl Iterator<Item = Result<HostsLine<'_>, InvalidHostsLine>> {
    (1..).zip(text.split('\n')).filter_map(|(number, line)| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split(is_space).filter(|word| !word.is_empty());
        let first = words.next()?;
        Some(match address(first) {
            Some(address) => Ok(HostsLine { number, address, names: words.collect() }),
            None => Err(InvalidHostsLine { number, word: first.chars().take(64).collect() }),
        })
    })
}

/// The white space of Go's reader of hosts files; a line break ends a line before.
fn is_space(ch: char) -> bool {
    matches!(ch, ' ' | '\t' | '\r' | '\x0b' | '\x0c')
}

/// An address. A zone id (`%eth0`) is ignored, as in CoreDNS.
fn address(word: &str) -> Option<IpAddr> {
    let address: IpAddr = word.split('%').next()?.parse().ok()?;
    Some(address.to_canonical())
}

impl fmt::Display for InvalidHostsLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {:?} is not an IP address", self.number, self.word)
    }
}

impl std::error::Error for InvalidHostsLine {}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        let line = |line: Result<HostsLine<'_>, InvalidHostsLine>| match line {
            Ok(HostsLine { number, address, names }) => format!("{number} {address} {}", names.join(",")),
            Err(error) => error.to_string(),
        };
        lines(text).map(line).collect()
    }

    #[test]
    fn a_line_has_an_address_and_names() {
        let long = "x".repeat(100);
        for (text, wanted) in [
            ("", vec![]),
            ("# only a comment\n \t\n#", vec![]),
            ("127.0.0.1 localhost", vec!["1 127.0.0.1 localhost"]),
            ("\t10.0.0.1\ta  b # c\r\n\n::1 A.Example.\n", vec!["1 10.0.0.1 a,b", "3 ::1 A.Example."]),
            ("::ffff:10.0.0.2 mapped", vec!["1 10.0.0.2 mapped"]),
            ("fe80::1%lo0 local", vec!["1 fe80::1 local"]),
            ("10.0.0.1\x0ba\x0cb", vec!["1 10.0.0.1 a,b"]),
            ("10.0.0.1", vec!["1 10.0.0.1 "]),
            ("10.0.0.1#a", vec!["1 10.0.0.1 "]),
            (
                "a 10.0.0.1\n1.2.3 b",
                vec!["line 1: \"a\" is not an IP address", "line 2: \"1.2.3\" is not an IP address"],
            ),
            ("010.0.0.1 a", vec!["line 1: \"010.0.0.1\" is not an IP address"]),
            (&long, vec![&*format!("line 1: {:?} is not an IP address", &long[..64])]),
        ] {
            assert_eq!(read(text), wanted, "{text:?}");
        }
    }
}
