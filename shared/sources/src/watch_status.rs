//! The status of each kind of a source.

use std::sync::Arc;

use cluster::Kind;

/// The status of one kind of a source.
///
/// The status has no effect on objects that were read before: a kind that is [`WatchStatus::Retrying`] after its first list
/// keeps its objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchStatus {
    /// The kind is not read, or its source has not started with it.
    #[default]
    Waiting,
    /// A list is requested or being read.
    Listing,
    /// The list is held back, because an object of it may be missing: this file or object of the manifests could never be
    /// read.
    Incomplete(Arc<str>),
    /// The list is complete and changes arrive as they happen.
    Synced,
    /// RBAC forbids it. It is requested again from time to time.
    Forbidden {
        /// The verb that is forbidden: `list` or `watch`.
        verb: &'static str,
        /// The resource as RBAC rules and `kubectl auth can-i` name it: `secrets`, `ingresses.networking.k8s.io`.
        resource: Arc<str>,
        /// The namespace; empty for the whole cluster.
        namespace: Arc<str>,
    },
    /// The API server does not know this resource: its CustomResourceDefinition is not installed. The kind then counts as
    /// listed without objects, and is requested again from time to time.
    Missing(Arc<str>),
    /// The last request failed for this reason. It is repeated after a pause.
    Retrying(Arc<str>),
}

impl std::fmt::Display for WatchStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting"),
            Self::Listing => f.write_str("listing"),
            Self::Incomplete(missing) => write!(f, "incomplete: {missing}"),
            Self::Synced => f.write_str("synced"),
            Self::Forbidden { verb, resource, namespace } if namespace.is_empty() => {
                write!(f, "forbidden: needs {verb:?} on {resource:?} in the whole cluster")
            }
            Self::Forbidden { verb, resource, namespace } => {
                write!(f, "forbidden: needs {verb:?} on {resource:?} in namespace {namespace:?}")
            }
            Self::Missing(resource) => write!(f, "missing: the API server does not know {resource:?}"),
            Self::Retrying(error) => write!(f, "retrying: {error}"),
        }
    }
}

/// The status of every kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchStatuses([WatchStatus; Kind::ALL.len()]);

impl WatchStatuses {
    /// The status of a kind.
    pub fn get(&self, kind: Kind) -> &WatchStatus {
        &self.0[kind as usize]
    }

    /// Every kind with its status, in the order of [`Kind::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &WatchStatus)> {
        Kind::ALL.into_iter().map(|kind| (kind, self.get(kind)))
    }

    /// Sets a status. Returns whether it changed.
    pub(crate) fn set(&mut self, kind: Kind, status: WatchStatus) -> bool {
        let changed = self.0[kind as usize] != status;
        self.0[kind as usize] = status;
        changed
    }
}
