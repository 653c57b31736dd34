//! The views of the cluster that requests are served from.

pub(crate) mod held_routes;

use cluster::Current;
use ingress_routes::{Certs, GeoDatabases, Pools, RouteTable, Streams};

/// The current views of a cluster.
#[derive(Clone)]
pub struct ProxyViews {
    /// Hosts and paths to routes.
    pub table: Current<RouteTable>,
    /// Endpoints of the upstreams.
    pub pools: Current<Pools>,
    /// Certificates by name.
    pub certs: Current<Certs>,
    /// TCP and UDP services by port.
    pub streams: Current<Streams>,
    /// What is known about addresses of clients. It comes from files, and not from the cluster.
    pub geo: Current<GeoDatabases>,
}
