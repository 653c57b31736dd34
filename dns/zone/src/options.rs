//! What the `kubernetes` plugin can be told (reference §2.1), as plain values.

use dns_wire::Name;

use cluster::LabelSelector;

/// The options that shape answers. Those about reaching the API server are the source's.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneOptions {
    /// The zones answered for; reverse zones (`in-addr.arpa`, `ip6.arpa` and below) answer PTR.
    pub zones: Vec<Name>,
    /// `pods`.
    pub pods: PodMode,
    /// `endpoint_pod_names`: endpoints without a hostname are named after their Pod.
    pub endpoint_pod_names: bool,
    /// `ttl`: of every record but the version and the SOA.
    pub ttl: u32,
    /// `namespaces`: only these exist; empty for all.
    pub namespaces: Vec<String>,
    /// `namespace_labels`: only namespaces with such labels exist.
    pub namespace_labels: LabelSelector,
    /// Off with `noendpoints`: EndpointSlices are not read.
    pub endpoints: bool,
    /// `ignore empty_service`: a ClusterIP Service without ready endpoints does not exist.
    pub ignore_empty_service: bool,
    /// `zonal`: names of the endpoints of one topology zone.
    pub zonal: bool,
    /// `multicluster`: those of the zones that have what ServiceImports say, in place of Services.
    pub multicluster: Vec<Name>,
}

/// Which names under `pod.<zone>` answer (reference §2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodMode {
    /// None.
    #[default]
    Disabled,
    /// Every address, in a namespace that exists.
    Insecure,
    /// Addresses that a Pod of the namespace has.
    Verified,
}

impl ZoneOptions {
    /// The plugin's defaults for these zones.
    pub fn new(zones: Vec<Name>) -> Self {
        Self {
            zones,
            pods: PodMode::default(),
            endpoint_pod_names: false,
            ttl: 5,
            namespaces: Vec::new(),
            namespace_labels: LabelSelector::default(),
            endpoints: true,
            ignore_empty_service: false,
            zonal: false,
            multicluster: Vec::new(),
        }
    }
}
