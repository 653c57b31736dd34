//! The namespaces of Pods by address: a projection.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use cluster::{Kind, Kinds, ObjectChange, Pod, Projection, Snapshot};

use crate::sharded::{ShardedTable, TableEntry};

/// Builds [`PodNamespaces`] from the Pods.
pub struct PodIndex;

/// The namespace of the Pod with an address.
#[derive(Debug, PartialEq)]
pub struct PodNamespaces(ShardedTable<PodNamespace>);

/// An address of a Pod.
#[derive(Clone, Debug, PartialEq)]
struct PodNamespace {
    hash: u32,
    address: IpAddr,
    namespace: Arc<str>,
    /// A hash of the Pod's name: Pods that share an address have separate entries.
    pod: u64,
}

impl TableEntry for PodNamespace {
    fn hash(&self) -> u32 {
        self.hash
    }

    fn order(&self, other: &Self) -> Ordering {
        let key = |entry: &Self| (entry.hash, entry.address, entry.pod);
        key(self).cmp(&key(other)).then_with(|| self.namespace.cmp(&other.namespace))
    }
}

impl PodNamespaces {
    /// The namespace of the Pod with an address. Pods on the network of their node share its address; one of them is taken.
    // Hot: 0 allocations.
    pub fn namespace_of(&self, address: IpAddr) -> Option<&str> {
        let address = address.to_canonical();
        let mut entries = self.0.at(hash(address));
        entries.find(|entry| entry.address == address).map(|entry| &*entry.namespace)
    }
}

impl Projection for PodIndex {
    type View = PodNamespaces;

    fn kinds(&self) -> Kinds {
        Kinds::of(&[Kind::Pod])
    }

    fn build(&self, cluster: &Snapshot) -> PodNamespaces {
        PodNamespaces(ShardedTable::new(cluster.iter::<Pod>().flat_map(|pod| entries(pod))))
    }

    fn advance(&self, last: &PodNamespaces, _: &Snapshot, touched: &[ObjectChange]) -> PodNamespaces {
        let (mut gone, mut came) = (Vec::new(), Vec::new());
        for change in touched {
            let ObjectChange::Pod(change) = change else { continue };
            gone.extend(change.before.iter().flat_map(|pod| entries(pod)));
            came.extend(change.after.iter().flat_map(|pod| entries(pod)));
        }
        PodNamespaces(last.0.change(gone, came))
    }
}

fn entries(pod: &Pod) -> Vec<PodNamespace> {
    let namespace: Arc<str> = (*pod.key.namespace).into();
    let who = dns_wire::hash(pod.key.name.as_bytes());
    let addresses = pod.addresses.iter().map(IpAddr::to_canonical);
    addresses
        .map(|address| PodNamespace { hash: hash(address), address, namespace: namespace.clone(), pod: who })
        .collect()
}

/// A keyed hash of an address.
fn hash(address: IpAddr) -> u32 {
    let octets = match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    (dns_wire::hash(&octets) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use cluster::testing::{check_projection, histories};
    use cluster::{Cache, Event, Key, Object};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pod_is_found_by_each_of_its_addresses() {
        let pod = |namespace: &str, name: &str, addresses: &[&str]| {
            let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
            Event::Apply(Object::Pod(Arc::new(Pod { key: Key::new(namespace, name), addresses })))
        };
        let mut cache = Cache::default();
        let current = cache.project(PodIndex);
        cache.apply(vec![pod("shop", "web", &["10.0.0.7", "fd00::7"]), pod("other", "db", &["10.0.0.8"])], 1);
        let found = |ip: &str| current.load().namespace_of(ip.parse().unwrap()).map(str::to_owned);
        assert_eq!(found("10.0.0.7").as_deref(), Some("shop"));
        assert_eq!(found("::ffff:10.0.0.8").as_deref(), Some("other"));
        assert_eq!(found("fd00::7").as_deref(), Some("shop"));
        cache.apply(vec![Event::Remove(Kind::Pod, Key::new("shop", "web"))], 2);
        assert_eq!(found("10.0.0.7"), None);
    }

    proptest! {
        #[test]
        fn advancing_equals_building_anew(history in histories()) {
            check_projection(|| PodIndex, history);
        }
    }
}
