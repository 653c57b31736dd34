//! The options of the `kubernetes` plugin that affect answers.

use dns_wire::Name;

use cluster::LabelSelector;

/// Options that affect answers. Those about the connection to the API server belong to the `sources` crate.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneOptions {
    /// Zones that are answered; reverse zones (at or below `in-addr.arpa` and `ip6.arpa`) answer PTR queries.
    pub zones: Vec<Name>,
    /// `pods`: which Pod names exist.
    pub pods: PodMode,
    /// `endpoint_pod_names`: endpoints without a hostname are named after their Pod.
    pub endpoint_pod_names: bool,
    /// `ttl` in seconds: for all records except `dns-version` and SOA.
    pub ttl: u32,
    /// `namespaces`: the visible namespaces; empty for all.
    pub namespaces: Vec<String>,
    /// `namespace_labels`: only namespaces that the selector matches are visible.
    pub namespace_labels: LabelSelector,
    /// False with `noendpoints`: EndpointSlices are not read.
    pub endpoints: bool,
    /// `ignore empty_service`: a ClusterIP Service without ready endpoints does not exist.
    pub ignore_empty_service: bool,
    /// `zonal`: names that select the endpoints of one topology zone exist.
    pub zonal: bool,
    /// `multicluster`: the zones that are built from ServiceImports instead of Services.
    pub multicluster: Vec<Name>,
}

/// Which names under `pod.<zone>` exist (`pods` option).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodMode {
    /// `disabled`: none.
    #[default]
    Disabled,
    /// `insecure`: every IP address in a visible namespace.
    Insecure,
    /// `verified`: the addresses of the Pods in the namespace.
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
