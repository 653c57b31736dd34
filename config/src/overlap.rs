//! Detects zones that are served twice at one address (coredns, core/dnsserver/register.go).

use std::collections::HashMap;

use crate::corefile::ServerBlock;
use crate::error::ConfigError;
use crate::zone::{Scheme, ServerKey};

/// A zone at an address: scheme, zone, port, host (empty without `bind`).
type Bound<'a> = (Scheme, &'a str, u16, &'a str);

/// Reports each zone that is defined twice at one address, or with and without `bind`. A block with a `view`
/// selects its queries by an expression and may overlap with a block without.
pub(crate) fn check(blocks: &[ServerBlock]) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut exact: HashMap<Bound<'_>, &ServerKey> = HashMap::new();
    let mut anywhere: HashMap<Bound<'_>, (&ServerKey, &str)> = HashMap::new();
    for block in blocks {
        let filtered = block.all("view").next().is_some();
        let mut hosts: Vec<&str> =
            block.all("bind").flat_map(|bind| &bind.args).map(|word| word.text.as_str()).collect();
        if hosts.is_empty() {
            hosts.push("");
        }
        for key in &block.keys {
            for host in &hosts {
                let bound = (key.scheme, key.zone.as_str(), key.port, *host);
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
