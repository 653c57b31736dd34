//! TCP and UDP services: the ports of the ConfigMaps that `--tcp-services-configmap` and `--udp-services-configmap` name and of
//! `stream-snippet`, and the endpoints that they lead to.

mod target;
mod index;

use std::sync::Arc;

use cluster::{CompactString, Key, Kind, Protocol};

pub use self::index::StreamIndex;
use crate::options::PoolKey;
use crate::pools::{Pool, PoolMembers};
use crate::problem::RoutingProblem;
use crate::snippet::StreamAddressRules;

/// The TCP and UDP services of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Streams {
    /// In the order of protocol and port.
    services: Arc<[Arc<StreamService>]>,
    /// Of the entries that are not served, or not as written.
    problems: Arc<[RoutingProblem]>,
    /// All kinds of objects that it is made of have been listed.
    is_synced: bool,
    /// An Ingress has the annotation `stream-snippet`, so that classes, too, may change the view.
    has_snippets: bool,
}

/// A port and where its streams go.
#[derive(Debug, PartialEq)]
pub struct StreamService {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port that is listened on.
    pub port: u16,
    /// The ConfigMap or Ingress that opens the port.
    pub source: (Kind, Key),
    /// The port of the Service.
    pub target: PoolKey,
    /// Each stream begins with a PROXY header, which is not passed on.
    pub decodes_proxy: bool,
    /// Endpoints get a PROXY header (version 1) first.
    pub encodes_proxy: bool,
    /// Which clients are served.
    pub rules: StreamAddressRules,
    /// The endpoints.
    pub pool: Arc<Pool>,
}

impl Streams {
    /// The service of a port. Hot: no allocation.
    pub fn get(&self, protocol: Protocol, port: u16) -> Option<&Arc<StreamService>> {
        let at = self.services.binary_search_by_key(&rank(protocol, port), |service| service.rank()).ok()?;
        Some(&self.services[at])
    }

    /// All services.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<StreamService>> {
        self.services.iter()
    }

    /// The problems of entries, and of ConfigMaps that do not exist.
    pub fn problems(&self) -> impl Iterator<Item = &RoutingProblem> {
        self.problems.iter()
    }
}

/// The key and the annotation with servers of their own, and the namespace of a target that is an address of `proxy_pass` and no Service, in
/// logs and metrics.
pub(crate) const SNIPPET: &str = "stream-snippet";

impl StreamService {
    /// Whether its target is the address of `proxy_pass` in `stream-snippet`, and no Service.
    pub fn is_of_snippet(&self) -> bool {
        let Key { namespace, name } = &self.target.service;
        // An IP address is a list of one endpoint, and no name of a Service.
        let is_address = name.contains(['.', ':']);
        namespace == SNIPPET && (is_address || matches!(self.pool.members(), PoolMembers::External { .. }))
    }

    /// Whether the port is open: as in ingress-nginx it is closed while there is no endpoint.
    pub fn is_open(&self) -> bool {
        !self.pool.is_empty()
    }

    /// `$proxy_upstream_name`.
    pub fn upstream_name(&self) -> CompactString {
        index::upstream_name(self.protocol, &self.target)
    }

    fn rank(&self) -> (u8, u16) {
        rank(self.protocol, self.port)
    }
}

fn rank(protocol: Protocol, port: u16) -> (u8, u16) {
    (protocol as u8, port)
}

#[cfg(test)]
mod tests;
