//! Where the keys of a server block are served.

use std::net::SocketAddr;

use config::{Scheme, ServerBlock};

use super::BlockSettings;

/// Where a zone of a server block is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenAddress {
    /// 0 lets the system choose.
    pub port: u16,
    /// One address of this host, with the port. `None` for the addresses of the server: all, unless its options say otherwise.
    pub bound: Option<SocketAddr>,
}

impl ListenAddress {
    /// The `server` label: `dns://:53`, or `dns://10.0.0.1:53` (coredns, core/dnsserver/address.go).
    pub(crate) fn label(&self, scheme: Scheme) -> String {
        match self.bound {
            Some(address) => format!("{scheme}://{address}"),
            None => format!("{scheme}://:{}", self.port),
        }
    }
}

/// A key of a server block at one of its addresses.
#[derive(Clone, Debug)]
pub struct ServedKey {
    /// The zone.
    pub zone: String,
    /// The `server` label of metrics.
    pub server: String,
    /// The `view` label of metrics.
    pub view: String,
    /// Where it is served.
    pub listen: ListenAddress,
}

/// Each key of a block at each address.
pub(crate) fn served_keys(block: &ServerBlock, settings: &BlockSettings) -> Vec<ServedKey> {
    let (mut served, bound) = (Vec::new(), settings.bound.as_slice());
    for key in &block.keys {
        let mut add = |bound: Option<SocketAddr>| {
            let server = ListenAddress { port: key.port, bound }.label(key.scheme);
            let listen = ListenAddress { port: key.port, bound: bound.and_then(listened) };
            let (zone, view) = (key.zone.clone(), settings.view.clone());
            served.push(ServedKey { zone, server, view, listen });
        };
        if bound.is_empty() {
            add(None);
        }
        for address in bound {
            let mut address = *address;
            address.set_port(key.port);
            add(Some(address));
        }
    }
    served
}

/// Where a bound address is listened on. The wildcard addresses `0.0.0.0` and `::` both mean all addresses, as in Go.
pub(super) fn listened(bound: SocketAddr) -> Option<SocketAddr> {
    (!bound.ip().is_unspecified()).then_some(bound)
}
