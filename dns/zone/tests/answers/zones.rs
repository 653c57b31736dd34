//! Zones: the apex, names without records, names of other zones, and zones that are not complete yet.

use cluster::{Event, Kind};
use dns_zone::{PodMode, ZoneOptions, ZoneVerdict};

use crate::CLUSTER;
use crate::world::{ask, check, events, options, unsynced, zone};

#[test]
fn empty_non_terminals_exist() {
    check(
        &zone(options(), CLUSTER),
        &[],
        "
cluster.local A NoError
    ! SOA
cluster.local SRV NoError
    ! SOA
cluster.local TXT NoError
    ! SOA
svc.cluster.local A NoError
    ! SOA
pod.cluster.local A NoError
    ! SOA
shop.svc.cluster.local A NoError
    ! SOA
shop.svc.cluster.local NS NoError
    ! SOA
shop.pod.cluster.local A NXDomain
    ! SOA
nope.svc.cluster.local A NXDomain
    ! SOA
nope.svc.cluster.local NS NXDomain
    ! SOA
hidden.svc.cluster.local A NXDomain
    ! SOA
web.hidden.svc.cluster.local A NXDomain
    ! SOA
foo.cluster.local NS NXDomain
    ! SOA
shop.foo.cluster.local A NXDomain
    ! SOA
web.shop.svc.cluster.local TXT NoError
    ! SOA
web.shop.svc.cluster.local MX NoError
    ! SOA
web.shop.svc.cluster.local CNAME NoError
    ! SOA
web.shop.svc.cluster.local HTTPS NoError
    ! SOA
web.shop.svc.cluster.local ANY NoError
    ! SOA
nope.shop.svc.cluster.local TXT NXDomain
    ! SOA
nope.shop.svc.cluster.local ANY NXDomain
    ! SOA
nope.shop.svc.cluster.local TYPE65280 NXDomain
    ! SOA
web.shop.svc.cluster.local SOA NoError
    ! SOA
nope.shop.svc.cluster.local SOA NoError
    ! SOA
dns-version.cluster.local TXT NoError
    dns-version.cluster.local. 28800 IN TXT 1.1.0
dns-version.cluster.local A NXDomain
    ! SOA
a.dns-version.cluster.local TXT NXDomain
    ! SOA
",
    );
}

#[test]
fn names_outside_the_zones_and_transfers_are_not_answered() {
    let zone = zone(options(), CLUSTER);
    for (name, rtype, verdict, rcode) in [
        ("example.org", "A", ZoneVerdict::NotMine, "NoError"),
        ("mycluster.local", "A", ZoneVerdict::NotMine, "NoError"),
        (".", "A", ZoneVerdict::NotMine, "NoError"),
        ("cluster.local", "AXFR", ZoneVerdict::Refused, "Refused"),
        ("web.shop.svc.cluster.local", "TYPE251", ZoneVerdict::Refused, "Refused"),
        ("nope.shop.svc.cluster.local", "A", ZoneVerdict::NameError, "NXDomain"),
        ("web.shop.svc.cluster.local", "AAAA", ZoneVerdict::Answered, "NoError"),
    ] {
        let (got, lines) = ask(&zone, &[], name, rtype);
        assert_eq!((got, lines[0].as_str()), (verdict, rcode), "{name} {rtype}");
    }
}

#[test]
fn the_zone_repeats_the_letter_case_of_the_query() {
    check(
        &zone(options(), CLUSTER),
        &["10.244.5.1".parse().unwrap()],
        "
WEB.Shop.SVC.Cluster.Local A NoError
    WEB.Shop.SVC.Cluster.Local. 5 IN A 10.96.0.1
_HTTP._tcp.WEB.shop.svc.CLUSTER.local SRV NoError
    _HTTP._tcp.WEB.shop.svc.CLUSTER.local. 5 IN SRV 0 100 80 web.shop.svc.CLUSTER.local.
    + web.shop.svc.CLUSTER.local. 5 IN A 10.96.0.1
_http._tcp.bare2.shop.svc.Cluster.local SRV NXDomain
    ! Cluster.local. 5 IN SOA ns.dns.Cluster.local. hostmaster.Cluster.local. 1499347823 7200 1800 86400 5
Cluster.LOCAL NS NoError
    Cluster.LOCAL. 5 IN NS kube-dns.kube-system.svc.Cluster.LOCAL.
    + kube-dns.kube-system.svc.Cluster.LOCAL. 5 IN A 10.96.0.53
1.0.96.10.IN-addr.arpa PTR NoError
    1.0.96.10.IN-addr.arpa. 5 IN PTR web.shop.svc.cluster.local.
",
    );
}

#[test]
fn the_apex_has_name_servers() {
    let own =
        |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<std::net::IpAddr>>();
    let found = zone(options(), CLUSTER);
    check(
        &found,
        &own(&["127.0.0.1", "10.244.5.1", "10.244.5.2"]),
        "
cluster.local SOA NoError
    cluster.local. 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1499347823 7200 1800 86400 5
cluster.local NS NoError
    cluster.local. 5 IN NS kube-dns.kube-system.svc.cluster.local.
    + kube-dns.kube-system.svc.cluster.local. 5 IN A 10.96.0.53
ns.dns.cluster.local A NoError
    ns.dns.cluster.local. 5 IN A 10.96.0.53
ns.dns.cluster.local AAAA NoError
    ! SOA
ns.dns.cluster.local SRV NoError
    ! SOA
dns.cluster.local A NXDomain
    ! SOA
x.ns.dns.cluster.local A NXDomain
    ! SOA
",
    );
    check(
        &found,
        &own(&["192.0.2.1", "2001:db8::53", "::1"]),
        "
cluster.local NS NoError
    cluster.local. 5 IN NS ns.dns.cluster.local.
    + ns.dns.cluster.local. 5 IN A 192.0.2.1
    + ns.dns.cluster.local. 5 IN AAAA 2001:db8::53
ns.dns.cluster.local A NoError
    ns.dns.cluster.local. 5 IN A 192.0.2.1
ns.dns.cluster.local AAAA NoError
    ns.dns.cluster.local. 5 IN AAAA 2001:db8::53
",
    );
    check(
        &found,
        &own(&["172.0.0.3"]),
        "
cluster.local NS NoError
    cluster.local. 5 IN NS 172-0-0-2.heads.shop.svc.cluster.local.
    cluster.local. 5 IN NS 172-0-0-3.heads.shop.svc.cluster.local.
    + 172-0-0-2.heads.shop.svc.cluster.local. 5 IN A 172.0.0.2
    + 172-0-0-3.heads.shop.svc.cluster.local. 5 IN A 172.0.0.3
",
    );
    check(
        &found,
        &[],
        "
cluster.local NS NoError
    ! SOA
ns.dns.cluster.local A NoError
    ! SOA
",
    );
}

#[test]
fn before_the_lists_are_complete_no_name_is_denied() {
    let lists = |kinds: &[Kind]| kinds.iter().copied().map(Event::Synced).collect::<Vec<_>>();
    let verified = ZoneOptions { pods: PodMode::Verified, ..options() };
    let without_endpoints = ZoneOptions { endpoints: false, ..options() };
    use Kind::{EndpointSlice, Namespace, Pod, Service};
    for (what, options, complete, verdict) in [
        ("nothing", options(), &[][..], ZoneVerdict::NotSynced),
        ("no namespaces", options(), &[Service, EndpointSlice], ZoneVerdict::NotSynced),
        ("no slices", options(), &[Service, Namespace], ZoneVerdict::NotSynced),
        ("all", options(), &[Service, EndpointSlice, Namespace], ZoneVerdict::NameError),
        ("no pods", verified.clone(), &[Service, EndpointSlice, Namespace], ZoneVerdict::NotSynced),
        ("pods, too", verified, &[Service, EndpointSlice, Namespace, Pod], ZoneVerdict::NameError),
        ("no slices needed", without_endpoints, &[Service, Namespace], ZoneVerdict::NameError),
    ] {
        let zone = unsynced(options, events(CLUSTER).into_iter().chain(lists(complete)));
        assert_eq!(zone.synced(), verdict == ZoneVerdict::NameError, "{what}");
        let (got, lines) = ask(&zone, &[], "nope.shop.svc.cluster.local", "A");
        let rcode = if verdict == ZoneVerdict::NameError { "NXDomain" } else { "ServFail" };
        assert_eq!((got, lines[0].as_str(), lines.len()), (verdict, rcode, 2), "{what}: with the SOA");
        let (got, _) = ask(&zone, &[], "9.9.9.9.in-addr.arpa", "PTR");
        assert_eq!(got, verdict, "{what}: PTR");
        let (got, lines) = ask(&zone, &[], "web.shop.svc.cluster.local", "A");
        assert_eq!((got, lines.len()), (ZoneVerdict::Answered, 2), "{what}: what is known is answered");
        let (got, _) = ask(&zone, &[], "web.shop.svc.cluster.local", "AAAA");
        assert_eq!(got, ZoneVerdict::Answered, "{what}: NODATA is not a name error");
    }
}

#[test]
fn the_longest_zone_answers() {
    let zones = ["cluster.local", "shop.svc.cluster.local", "96.10.in-addr.arpa"];
    let options = ZoneOptions::new(zones.iter().map(|zone| zone.parse().unwrap()).collect());
    check(&zone(options, CLUSTER), &[], "
web.shop.svc.cluster.local A NXDomain
    ! shop.svc.cluster.local. 5 IN SOA ns.dns.shop.svc.cluster.local. hostmaster.shop.svc.cluster.local. 1499347823 7200 1800 86400 5
web.shop.svc.shop.svc.cluster.local A NoError
    web.shop.svc.shop.svc.cluster.local. 5 IN A 10.96.0.1
kube-dns.kube-system.svc.cluster.local A NoError
    kube-dns.kube-system.svc.cluster.local. 5 IN A 10.96.0.53
1.0.96.10.in-addr.arpa PTR NoError
    1.0.96.10.in-addr.arpa. 5 IN PTR web.shop.svc.cluster.local.
");
    let root = ZoneOptions::new(vec![dns_wire::Name::ROOT]);
    check(
        &zone(root, CLUSTER),
        &[],
        "
web.shop.svc A NoError
    web.shop.svc. 5 IN A 10.96.0.1
_http._tcp.web.shop.svc SRV NoError
    _http._tcp.web.shop.svc. 5 IN SRV 0 100 80 web.shop.svc.
    + web.shop.svc. 5 IN A 10.96.0.1
example.org A NXDomain
    ! . 5 IN SOA ns.dns. hostmaster. 1499347823 7200 1800 86400 5
. SOA NoError
    . 5 IN SOA ns.dns. hostmaster. 1499347823 7200 1800 86400 5
1.0.96.10.in-addr.arpa PTR NoError
    1.0.96.10.in-addr.arpa. 5 IN PTR web.shop.svc.
",
    );
}
