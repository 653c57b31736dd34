//! Ingresses and their classes (networking.k8s.io/v1).

use crate::key::{CompactString, Key};

/// An Ingress.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ingress {
    /// `metadata.namespace` and `metadata.name`.
    pub key: Key,
    /// `metadata.creationTimestamp` in Unix seconds; of two Ingresses with the same path of a host the older one wins, as in
    /// ingress-nginx. 0 when missing.
    pub created: i64,
    /// `metadata.annotations`, sorted by name, without kubectl's copy of the object.
    pub annotations: Vec<(CompactString, String)>,
    /// `spec.ingressClassName`.
    pub class: Option<CompactString>,
    /// `spec.defaultBackend`.
    pub default_backend: Option<Backend>,
    /// `spec.rules`.
    pub rules: Vec<IngressRule>,
    /// `spec.tls`.
    pub tls: Vec<IngressTls>,
}

impl Ingress {
    /// Value of an annotation.
    pub fn annotation(&self, name: &str) -> Option<&str> {
        let at = self.annotations.binary_search_by(|(key, _)| key.as_str().cmp(name)).ok()?;
        Some(&self.annotations[at].1)
    }
}

/// `spec.rules[]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IngressRule {
    /// `host`, as written; empty for every host.
    pub host: CompactString,
    /// `http.paths`.
    pub paths: Vec<IngressPath>,
}

/// `spec.rules[].http.paths[]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IngressPath {
    /// `path`, as written; may be empty.
    pub path: CompactString,
    /// `pathType`.
    pub kind: PathType,
    /// `backend`.
    pub backend: Backend,
}

/// `pathType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum PathType {
    Exact,
    Prefix,
    ImplementationSpecific,
}

/// `backend`: a Service, or a resource that Portolan cannot serve.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    /// `backend.service`.
    Service(ServiceBackend),
    /// `backend.resource` as `kind/name`, for the report that it cannot be served.
    Resource(CompactString),
}

/// `backend.service`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceBackend {
    /// `name`, in the namespace of the Ingress.
    pub name: CompactString,
    /// `port`.
    pub port: PortRef,
}

/// A port by number or by name (`backend.service.port`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum PortRef {
    Number(u16),
    Name(CompactString),
}

impl std::fmt::Display for PortRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// `spec.tls[]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IngressTls {
    /// `hosts`, as written.
    pub hosts: Vec<CompactString>,
    /// `secretName`; empty for the default certificate.
    pub secret: CompactString,
}

/// The status of an Ingress; read by the leader of the ingress controller, which writes it. It is not a part of [`Ingress`], so that
/// writing it rebuilds no route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressStatus {
    /// `metadata.namespace` and `metadata.name`.
    pub key: Key,
    /// `metadata.uid`, to which Events refer.
    pub uid: CompactString,
    /// `status.loadBalancer.ingress`, sorted.
    pub addresses: Box<[LoadBalancerAddress]>,
}

/// `status.loadBalancer.ingress[]`, in the order of ingress-nginx: by host name, then by IP address.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoadBalancerAddress {
    /// `hostname`; empty for an IP address.
    pub hostname: CompactString,
    /// `ip`; empty for a host name.
    pub ip: CompactString,
}

/// An IngressClass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngressClass {
    /// `metadata.name`; the namespace part is empty.
    pub key: Key,
    /// `spec.controller`.
    pub controller: CompactString,
    /// Annotation `ingressclass.kubernetes.io/is-default-class` is "true".
    pub default: bool,
}
