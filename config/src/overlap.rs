//! No zone may be served twice at one place (coredns, core/dnsserver/register.go).

use std::collections::HashMap;

use crate::corefile::ServerBlock;
use crate::error::ConfigError;
use crate::zone::{Scheme, ServerKey};

/// Where a block with and without `bind` listens: a zone at an address.
type Bound<'a> = (Scheme, &'a str, u16, &'a str);

/// Reports each zone that is defined twice at one address, or with and without `bind`. A block with a `view`
/// picks its queries by other means; it may stand beside a block without.
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
                // Port 0 is a new port each time, and yet CoreDNS counts it as one.
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
