//! Namespaces, Services and ServiceImports.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::key::{CompactString, Key};

/// A Namespace (core/v1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.name`; the namespace part is empty.
    pub key: Key,
    /// `metadata.labels`; read by `namespace_labels` of the `kubernetes` plugin.
    pub labels: Vec<(CompactString, CompactString)>,
}

/// A Service (core/v1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `metadata.namespace` and `metadata.name`.
    pub key: Key,
    /// How the Service is reached.
    pub kind: ServiceKind,
    /// `spec.ports`.
    pub ports: SmallVec<[ServicePort; 1]>,
    /// Where the Service is reached from outside of the cluster: `spec.externalIPs`, then `ip` or else `hostname` of each of
    /// `status.loadBalancer.ingress`; read by `k8s_external`.
    pub external: Box<[CompactString]>,
    /// Clients should use endpoints in their own zone: `spec.trafficDistribution` or the annotation
    /// `service.kubernetes.io/topology-mode`; read by `--enable-topology-aware-routing`.
    pub prefers_own_zone: bool,
}

/// How a Service is reached: `spec.type` and `spec.clusterIPs` combined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// ClusterIP, NodePort and LoadBalancer: `spec.clusterIPs`, one or two addresses; none while the API server has not
    /// assigned any.
    ClusterIp(SmallVec<[IpAddr; 2]>),
    /// `clusterIP: None`: the endpoints are the addresses.
    Headless,
    /// `spec.externalName`, without a final dot, as written.
    ExternalName(CompactString),
}

/// A ServiceImport (multicluster.x-k8s.io/v1alpha1): a Service that clusters of a set share; read by `multicluster` of
/// the `kubernetes` plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceImport {
    /// `metadata.namespace` and `metadata.name`.
    pub key: Key,
    /// `spec.type` and `spec.ips` combined: [`ServiceKind::ClusterIp`] or [`ServiceKind::Headless`].
    pub kind: ServiceKind,
    /// `spec.ports`; their targets are empty.
    pub ports: SmallVec<[ServicePort; 1]>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`; empty when unnamed.
    pub name: CompactString,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`.
    pub port: u16,
    /// `targetPort` as text; equal to the port when not given. ingress-nginx lets a backend of an Ingress name it instead
    /// of the port's own name.
    pub target: CompactString,
}

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// As DNS SRV names write it (RFC 2782), without the underscore.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}
