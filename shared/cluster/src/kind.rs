//! The kinds of object that Portolan reads: one list, and everything that is generated from it.

/// Calls a macro with the list of kinds, from which everything that exists once per kind is generated. A new kind is a
/// type in `objects` and a line here.
macro_rules! kinds {
    ($use:ident) => {
        $use! {
            // type: its store in the snapshot, `apiVersion`, resource, whether it is namespaced
            Namespace: namespaces, "v1", "namespaces", false;
            Service: services, "v1", "services", true;
            EndpointSlice: slices, "discovery.k8s.io/v1", "endpointslices", true;
            Pod: pods, "v1", "pods", true;
            Ingress: ingresses, "networking.k8s.io/v1", "ingresses", true;
            // Part of an Ingress, read apart from it: only the leader reads it.
            IngressStatus: statuses, "networking.k8s.io/v1", "ingresses", true;
            IngressClass: classes, "networking.k8s.io/v1", "ingressclasses", false;
            Secret: secrets, "v1", "secrets", true;
            ConfigMap: config_maps, "v1", "configmaps", true;
            ServiceImport: imports, "multicluster.x-k8s.io/v1alpha1", "serviceimports", true;
            Node: nodes, "v1", "nodes", false;
        }
    };
}
pub(crate) use kinds;

macro_rules! kind {
    ($($kind:ident: $store:ident, $version:literal, $plural:literal, $namespaced:literal;)*) => {
        /// The kinds of object that Portolan reads.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)]
        pub enum Kind {
            $($kind,)*
        }

        impl Kind {
            /// Every kind, in the order in which a source should list them.
            pub const ALL: [Self; [$(Self::$kind),*].len()] = [$(Self::$kind),*];

            /// The `kind` field of its manifests.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($kind),)*
                }
            }

            /// The `apiVersion` field of its manifests.
            pub const fn api_version(self) -> &'static str {
                match self {
                    $(Self::$kind => $version,)*
                }
            }

            /// The resource name in API paths and RBAC rules.
            pub const fn plural(self) -> &'static str {
                match self {
                    $(Self::$kind => $plural,)*
                }
            }

            /// Whether objects of this kind are in a namespace.
            pub const fn namespaced(self) -> bool {
                match self {
                    $(Self::$kind => $namespaced,)*
                }
            }
        }
    };
}
kinds!(kind);

impl Kind {
    /// The API group; empty for the core group.
    pub fn group(self) -> &'static str {
        self.api_version().split_once('/').map_or("", |(group, _)| group)
    }

    /// True for a kind that a cluster may lack, since a CustomResourceDefinition defines it.
    pub const fn custom(self) -> bool {
        matches!(self, Self::ServiceImport)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of kinds.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// The set of these kinds.
    pub const fn of(kinds: &[Kind]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < kinds.len() {
            bits |= 1 << kinds[i] as u8;
            i += 1;
        }
        Self(bits)
    }

    /// Whether the kind is in the set.
    pub const fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The union of both sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The kinds in the set, in the order of [`Kind::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl std::fmt::Debug for Kinds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
