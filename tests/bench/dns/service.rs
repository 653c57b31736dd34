//! A Service as the load and the engines know it.

use std::net::Ipv4Addr;

/// A Service with a ClusterIP and one named port.
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
}

impl Service {
    /// The name it has in the zone.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }
}
