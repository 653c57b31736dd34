//! What a batch changed.

use std::sync::Arc;

use crate::key::{Key, Kind};
use crate::objects::{ConfigMap, EndpointSlice, Ingress, IngressClass, Namespace, Pod, Secret, Service};

/// An object before and after a batch. At least one side is there, and the two differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<T> {
    /// As it was when the batch began; `None` when it is new.
    pub before: Option<Arc<T>>,
    /// As it is now; `None` when it is gone.
    pub after: Option<Arc<T>>,
}

impl<T> Change<T> {
    /// Both sides, the old one first: whatever either of them reaches may look different now.
    pub fn sides(&self) -> impl Iterator<Item = &Arc<T>> {
        self.before.iter().chain(self.after.iter())
    }
}

/// A change of an object of any kind.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Touched {
    Namespace(Change<Namespace>),
    Service(Change<Service>),
    EndpointSlice(Change<EndpointSlice>),
    Pod(Change<Pod>),
    Ingress(Change<Ingress>),
    IngressClass(Change<IngressClass>),
    Secret(Change<Secret>),
    ConfigMap(Change<ConfigMap>),
}

/// What happened to an object in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum What {
    Added,
    Changed,
    Removed,
}

impl Touched {
    /// The kind of the object.
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

    /// The key of the object, and what happened to it.
    pub fn summary(&self) -> (Key, What) {
        match self {
            Self::Namespace(change) => summary(change, |object| &object.key),
            Self::Service(change) => summary(change, |object| &object.key),
            Self::EndpointSlice(change) => summary(change, |object| &object.key),
            Self::Pod(change) => summary(change, |object| &object.key),
            Self::Ingress(change) => summary(change, |object| &object.key),
            Self::IngressClass(change) => summary(change, |object| &object.key),
            Self::Secret(change) => summary(change, |object| &object.key),
            Self::ConfigMap(change) => summary(change, |object| &object.key),
        }
    }
}

fn summary<T>(change: &Change<T>, key: fn(&T) -> &Key) -> (Key, What) {
    let what = match (&change.before, &change.after) {
        (None, _) => What::Added,
        (_, None) => What::Removed,
        _ => What::Changed,
    };
    (change.sides().next().map(|object| key(object).clone()).unwrap_or_default(), what)
}
