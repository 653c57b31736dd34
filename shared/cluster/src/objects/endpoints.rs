//! The addresses behind a Service: EndpointSlices and Pods.

use std::borrow::Cow;
use std::net::IpAddr;

use smallvec::SmallVec;

use super::{EndpointList, EndpointRef, Protocol};
use crate::key::{CompactString, Key};

/// An EndpointSlice (discovery.k8s.io/v1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// `metadata.namespace` and `metadata.name`.
    pub key: Key,
    /// Label `kubernetes.io/service-name`; empty when no Service owns the slice.
    pub service: CompactString,
    /// The ServiceImport and the cluster of its endpoints; boxed, as few slices have it.
    pub import: Option<Box<Import>>,
    /// `ports`; a slice without ports has addresses only.
    pub ports: SmallVec<[EndpointPort; 1]>,
    /// `endpoints`, in the order given; none where `addressType` is FQDN.
    pub endpoints: EndpointList,
    /// The ready `endpoints` where `addressType` is FQDN, one for each of their `addresses`.
    pub aliases: Box<[FqdnEndpoint]>,
    /// Topology zones, to which [`Endpoint::zone`] and [`Endpoint::hints`] are indexes, so that a zone takes one byte per endpoint.
    pub zones: Box<[CompactString]>,
}

impl EndpointSlice {
    /// Key of the Service that owns the slice.
    pub fn service_key(&self) -> Key {
        Key { namespace: self.key.namespace.clone(), name: self.service.clone() }
    }

    /// Key of the ServiceImport that the endpoints belong to.
    pub fn import_key(&self) -> Option<Key> {
        let import = self.import.as_ref()?;
        Some(Key { namespace: self.key.namespace.clone(), name: import.service.clone() })
    }

    /// The topology zone of one of its endpoints; read by `zonal` of the `kubernetes` plugin.
    pub fn zone_of(&self, endpoint: &EndpointRef<'_>) -> Option<&CompactString> {
        self.zones.get(usize::from(endpoint.zone).checked_sub(1)?)
    }

    /// The index of a zone by its name, as in [`Endpoint::hints`]; read by `--enable-topology-aware-routing`.
    pub fn zone_index(&self, zone: &str) -> Option<u8> {
        let at = self.zones.iter().position(|known| known == zone)?;
        u8::try_from(at + 1).ok()
    }
}

/// The labels of a slice about clusters (KEP-1645); read by `multicluster` of the `kubernetes` plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Label `multicluster.kubernetes.io/service-name`; never empty.
    pub service: CompactString,
    /// Label `multicluster.kubernetes.io/source-cluster`; empty where it is missing.
    pub cluster: CompactString,
}

/// A port of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointPort {
    /// `name`; empty when unnamed.
    pub name: CompactString,
    /// `protocol`.
    pub protocol: Protocol,
    /// `port`; a slice entry without a number ("all ports") is kept as 0.
    pub port: u16,
}

/// One endpoint of a slice, before it is added to an [`EndpointList`], which copies the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The valid `addresses`.
    pub addresses: SmallVec<[IpAddr; 1]>,
    /// `conditions.ready`; a missing condition counts as ready.
    pub ready: bool,
    /// `hostname`: the name of the endpoint under a headless Service.
    pub hostname: Option<Cow<'a, str>>,
    /// `targetRef.name` where the target is a Pod; read by `endpoint_pod_names`.
    pub pod: Option<Cow<'a, str>>,
    /// `zone` as an index into [`EndpointSlice::zones`], from 1 on; 0 when it has none.
    pub zone: u8,
    /// `hints.forZones`: the zones whose clients should use it, as indexes like `zone`. A hint that is its own zone takes no memory.
    pub hints: SmallVec<[u8; 1]>,
}

/// An endpoint that is a DNS name. The names of its Service are aliases of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FqdnEndpoint {
    /// The address: a DNS name without a final dot, as written.
    pub name: CompactString,
    /// `hostname`, as in [`Endpoint::hostname`].
    pub hostname: Option<Box<str>>,
}

/// A Pod (core/v1) that has addresses; read by `pods verified`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.namespace` and `metadata.name`.
    pub key: Key,
    /// `status.podIPs` (`status.podIP` where that list is missing).
    pub addresses: SmallVec<[IpAddr; 2]>,
}
