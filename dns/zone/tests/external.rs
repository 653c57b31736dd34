//! Names of Services outside of the cluster, as tables in zone file syntax: what CoreDNS's `k8s_external` answers.

#[allow(dead_code)]
mod world;

use cluster::{Event, Kind};
use dns_wire::{Name, Query, Reply};
use dns_zone::{ExternalZones, Zone, ZoneOptions, ZoneVerdict};
use world::{ask_with, check_with, events, options, unsynced, zone};

const CLUSTER: &str = "
    namespace shop
    namespace kube-system
    service shop/web 10.96.0.1 http/tcp/80 https/tcp/443 >192.0.2.1 >2001:db8::1
    service shop/plain 10.96.0.2 http/tcp/80
    service shop/balanced 10.96.0.3 http/tcp/80 https/tcp/443 >lb.example.net
    service shop/mixed 10.96.0.4 http/tcp/80 >192.0.2.4 >192.0.2.4 >lb.example.net >lb.example.net >not..valid
    service shop/portless 10.96.0.5 >192.0.2.5
    service shop/mapped 10.96.0.6 http/tcp/80 >::ffff:192.0.2.6
    service shop/other 10.96.0.7 http/tcp/80 >192.0.2.1
    service shop/alias -> example.org
    slice shop/plain-1 plain http/tcp/8080 : 10.244.0.1=p0

    service shop/heads None
    slice shop/heads-1 heads http/tcp/80 : 10.244.1.1=h0 10.244.1.2 !10.244.1.3
    slice shop/heads-2 heads http/tcp/80 : fd00:244::1=h0
    service shop/bare None
    slice shop/bare-1 bare : 10.244.2.1
    service shop/empty None
    service hidden/web 10.96.1.1 http/tcp/80 >192.0.2.9
    slice shop/orphan-1 orphan http/tcp/80 : 10.244.3.1=o0

    service kube-system/kube-dns 10.96.0.53 dns/udp/53 >192.0.2.53 >lb.example.net
    slice kube-system/kube-dns-1 kube-dns dns/udp/53 : 10.244.5.1 10.244.5.2
    service kube-system/dns-heads None
    slice kube-system/dns-heads-1 dns-heads dns/udp/53 : 10.244.6.1 10.244.6.2
";

const SOA: &str =
    "! example.com. 5 IN SOA ns1.dns.example.com. hostmaster.dns.example.com. 1499347823 7200 1800 86400 5";

fn external(headless: bool) -> ExternalZones {
    let zones: Vec<Name> =
        ["in-addr.arpa", "example.com"].map(|zone| zone.parse().expect("it is valid")).into();
    ExternalZones::new(&zones, &"dns".parse().expect("it is valid"), 5, headless)
}

/// Compares the answers with a table. SRV and CNAME records have the TTL of `kubernetes`, here 30.
fn check(headless: bool, own: &str, table: &str) {
    let zone = zone(ZoneOptions { ttl: 30, ..options() }, CLUSTER);
    let (external, own) =
        (external(headless), own.split_whitespace().map(|ip| ip.parse().expect("it is valid")));
    let own: Vec<_> = own.collect();
    check_with(&|query, reply| zone.answer_external(&external, query, &own, reply), SOA, table);
}

#[test]
fn a_service_has_its_external_addresses() {
    check(
        false,
        "",
        "
web.shop.example.com A NoError
    web.shop.example.com. 5 IN A 192.0.2.1
WEB.Shop.Example.com AAAA NoError
    WEB.Shop.Example.com. 5 IN AAAA 2001:db8::1
mapped.shop.example.com A NoError
    mapped.shop.example.com. 5 IN A 192.0.2.6
mapped.shop.example.com AAAA NoError
    ! SOA
portless.shop.example.com A NoError
    portless.shop.example.com. 5 IN A 192.0.2.5
any-endpoint.web.shop.example.com A NoError
    any-endpoint.web.shop.example.com. 5 IN A 192.0.2.1
_http._tcp.web.shop.example.com A NoError
    _http._tcp.web.shop.example.com. 5 IN A 192.0.2.1
web.shop.example.com TXT NoError
    ! SOA
web.shop.example.com SOA NoError
    ! SOA
web.shop.example.com PTR NoError
    ! SOA
shop.example.com A NoError
    ! SOA
hidden.example.com A NXDomain
    ! SOA
web.hidden.example.com A NXDomain
    ! SOA
plain.shop.example.com A NXDomain
    ! SOA
plain.shop.example.com PTR NXDomain
    ! SOA
alias.shop.example.com A NXDomain
    ! SOA
heads.shop.example.com A NXDomain
    ! SOA
nothing.shop.example.com AAAA NXDomain
    ! SOA
_dns._tcp.web.shop.example.com A NXDomain
    ! SOA
a._http._tcp.web.shop.example.com A NXDomain
    ! SOA
",
    );
}

#[test]
fn an_external_address_is_not_described_as_a_cluster_ip() {
    let zone = zone(options(), CLUSTER);
    let described = |name: &str| {
        let sources = zone.describe(&Query::new(0, &name.parse().unwrap(), 12));
        sources.into_iter().map(|source| source.text).collect::<Vec<_>>()
    };
    assert_eq!(described("1.2.0.192.in-addr.arpa"), ["no Service and no endpoint has the address 192.0.2.1"]);
    assert_eq!(described("1.0.96.10.in-addr.arpa"), ["10.96.0.1 is a cluster IP of Service shop/web"]);
    assert_eq!(described("1.1.244.10.in-addr.arpa"), ["10.244.1.1 is an endpoint of Service shop/heads"]);
}

#[test]
fn a_service_has_srv_records_with_the_ttl_of_kubernetes() {
    check(
        false,
        "",
        "
web.shop.example.com SRV NoError
    web.shop.example.com. 30 IN SRV 0 25 80 web.shop.example.com.
    web.shop.example.com. 30 IN SRV 0 25 443 web.shop.example.com.
    + web.shop.example.com. 5 IN A 192.0.2.1
    + web.shop.example.com. 5 IN AAAA 2001:db8::1
_https._tcp.web.shop.example.com SRV NoError
    _https._tcp.web.shop.example.com. 30 IN SRV 0 50 443 web.shop.example.com.
    + web.shop.example.com. 5 IN A 192.0.2.1
    + web.shop.example.com. 5 IN AAAA 2001:db8::1
mixed.shop.example.com SRV NoError
    mixed.shop.example.com. 30 IN SRV 0 25 80 mixed.shop.example.com.
    mixed.shop.example.com. 30 IN SRV 0 25 80 lb.example.net.
    + mixed.shop.example.com. 5 IN A 192.0.2.4
portless.shop.example.com SRV NoError
    ! SOA
",
    );
}

#[test]
fn names_of_load_balancers_are_left_to_the_caller() {
    let zone = zone(options(), CLUSTER);
    let external = external(false);
    for (name, rtype, verdict, records) in [
        ("balanced.shop.example.com", "A", ZoneVerdict::Chase, "CNAME lb.example.net."),
        ("balanced.shop.example.com", "AAAA", ZoneVerdict::Chase, "CNAME lb.example.net."),
        ("balanced.shop.example.com", "SRV", ZoneVerdict::Chase, "SRV 0 50 80 lb.example.net."),
        ("balanced.shop.example.com", "TXT", ZoneVerdict::Answered, "SOA"),
        ("balanced.shop.example.com", "AXFR", ZoneVerdict::Refused, "Refused"),
        ("web.shop.example.org", "A", ZoneVerdict::NotMine, "NoError"),
        ("none.shop.example.com", "A", ZoneVerdict::NameError, "NXDomain"),
    ] {
        let answer =
            ask_with(&|query, reply| zone.answer_external(&external, query, &[], reply), name, rtype);
        assert_eq!(answer.0, verdict, "{name} {rtype}");
        assert!(answer.1.iter().any(|line| line.contains(records)), "{name} {rtype}: {:?}", answer.1);
    }
}

#[test]
fn headless_services_are_answered_on_request() {
    check(
        true,
        "",
        "
heads.shop.example.com A NoError
    heads.shop.example.com. 5 IN A 10.244.1.1
    heads.shop.example.com. 5 IN A 10.244.1.2
h0.heads.shop.example.com AAAA NoError
    h0.heads.shop.example.com. 5 IN AAAA fd00:244::1
10-244-1-2.heads.shop.example.com A NoError
    10-244-1-2.heads.shop.example.com. 5 IN A 10.244.1.2
_http._tcp.heads.shop.example.com SRV NoError
    _http._tcp.heads.shop.example.com. 30 IN SRV 0 33 80 h0.heads.shop.example.com.
    _http._tcp.heads.shop.example.com. 30 IN SRV 0 33 80 10-244-1-2.heads.shop.example.com.
    + h0.heads.shop.example.com. 5 IN A 10.244.1.1
    + 10-244-1-2.heads.shop.example.com. 5 IN A 10.244.1.2
    + h0.heads.shop.example.com. 5 IN AAAA fd00:244::1
bare.shop.example.com A NoError
    bare.shop.example.com. 5 IN A 10.244.2.1
bare.shop.example.com SRV NoError
    ! SOA
p0.plain.shop.example.com A NoError
    p0.plain.shop.example.com. 5 IN A 10.244.0.1
plain.shop.example.com A NXDomain
    ! SOA
empty.shop.example.com A NXDomain
    ! SOA
h9.heads.shop.example.com A NXDomain
    ! SOA
o0.orphan.shop.example.com A NXDomain
    ! SOA
",
    );
}

#[test]
fn external_addresses_have_the_names_of_their_services() {
    let soa = SOA.replace("example.com", "in-addr.arpa");
    let table = "
1.2.0.192.in-addr.arpa PTR NoError
    1.2.0.192.in-addr.arpa. 5 IN PTR web.shop.example.com.
    1.2.0.192.in-addr.arpa. 5 IN PTR other.shop.example.com.
6.2.0.192.in-addr.arpa PTR NoError
    6.2.0.192.in-addr.arpa. 5 IN PTR mapped.shop.example.com.
1.0.96.10.in-addr.arpa PTR NXDomain
    ! SOA
1.0.244.10.in-addr.arpa PTR NXDomain
    ! SOA
1.2.0.192.in-addr.arpa A NXDomain
    ! SOA
";
    let (zone, external) = (zone(options(), CLUSTER), external(true));
    check_with(&|query, reply| zone.answer_external(&external, query, &[], reply), &soa, table);
    // The cluster's own zones do not know external addresses.
    let (verdict, _) = world::ask(&zone, &[], "1.2.0.192.in-addr.arpa", "PTR");
    assert_eq!(verdict, ZoneVerdict::NameError);
}

#[test]
fn the_zone_has_a_name_server() {
    let table = "
example.com SOA NoError
    example.com. 5 IN SOA ns1.dns.example.com. hostmaster.dns.example.com. 1499347823 7200 1800 86400 5
example.com NS NoError
    example.com. 5 IN NS ns1.dns.example.com.
    + ns1.dns.example.com. 5 IN A ADDRESS
example.com A NoError
    ! SOA
dns.example.com NS NoError
    ! SOA
ns1.dns.example.com A NoError
    ns1.dns.example.com. 5 IN A ADDRESS
ns1.dns.example.com AAAA NoError
    ! SOA
ns2.dns.example.com A NXDomain
    ! SOA
a.ns1.dns.example.com A NXDomain
    ! SOA
";
    check(false, "127.0.0.1 10.9.9.9", &table.replace("ADDRESS", "10.9.9.9"));
    check(false, "10.244.5.1", &table.replace("ADDRESS", "192.0.2.53"));
    check(
        true,
        "10.244.6.1",
        "
ns1.dns.example.com A NoError
    ns1.dns.example.com. 5 IN A 10.244.6.1
    ns1.dns.example.com. 5 IN A 10.244.6.2
",
    );
}

#[test]
fn unknown_names_are_no_denials_until_the_cluster_is_listed() {
    let started = events(CLUSTER).into_iter().chain([Event::Synced(Kind::Namespace)]);
    let zone = unsynced(options(), started);
    let external = external(false);
    let verdict = |zone: &Zone, name: &str| {
        let mut reply = Reply::default();
        let query = Query::new(0, &name.parse().unwrap(), 1);
        zone.answer_external(&external, &query, &[], &mut reply)
    };
    // Nothing is published before the first list is complete.
    assert_eq!(verdict(&zone, "new.shop.example.com"), ZoneVerdict::NotSynced);
}

#[test]
fn the_subdomain_of_the_name_server_may_have_several_labels() {
    let zones = ["example.com".parse().unwrap()];
    let external = ExternalZones::new(&zones, &"edge.dns".parse().unwrap(), 60, false);
    let zone = zone(options(), CLUSTER);
    let own = ["10.9.9.9".parse().unwrap()];
    check_with(
        &|query, reply| zone.answer_external(&external, query, &own, reply),
        "! example.com. 60 IN SOA ns1.edge.dns.example.com. hostmaster.edge.dns.example.com. 1499347823 7200 1800 86400 60",
        "
example.com NS NoError
    example.com. 60 IN NS ns1.edge.dns.example.com.
    + ns1.edge.dns.example.com. 60 IN A 10.9.9.9
edge.dns.example.com A NoError
    ! SOA
ns1.edge.dns.example.com A NoError
    ns1.edge.dns.example.com. 60 IN A 10.9.9.9
ns1.dns.example.com A NXDomain
    ! SOA
",
    );
}
