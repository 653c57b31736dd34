//! Names that a resolver made with its search list.

use dns_wire::{Name, Query};
use dns_zone::ZoneOptions;

use crate::CLUSTER;
use crate::world::{events, unsynced, zone};

#[test]
fn names_made_with_a_search_list_are_taken_apart() {
    let zones = ["cluster.local", "clusterset.local", "in-addr.arpa"];
    let options = ZoneOptions {
        multicluster: vec!["clusterset.local".parse().expect("a name")],
        ..ZoneOptions::new(zones.iter().map(|zone| zone.parse().expect("a name")).collect())
    };
    let zone = zone(options, CLUSTER);
    for (name, wanted) in [
        ("example.org.shop.svc.cluster.local", Some("example.org.")),
        ("WWW.Example.org.shop.svc.cluster.local", Some("WWW.Example.org.")),
        ("web.other.shop.svc.cluster.local", Some("web.other.")),
        ("web.shop.svc.cluster.local.shop.svc.cluster.local", Some("web.shop.svc.cluster.local.")),
        // A resolver asks for it as it is first.
        ("a.web.shop.svc.cluster.local.shop.svc.cluster.local", None),
        // A Service, and what could be an endpoint or a port of one.
        ("example.shop.svc.cluster.local", None),
        ("named.web.shop.svc.cluster.local", None),
        ("_http._udp.web.shop.svc.cluster.local", None),
        ("h9.heads.shop.svc.cluster.local", None),
        ("a.orphan.shop.svc.cluster.local", None),
        ("example.org.nowhere.svc.cluster.local", None),
        ("example.org.svc.cluster.local", None),
        ("example.org.shop.pod.cluster.local", None),
        ("example.org.shop.svc.clusterset.local", None),
        ("1.2.3.in-addr.arpa", None),
        ("cluster.local", None),
        ("example.org", None),
    ] {
        let query = Query::new(0, &name.parse().expect("a name"), 1);
        let found = zone.searched(&query, 5).map(|searched| {
            assert_eq!(searched.zone.to_string(), "cluster.local.");
            let wire = [searched.labels, &[0]].concat();
            Name::from_wire(&wire).expect("a name").to_string()
        });
        assert_eq!(found.as_deref(), wanted, "{name}");
    }
    let query = Query::new(0, &"a.b.c.shop.svc.cluster.local".parse().expect("a name"), 1);
    assert!(zone.searched(&query, 3).is_some() && zone.searched(&query, 2).is_none());
    let unlisted = unsynced(crate::world::options(), events(CLUSTER));
    assert_eq!(unlisted.searched(&query, 5), None);
}
