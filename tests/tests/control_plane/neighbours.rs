//! Programs that people run beside an ingress controller: what they write to the cluster, or they themselves.

pub(crate) mod cert_manager;
pub(crate) mod external_dns;
pub(crate) mod grpc;
pub(crate) mod oauth2_proxy;
pub(crate) mod progressive_delivery;
