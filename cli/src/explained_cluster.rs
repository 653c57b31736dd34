//! What explanations of names take from a Corefile and from the cluster.

use std::net::{IpAddr, Ipv4Addr};

use cluster::{EndpointSlice, Key, Pod, Snapshot};
use config::Corefile;
use dns_wire::Name;
use explain::ExplainedName;
use sources::Cluster;

use crate::args::NameClient;

/// The address of a client that is not known (RFC 5737).
const UNKNOWN_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// EndpointSlices of a Service that are shown.
const MAX_SLICES: usize = 20;

/// The first zone of the first `kubernetes` that is no reverse zone.
pub fn cluster_zone(corefile: &Corefile) -> String {
    let plugins = corefile.blocks.iter().flat_map(|block| block.all("kubernetes"));
    let mut zones = plugins.flat_map(|directive| &directive.args).map(|zone| zone.text.trim_end_matches('.'));
    zones.find(|zone| !zone.ends_with("arpa") && !zone.contains('/')).unwrap_or("cluster.local").to_owned()
}

/// The address and the search list of a client. Names and types are left out.
pub fn client(from: &NameClient, zone: &str, cluster: Option<&Cluster>) -> ExplainedName {
    let query = |address: IpAddr, from: String, search: Vec<Name>| ExplainedName {
        name: String::new(),
        qtype: 0,
        client: (address, 40_000).into(),
        from,
        search,
        sends: false,
    };
    match from {
        NameClient::Address(address) => query(*address, address.to_string(), Vec::new()),
        NameClient::Pod(namespace, pod) => {
            let key = Key { namespace: namespace.as_str().into(), name: pod.as_str().into() };
            let address_of = |snapshot: &Snapshot| snapshot.get::<Pod>(&key)?.addresses.first().copied();
            let (address, shown) = match cluster.and_then(|cluster| cluster.read(address_of)) {
                Some(address) => (address, format!("Pod {key} ({address})")),
                None => (UNKNOWN_CLIENT, format!("Pod {key}, whose address is not known")),
            };
            query(address, shown, search_list(namespace, zone))
        }
    }
}

/// The search list that the kubelet writes for a Pod with `dnsPolicy: ClusterFirst`, without that of the node.
fn search_list(namespace: &str, zone: &str) -> Vec<Name> {
    let names = [format!("{namespace}.svc.{zone}."), format!("svc.{zone}."), format!("{zone}.")];
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

/// The EndpointSlices of a Service.
pub fn objects(snapshot: &Snapshot, namespace: &str, name: &str) -> Vec<String> {
    let key = Key { namespace: namespace.into(), name: name.into() };
    let slices = snapshot.iter::<EndpointSlice>().filter(|slice| slice.service_key() == key);
    let slices = slices.map(|slice| {
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready).count();
        let unready = slice.endpoints.iter().count() - ready;
        let rest = if unready > 0 { format!(", {unready} not ready") } else { String::new() };
        format!("EndpointSlice {}: {ready} ready{rest}", slice.key)
    });
    slices.take(MAX_SLICES).collect()
}
