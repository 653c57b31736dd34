//! The addresses of the cluster's nodes by name, and their names by address: a projection.

use std::collections::HashMap;
use std::net::IpAddr;

use cluster::{Kind, Kinds, Node, ObjectChange, Projection, Snapshot};
use dns_wire::{Name, Query};
use foldhash::fast::RandomState;

/// Builds [`NodeNames`] from the Nodes.
pub struct NodeIndex;

/// The names of all nodes. Names are in wire form and lower case.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NodeNames {
    synced: bool,
    names: HashMap<Box<[u8]>, Vec<IpAddr>, RandomState>,
    reverse: HashMap<IpAddr, Vec<Box<[u8]>>, RandomState>,
}

impl NodeNames {
    /// Whether all nodes are known.
    pub fn synced(&self) -> bool {
        self.synced
    }

    /// The addresses of the node with the name of the query.
    // Hot: 0 allocations.
    pub fn addresses(&self, query: &Query) -> &[IpAddr] {
        self.names.get(query.lower()).map(Vec::as_slice).unwrap_or_default()
    }

    /// The names of an address, in wire form.
    // Hot: 0 allocations.
    pub fn names_of(&self, address: IpAddr) -> &[Box<[u8]>] {
        self.reverse.get(&address).map(Vec::as_slice).unwrap_or_default()
    }

    fn add(&mut self, name: &str, addresses: &[IpAddr]) {
        let Ok(name) = name.parse::<Name>() else { return };
        let wire = Box::<[u8]>::from(name.lower().wire());
        for address in addresses.iter().map(IpAddr::to_canonical) {
            self.reverse.entry(address).or_default().push(wire.clone());
            self.names.entry(wire.clone()).or_default().push(address);
        }
    }
}

impl Projection for NodeIndex {
    type View = NodeNames;

    fn kinds(&self) -> Kinds {
        Kinds::of(&[Kind::Node])
    }

    fn build(&self, cluster: &Snapshot) -> NodeNames {
        let mut view = NodeNames { synced: cluster.synced(self.kinds()), ..NodeNames::default() };
        let mut nodes: Vec<&Node> = cluster.iter::<Node>().map(|node| &**node).collect();
        // The order of the records does not depend on that of the events.
        nodes.sort_by(|a, b| a.key.cmp(&b.key));
        for node in nodes {
            view.add(&node.key.name, &node.addresses);
            node.hostnames.iter().for_each(|name| view.add(name, &node.addresses));
        }
        view
    }

    /// Builds anew: addresses of nodes rarely change, and a node has two or three entries.
    fn advance(&self, _: &NodeNames, cluster: &Snapshot, _: &[ObjectChange]) -> NodeNames {
        self.build(cluster)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cluster::testing::{check_projection, histories};
    use cluster::{Cache, Event, Key, Object};
    use dns_wire::codes::rtype;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nodes_have_addresses_by_name_and_host_name_and_names_by_address() {
        let node = |name: &str, addresses: &[&str], hostname: &str| {
            let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
            let hostnames = (!hostname.is_empty()).then(|| hostname.into()).into_iter().collect();
            Event::Apply(Object::Node(Arc::new(Node { key: Key::cluster(name), addresses, hostnames })))
        };
        let mut cache = Cache::default();
        let current = cache.project(NodeIndex);
        let first = node("server-1", &["10.0.0.21", "fd00::21"], "Host.example");
        cache.apply(vec![first, node("agent-1", &["10.0.0.22"], "")], 1);
        assert!(!current.load().synced());
        cache.apply(vec![Event::Synced(Kind::Node)], 2);
        let view = current.load();
        let count = |name: &str| view.addresses(&Query::new(0, &name.parse().unwrap(), rtype::A)).len();
        assert!(view.synced());
        assert_eq!(["SERVER-1", "host.EXAMPLE", "agent-1", "agent-2"].map(count), [2, 2, 1, 0]);
        let names = |ip: &str| {
            view.names_of(ip.parse().unwrap()).iter().map(|name| name.to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(names("10.0.0.21"), [b"\x08server-1\0".to_vec(), b"\x04host\x07example\0".to_vec()]);
        assert!(names("10.0.0.23").is_empty());
    }

    proptest! {
        #[test]
        fn advancing_equals_building_anew(history in histories()) {
            check_projection(|| NodeIndex, history);
        }
    }
}
