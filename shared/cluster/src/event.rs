//! What a source tells the cache.

use std::sync::Arc;

use crate::key::{Key, Kind};
use crate::objects::{ConfigMap, EndpointSlice, Ingress, IngressClass, Namespace, Pod, Secret, Service};

/// One step in the history of the cluster, as a source saw it.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The object exists and looks like this.
    Apply(Object),
    /// The object is gone.
    Remove(Kind, Key),
    /// A list of this kind begins. The old picture stays until [`Event::Synced`].
    Restart(Kind),
    /// The list of this kind is complete: what it did not name is gone.
    Synced(Kind),
}

impl Event {
    /// The kind of object it is about.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Apply(object) => object.kind(),
            Self::Remove(kind, _) | Self::Restart(kind) | Self::Synced(kind) => *kind,
        }
    }
}

/// An object of any kind.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Object {
    Namespace(Arc<Namespace>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Pod(Arc<Pod>),
    Ingress(Arc<Ingress>),
    IngressClass(Arc<IngressClass>),
    Secret(Arc<Secret>),
    ConfigMap(Arc<ConfigMap>),
}

impl Object {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Pod(_) => Kind::Pod,
            Self::Ingress(_) => Kind::Ingress,
            Self::IngressClass(_) => Kind::IngressClass,
            Self::Secret(_) => Kind::Secret,
            Self::ConfigMap(_) => Kind::ConfigMap,
        }
    }

    /// Its key.
    pub fn key(&self) -> &Key {
        match self {
            Self::Namespace(object) => &object.key,
            Self::Service(object) => &object.key,
            Self::EndpointSlice(object) => &object.key,
            Self::Pod(object) => &object.key,
            Self::Ingress(object) => &object.key,
            Self::IngressClass(object) => &object.key,
            Self::Secret(object) => &object.key,
            Self::ConfigMap(object) => &object.key,
        }
    }
}
