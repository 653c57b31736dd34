//! Detects zones that are served twice at one address (coredns, core/dnsserver/register.go).

use std::collections::HashMap;

use crate::corefile::ServerBlock;
use crate::error::ConfigError;
use crate::zone::{Scheme, ServerKey};

/// A zone at an address: scheme, zone, port, host (empty without `bind`).
type Bound<'a> = (Scheme, &'a str, u16, &'a str);

/// Reports each zone that is defined twice at one address, or with and without `bind`. `hosts` gives the addresses of a block:
/// one that is empty if it is served at all addresses, none to leave the block out. A block with a `view` selects its queries by
/// an expression and may overlap with a block without.
pub fn overlaps(
    blocks: &[ServerBlock],
    hosts: impl Fn(usize, &ServerBlock) -> Vec<String>,
) -> Vec<ConfigError> {
    let hosts: Vec<Vec<String>> =
        blocks.iter().enumerate().map(|(index, block)| hosts(index, block)).collect();
    let mut errors = Vec::new();
    let mut exact: HashMap<Bound<'_>, &ServerKey> = HashMap::new();
    let mut anywhere: HashMap<Bound<'_>, (&ServerKey, &str)> = HashMap::new();
    for (block, hosts) in blocks.iter().zip(&hosts) {
        let filtered = block.all("view").next().is_some();
        for key in &block.keys {
            for host in hosts.iter().map(String::as_str) {
                let bound = (key.scheme, key.zone.as_str(), key.port, host);
                let unbound = (key.scheme, key.zone.as_str(), key.port, "");
                let on = if host.is_empty() { String::new() } else { format!(" on {host}") };
                // Port 0 selects a new port each time, but CoreDNS compares it like any other port.
                if let Some(first) = exact.get(&bound) {
                    errors.push(ConfigError::new(
                        &key.at,
                        format!("cannot serve {key}{on} - it is already defined"),
                        format!("each zone once per port, as at {}", first.at),
                    ));
                } else if let Some((first, address)) = anywhere.get(&unbound)
                    && (host.is_empty() || exact.contains_key(&unbound))
                {
                    let address = if host.is_empty() { format!(" on {address}") } else { String::new() };
                    errors.push(ConfigError::new(
                        &key.at,
                        format!(
                            "cannot serve {key}{on} - zone overlap listener capacity with {first}{address}"
                        ),
                        format!("bind in both blocks or in neither, as at {}", first.at),
                    ));
                } else if !filtered {
                    exact.insert(bound, key);
                    anywhere.insert(unbound, (key, host));
                }
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use crate::{Corefile, Disk, ParseOptions};

    use super::*;

    /// The errors with the arguments of `bind` as addresses.
    fn errors(text: &str) -> Vec<String> {
        let corefile = Corefile::parse("Corefile", text, &Disk, &ParseOptions::default()).expect(text);
        let hosts = |_, block: &ServerBlock| {
            let bound: Vec<String> =
                block.all("bind").flat_map(|bind| &bind.args).map(|word| word.text.clone()).collect();
            if bound.is_empty() { vec![String::new()] } else { bound }
        };
        let errors = overlaps(&corefile.blocks, hosts);
        errors.iter().map(|error| format!("{} {}", error.at.line(), error.what)).collect()
    }

    #[test]
    fn a_zone_may_be_served_once_at_an_address_and_with_or_without_bind() {
        for (text, wanted) in [
            (". {\n bind ::1\n}\n. {\n bind 127.0.0.1\n}", None),
            (". {\n bind ::1\n}\na. {\n bind ::1\n}", None),
            (". {\n bind ::1\n}\n.:54 {\n bind ::1\n}", None),
            (
                ". {\n bind ::1\n}\n. {\n bind ::1\n}",
                Some("4 cannot serve dns://.:53 on ::1 - it is already defined"),
            ),
            (
                ". {\n bind ::1\n}\n. {\n}",
                Some("4 cannot serve dns://.:53 - zone overlap listener capacity with dns://.:53 on ::1"),
            ),
            (
                ". {\n}\n. {\n bind ::1\n}",
                Some("3 cannot serve dns://.:53 on ::1 - zone overlap listener capacity with dns://.:53"),
            ),
        ] {
            assert_eq!(errors(text), wanted.into_iter().collect::<Vec<_>>(), "{text}");
        }
    }
}
