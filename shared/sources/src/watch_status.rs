//! How far each kind has come, for the admin page, the command line and log lines.

use std::sync::Arc;

use cluster::Kind;

/// How a source stands with one kind.
///
/// This is about the source only. What is served may be older: a kind that is [`WatchStatus::Retrying`] after its first
/// list keeps its last picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchStatus {
    /// Nobody has asked for the kind, or its source has not come to it yet.
    #[default]
    Waiting,
    /// A list is running.
    Listing,
    /// The list is complete and changes follow as they happen.
    Synced,
    /// The API server refuses (RBAC). Asked again from time to time.
    Forbidden {
        /// What may not be done: `list` or `watch`.
        verb: &'static str,
        /// To what, as RBAC rules and `kubectl auth can-i` name it: `secrets`, `ingresses.networking.k8s.io`.
        resource: Arc<str>,
        /// In which namespace; empty where the whole cluster was asked for.
        namespace: Arc<str>,
    },
    /// The API server does not know this resource: its CustomResourceDefinition is not installed. There are no such
    /// objects then, and nothing waits for them; asked again from time to time.
    Missing(Arc<str>),
    /// The last attempt failed for this reason; the next one follows by itself.
    Retrying(Arc<str>),
}

impl std::fmt::Display for WatchStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting"),
            Self::Listing => f.write_str("listing"),
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
    /// How the source stands with a kind.
    pub fn get(&self, kind: Kind) -> &WatchStatus {
        &self.0[kind as usize]
    }

    /// Every kind with its status, in the order of [`Kind::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &WatchStatus)> {
        Kind::ALL.into_iter().map(|kind| (kind, self.get(kind)))
    }

    /// Notes a status. False when it was so already.
    pub(crate) fn set(&mut self, kind: Kind, status: WatchStatus) -> bool {
        let changed = self.0[kind as usize] != status;
        self.0[kind as usize] = status;
        changed
    }
}
