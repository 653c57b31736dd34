//! A Service of the DNS benchmarks.

use std::net::Ipv4Addr;

/// A Service with a ClusterIP and one named port.
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
}

impl Service {
    /// Its DNS name, without the final dot.
    pub(crate) fn host(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.name, self.namespace)
    }
}
