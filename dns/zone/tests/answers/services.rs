//! Services with cluster IPs, headless Services, their ports and endpoints.

use dns_zone::{ZoneOptions, ZoneVerdict};

use crate::CLUSTER;
use crate::world::{ask, check, options, zone};

#[test]
fn services_with_cluster_ips_answer() {
    check(
        &zone(options(), CLUSTER),
        &[],
        "
web.shop.svc.cluster.local A NoError
    web.shop.svc.cluster.local. 5 IN A 10.96.0.1
web.shop.svc.cluster.local AAAA NoError
    ! SOA
dual.shop.svc.cluster.local A NoError
    dual.shop.svc.cluster.local. 5 IN A 10.96.0.3
dual.shop.svc.cluster.local AAAA NoError
    dual.shop.svc.cluster.local. 5 IN AAAA fd00:96::3
six.shop.svc.cluster.local A NoError
    ! SOA
six.shop.svc.cluster.local AAAA NoError
    six.shop.svc.cluster.local. 5 IN AAAA fd00:96::6
pending.shop.svc.cluster.local A NoError
    ! SOA
pending.shop.svc.cluster.local SRV NoError
    ! SOA
_http._tcp.web.shop.svc.cluster.local A NoError
    _http._tcp.web.shop.svc.cluster.local. 5 IN A 10.96.0.1
http.tcp.web.shop.svc.cluster.local A NoError
    http.tcp.web.shop.svc.cluster.local. 5 IN A 10.96.0.1
_nope._tcp.web.shop.svc.cluster.local A NXDomain
    ! SOA
_http._udp.web.shop.svc.cluster.local A NXDomain
    ! SOA
_.web.shop.svc.cluster.local A NXDomain
    ! SOA
*.shop.svc.cluster.local A NXDomain
    ! SOA
any.shop.svc.cluster.local A NXDomain
    ! SOA
",
    );
}

#[test]
fn ports_of_services_with_cluster_ips_answer() {
    check(
        &zone(options(), CLUSTER),
        &[],
        "
_http._tcp.web.shop.svc.cluster.local SRV NoError
    _http._tcp.web.shop.svc.cluster.local. 5 IN SRV 0 100 80 web.shop.svc.cluster.local.
    + web.shop.svc.cluster.local. 5 IN A 10.96.0.1
web.shop.svc.cluster.local SRV NoError
    web.shop.svc.cluster.local. 5 IN SRV 0 50 80 web.shop.svc.cluster.local.
    web.shop.svc.cluster.local. 5 IN SRV 0 50 443 web.shop.svc.cluster.local.
    + web.shop.svc.cluster.local. 5 IN A 10.96.0.1
unnamed.shop.svc.cluster.local SRV NoError
    unnamed.shop.svc.cluster.local. 5 IN SRV 0 100 8080 unnamed.shop.svc.cluster.local.
    + unnamed.shop.svc.cluster.local. 5 IN A 10.96.0.2
_http._tcp.dual.shop.svc.cluster.local SRV NoError
    _http._tcp.dual.shop.svc.cluster.local. 5 IN SRV 0 50 80 dual.shop.svc.cluster.local.
    + dual.shop.svc.cluster.local. 5 IN A 10.96.0.3
    + dual.shop.svc.cluster.local. 5 IN AAAA fd00:96::3
dns.shop.svc.cluster.local SRV NoError
    dns.shop.svc.cluster.local. 5 IN SRV 0 50 53 dns.shop.svc.cluster.local.
    + dns.shop.svc.cluster.local. 5 IN A 10.96.0.10
_dns._udp.dns.shop.svc.cluster.local SRV NoError
    _dns._udp.dns.shop.svc.cluster.local. 5 IN SRV 0 100 53 dns.shop.svc.cluster.local.
    + dns.shop.svc.cluster.local. 5 IN A 10.96.0.10
_dns._tcp.dns.shop.svc.cluster.local SRV NXDomain
    ! SOA
portless.shop.svc.cluster.local A NoError
    portless.shop.svc.cluster.local. 5 IN A 10.96.0.11
portless.shop.svc.cluster.local SRV NoError
    ! SOA
_http._tcp.portless.shop.svc.cluster.local SRV NXDomain
    ! SOA
_._tcp.web.shop.svc.cluster.local SRV NoError
    _._tcp.web.shop.svc.cluster.local. 5 IN SRV 0 50 80 web.shop.svc.cluster.local.
    _._tcp.web.shop.svc.cluster.local. 5 IN SRV 0 50 443 web.shop.svc.cluster.local.
    + web.shop.svc.cluster.local. 5 IN A 10.96.0.1
",
    );
}

#[test]
fn headless_services_answer_with_their_ready_endpoints() {
    check(
        &zone(options(), CLUSTER),
        &[],
        "
heads.shop.svc.cluster.local A NoError
    heads.shop.svc.cluster.local. 5 IN A 172.0.0.2
    heads.shop.svc.cluster.local. 5 IN A 172.0.0.3
    heads.shop.svc.cluster.local. 5 IN A 172.0.0.4
    heads.shop.svc.cluster.local. 5 IN A 172.0.0.5
heads.shop.svc.cluster.local AAAA NoError
    heads.shop.svc.cluster.local. 5 IN AAAA 5678:abcd::1
    heads.shop.svc.cluster.local. 5 IN AAAA 2001:db8::
bare.shop.svc.cluster.local A NoError
    bare.shop.svc.cluster.local. 5 IN A 172.0.0.20
bare.shop.svc.cluster.local AAAA NoError
    ! SOA
shared.shop.svc.cluster.local A NoError
    shared.shop.svc.cluster.local. 5 IN A 172.0.0.2
_http._tcp.heads.shop.svc.cluster.local A NoError
    _http._tcp.heads.shop.svc.cluster.local. 5 IN A 172.0.0.2
    _http._tcp.heads.shop.svc.cluster.local. 5 IN A 172.0.0.3
    _http._tcp.heads.shop.svc.cluster.local. 5 IN A 172.0.0.4
    _http._tcp.heads.shop.svc.cluster.local. 5 IN A 172.0.0.5
_nope._tcp.heads.shop.svc.cluster.local A NXDomain
    ! SOA
_http._tcp.bare.shop.svc.cluster.local A NXDomain
    ! SOA
waiting.shop.svc.cluster.local A NXDomain
    ! SOA
waiting.shop.svc.cluster.local SRV NXDomain
    ! SOA
nothing.shop.svc.cluster.local TXT NXDomain
    ! SOA
orphan.shop.svc.cluster.local A NXDomain
    ! SOA
172-0-0-99.orphan.shop.svc.cluster.local A NXDomain
    ! SOA
",
    );
}

#[test]
fn endpoints_have_names() {
    check(
        &zone(options(), CLUSTER),
        &[],
        "
172-0-0-2.heads.shop.svc.cluster.local A NoError
    172-0-0-2.heads.shop.svc.cluster.local. 5 IN A 172.0.0.2
172-0-0-2.heads.shop.svc.cluster.local AAAA NoError
    ! SOA
5678-abcd--1.heads.shop.svc.cluster.local AAAA NoError
    5678-abcd--1.heads.shop.svc.cluster.local. 5 IN AAAA 5678:abcd::1
5678-ABCD--1.heads.shop.svc.cluster.local AAAA NoError
    5678-ABCD--1.heads.shop.svc.cluster.local. 5 IN AAAA 5678:abcd::1
2001-db8--0.heads.shop.svc.cluster.local AAAA NoError
    2001-db8--0.heads.shop.svc.cluster.local. 5 IN AAAA 2001:db8::
2001-db8--.heads.shop.svc.cluster.local AAAA NXDomain
    ! SOA
dup-name.heads.shop.svc.cluster.local A NoError
    dup-name.heads.shop.svc.cluster.local. 5 IN A 172.0.0.4
    dup-name.heads.shop.svc.cluster.local. 5 IN A 172.0.0.5
172-0-0-4.heads.shop.svc.cluster.local A NXDomain
    ! SOA
172-0-0-66.heads.shop.svc.cluster.local A NXDomain
    ! SOA
bogus.heads.shop.svc.cluster.local A NXDomain
    ! SOA
172-0-0-20.bare.shop.svc.cluster.local A NoError
    172-0-0-20.bare.shop.svc.cluster.local. 5 IN A 172.0.0.20
10-244-0-1.web.shop.svc.cluster.local A NoError
    10-244-0-1.web.shop.svc.cluster.local. 5 IN A 10.244.0.1
named.web.shop.svc.cluster.local A NoError
    named.web.shop.svc.cluster.local. 5 IN A 10.244.0.9
10-244-0-9.web.shop.svc.cluster.local A NXDomain
    ! SOA
10-244-0-66.web.shop.svc.cluster.local A NXDomain
    ! SOA
state-0.state.shop.svc.cluster.local A NoError
    state-0.state.shop.svc.cluster.local. 5 IN A 10.244.1.1
state-0.state.shop.svc.cluster.local AAAA NoError
    state-0.state.shop.svc.cluster.local. 5 IN AAAA fd00:244::1
named.web.shop.svc.cluster.local SRV NoError
    named.web.shop.svc.cluster.local. 5 IN SRV 0 100 8080 named.web.shop.svc.cluster.local.
    + named.web.shop.svc.cluster.local. 5 IN A 10.244.0.9
a.b.c.web.shop.svc.cluster.local A NXDomain
    ! SOA
",
    );
}

#[test]
fn ports_of_headless_services_answer_with_endpoints() {
    check(
        &zone(options(), CLUSTER),
        &[],
        "
_http._tcp.heads.shop.svc.cluster.local SRV NoError
    _http._tcp.heads.shop.svc.cluster.local. 5 IN SRV 0 16 80 172-0-0-2.heads.shop.svc.cluster.local.
    _http._tcp.heads.shop.svc.cluster.local. 5 IN SRV 0 16 80 172-0-0-3.heads.shop.svc.cluster.local.
    _http._tcp.heads.shop.svc.cluster.local. 5 IN SRV 0 16 80 5678-abcd--1.heads.shop.svc.cluster.local.
    _http._tcp.heads.shop.svc.cluster.local. 5 IN SRV 0 16 80 2001-db8--0.heads.shop.svc.cluster.local.
    _http._tcp.heads.shop.svc.cluster.local. 5 IN SRV 0 16 80 dup-name.heads.shop.svc.cluster.local.
    + 172-0-0-2.heads.shop.svc.cluster.local. 5 IN A 172.0.0.2
    + 172-0-0-3.heads.shop.svc.cluster.local. 5 IN A 172.0.0.3
    + 5678-abcd--1.heads.shop.svc.cluster.local. 5 IN AAAA 5678:abcd::1
    + 2001-db8--0.heads.shop.svc.cluster.local. 5 IN AAAA 2001:db8::
    + dup-name.heads.shop.svc.cluster.local. 5 IN A 172.0.0.4
    + dup-name.heads.shop.svc.cluster.local. 5 IN A 172.0.0.5
_peer._tcp.state.shop.svc.cluster.local SRV NoError
    _peer._tcp.state.shop.svc.cluster.local. 5 IN SRV 0 25 7000 state-0.state.shop.svc.cluster.local.
    _peer._tcp.state.shop.svc.cluster.local. 5 IN SRV 0 25 7000 state-1.state.shop.svc.cluster.local.
    + state-0.state.shop.svc.cluster.local. 5 IN A 10.244.1.1
    + state-1.state.shop.svc.cluster.local. 5 IN A 10.244.1.2
    + state-0.state.shop.svc.cluster.local. 5 IN AAAA fd00:244::1
    + state-1.state.shop.svc.cluster.local. 5 IN AAAA fd00:244::2
state.shop.svc.cluster.local SRV NoError
    state.shop.svc.cluster.local. 5 IN SRV 0 12 7000 state-0.state.shop.svc.cluster.local.
    state.shop.svc.cluster.local. 5 IN SRV 0 12 7001 state-0.state.shop.svc.cluster.local.
    state.shop.svc.cluster.local. 5 IN SRV 0 12 7000 state-1.state.shop.svc.cluster.local.
    state.shop.svc.cluster.local. 5 IN SRV 0 12 7001 state-1.state.shop.svc.cluster.local.
    + state-0.state.shop.svc.cluster.local. 5 IN A 10.244.1.1
    + state-1.state.shop.svc.cluster.local. 5 IN A 10.244.1.2
    + state-0.state.shop.svc.cluster.local. 5 IN AAAA fd00:244::1
    + state-1.state.shop.svc.cluster.local. 5 IN AAAA fd00:244::2
shared.shop.svc.cluster.local SRV NoError
    shared.shop.svc.cluster.local. 5 IN SRV 0 50 80 172-0-0-2.shared.shop.svc.cluster.local.
    + 172-0-0-2.shared.shop.svc.cluster.local. 5 IN A 172.0.0.2
split.shop.svc.cluster.local SRV NoError
    split.shop.svc.cluster.local. 5 IN SRV 0 50 80 172-0-1-1.split.shop.svc.cluster.local.
    split.shop.svc.cluster.local. 5 IN SRV 0 50 81 172-0-1-1.split.shop.svc.cluster.local.
    + 172-0-1-1.split.shop.svc.cluster.local. 5 IN A 172.0.1.1
bare.shop.svc.cluster.local SRV NoError
    ! SOA
_peer._udp.state.shop.svc.cluster.local SRV NXDomain
    ! SOA
",
    );
}

#[test]
fn names_that_would_be_too_long_are_left_out() {
    let label = "z".repeat(60);
    let origin = [label.as_str(); 3].join(".");
    let options = ZoneOptions::new(vec![origin.parse().unwrap(), "in-addr.arpa".parse().unwrap()]);
    let long = "s".repeat(60);
    let cluster = format!(
        "
        namespace n
        service n/short 10.96.0.1 http/tcp/80
        service n/{long} None
        slice n/{long}-1 {long} http/tcp/80 : 10.0.0.1
    "
    );
    let zone = zone(options, &cluster);
    let (_, lines) = ask(&zone, &[], &format!("{long}.n.svc.{origin}"), "A");
    assert_eq!(lines.len(), 2, "the service name fits: {lines:?}");
    let (_, lines) = ask(&zone, &[], &format!("{long}.n.svc.{origin}"), "SRV");
    assert!(lines.len() == 2 && lines[1].starts_with("! "), "the name of the endpoint does not: {lines:?}");
    let (verdict, _) = ask(&zone, &[], "1.0.0.10.in-addr.arpa", "PTR");
    assert_eq!(verdict, ZoneVerdict::NameError);
}

#[test]
fn large_services_answer_as_small_ones_do() {
    for count in [1, 30, 31, 32, 33, 300] {
        let endpoints = |family: fn(u32) -> String| {
            (0..count).map(move |i| {
                format!("{}{}", family(i), if i % 3 == 0 { format!("=web-{i}") } else { String::new() })
            })
        };
        let v4 = |i: u32| format!("10.1.{}.{}", i / 250, i % 250);
        let v6 = |i: u32| format!("fd00::{:x}", i + 1);
        let join = |words: Vec<String>| words.join(" ");
        let (four, six) = (join(endpoints(v4).collect()), join(endpoints(v6).collect()));
        let zone = zone(
            options(),
            &format!(
                "namespace n
                service n/web None
                slice n/web-4 web http/tcp/80 : {four} 10.9.9.9=10-1-0-1
                slice n/web-5 web admin/tcp/81 : {four}
                slice n/web-6 web http/tcp/80 : {six}"
            ),
        );
        for (port, addresses) in [("_http._tcp", count + 1), ("_admin._tcp", count), ("_._tcp", count + 1)] {
            let (_, lines) = ask(&zone, &[], &format!("{port}.web.n.svc.cluster.local"), "A");
            let each: std::collections::BTreeSet<_> = lines[1..].iter().collect();
            assert_eq!([lines.len() - 1, each.len()], [addresses as usize; 2], "{port} of {count}");
        }
        for i in 0..count {
            let name = if i % 3 == 0 { format!("web-{i}") } else { v4(i).replace('.', "-") };
            let full = format!("{name}.web.n.svc.cluster.local");
            let (_, lines) = ask(&zone, &[], &full, "A");
            assert!(lines.contains(&format!("{full}. 5 IN A {}", v4(i))), "{i} of {count}: {lines:?}");
            let twin = i == 1;
            assert_eq!(lines.len(), if twin { 3 } else { 2 }, "{i} of {count}: {lines:?}");
            let mut octets: Vec<String> = v4(i).split('.').map(str::to_owned).collect();
            octets.reverse();
            let reverse = format!("{}.in-addr.arpa", octets.join("."));
            let (_, lines) = ask(&zone, &[], &reverse, "PTR");
            assert_eq!(lines[1..], [format!("{reverse}. 5 IN PTR {full}.")], "{i} of {count}");
            if i % 3 == 0 {
                let (_, lines) = ask(&zone, &[], &full, "AAAA");
                assert_eq!(lines[1..], [format!("{full}. 5 IN AAAA {}", v6(i))], "{i} of {count}");
            }
        }
        let (verdict, _) = ask(&zone, &[], "10-1-0-0.web.n.svc.cluster.local", "A");
        assert_eq!(verdict, ZoneVerdict::NameError, "it has a better name");
    }
}
