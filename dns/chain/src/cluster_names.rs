//! The names of a cluster as one plugin offers them to others of its server block.

use std::net::IpAddr;
use std::sync::Arc;

use cluster::Current;
use dns_zone::Zone;

/// What `kubernetes` offers to `k8s_external`.
pub(crate) struct ClusterNames {
    /// The view of the cluster.
    pub zone: Current<Zone>,
    /// The addresses of this host, for the name servers of a zone.
    pub own: Arc<[IpAddr]>,
}
