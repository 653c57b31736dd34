//! The views of the cluster that plugins use.

use cluster::{Current, Kinds};
use dns_zone::{NodeNames, PodNamespaces, Zone, ZoneIndex};

/// Provides the plugins `kubernetes` and `hosts` with views of the cluster.
pub trait ClusterSource: Send + Sync {
    /// The view of a zone. It is kept current for as long as it is held.
    fn project(&self, zone: ZoneIndex, connection: &ApiConnection) -> Result<Current<Zone>, String>;

    /// The names of the nodes. They are kept current for as long as the view is held.
    fn nodes(&self, connection: &ApiConnection) -> Result<Current<NodeNames>, String>;

    /// The namespaces of the Pods by address. They are kept current for as long as the view is held.
    fn pods(&self, connection: &ApiConnection) -> Result<Current<PodNamespaces>, String>;

    /// Replaces the request limits of an open connection.
    fn limit(&self, _connection: &ApiConnection) {}

    /// The kinds that the API server refuses to list (RBAC). That may change later.
    fn refused(&self, _connection: &ApiConnection) -> Kinds {
        Kinds::default()
    }
}

/// How the API server is reached according to the Corefile. Empty for the service account of the Pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApiConnection {
    /// `endpoint`: the first of the URLs.
    pub endpoint: Option<String>,
    /// `tls`: files of the client's certificate and key and of the authority, for `endpoint`.
    pub tls: Option<[String; 3]>,
    /// `kubeconfig`: the file, and the context if one is named.
    pub kubeconfig: Option<(String, Option<String>)>,
    /// `labels`: the selector that is sent with the watches of Services, EndpointSlices and Pods.
    pub labels: Option<String>,
    /// Limits on requests to the API server.
    pub limits: ApiLimits,
}

impl ApiConnection {
    /// Whether both see the same objects of the same API server, whatever their request limits.
    pub fn same_source(&self, other: &Self) -> bool {
        let without_limits = |connection: &Self| Self { limits: ApiLimits::default(), ..connection.clone() };
        without_limits(self) == without_limits(other)
    }
}

/// `apiserver_qps`, `apiserver_burst` and `apiserver_max_inflight`; 0 if not set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ApiLimits {
    /// Requests per second.
    pub qps: f32,
    /// Requests in a burst.
    pub burst: u32,
    /// Requests in flight.
    pub in_flight: u32,
}
