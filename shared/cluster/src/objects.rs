//! The objects, reduced to the fields that are read. One file per family.

mod endpoint_list;
mod endpoints;
mod ingress;
mod node;
mod service;
mod store;

pub use endpoint_list::{EndpointIter, EndpointList, EndpointRef, PodName};
pub use endpoints::{Endpoint, EndpointPort, EndpointSlice, FqdnEndpoint, Import, Pod};
pub use ingress::{
    Backend, Ingress, IngressClass, IngressPath, IngressRule, IngressStatus, IngressTls, LoadBalancerAddress,
    PathType, PortRef, ServiceBackend,
};
pub use node::Node;
pub use service::{Namespace, Protocol, Service, ServiceImport, ServiceKind, ServicePort};
pub use store::{ConfigMap, Secret};
