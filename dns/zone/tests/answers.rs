//! Queries and their answers as tables in zone file syntax: the Kubernetes DNS specification 1.1.0 and what CoreDNS's
//! `kubernetes` plugin does beyond it.

#[allow(dead_code)]
mod world;

use cluster::{Event, Kind};
use dns_wire::{Name, Query, Reply, Section};
use dns_zone::{PodMode, ZoneOptions, ZoneVerdict};
use hickory_proto::op::Message;
use proptest::prelude::*;
use world::{ask, check, events, options, unsynced, zone};

const CLUSTER: &str = "
    namespace shop stage=prod
    namespace kube-system
    service shop/web 10.96.0.1 http/tcp/80 https/tcp/443
    service shop/unnamed 10.96.0.2 /tcp/8080
    service shop/dual 10.96.0.3,fd00:96::3 http/tcp/80
    service shop/six fd00:96::6 http/tcp/80
    service shop/dns 10.96.0.10 dns/udp/53 dns-tcp/tcp/53
    service shop/portless 10.96.0.11
    service shop/pending 0 http/tcp/80
    slice shop/web-1 web http/tcp/8080 : 10.244.0.1 10.244.0.9=named !10.244.0.66

    service shop/heads None
    slice shop/heads-1 heads http/tcp/80 : 172.0.0.2 172.0.0.3 !172.0.0.66
    slice shop/heads-2 heads http/tcp/80 : 5678:abcd::1 2001:db8::
    slice shop/heads-3 heads http/tcp/80 : 172.0.0.4=dup-name 172.0.0.5=Dup-Name
    service shop/bare None
    slice shop/bare-1 bare : 172.0.0.20
    service shop/state None
    slice shop/state-4 state peer/tcp/7000 /tcp/7001 : 10.244.1.1=state-0 10.244.1.2=state-1
    slice shop/state-6 state peer/tcp/7000 /tcp/7001 : fd00:244::1=state-0 fd00:244::2=state-1
    service shop/waiting None
    slice shop/waiting-1 waiting http/tcp/80 : !172.0.0.77
    service shop/nothing None
    slice shop/orphan-1 orphan http/tcp/80 : 172.0.0.99
    service shop/shared None
    slice shop/shared-1 shared http/tcp/80 : 172.0.0.2
    slice shop/shared-2 shared http/tcp/80 : 172.0.0.2
    service shop/split None
    slice shop/split-1 split a/tcp/80 : 172.0.1.1
    slice shop/split-2 split b/tcp/81 : 172.0.1.1

    service shop/ext -> Example.org
    service shop/inside -> web.shop.svc.cluster.local
    service shop/twice -> inside.shop.svc.cluster.local
    service shop/outside -> ext.shop.svc.cluster.local
    service shop/self -> self.shop.svc.cluster.local
    service shop/below -> a.below.shop.svc.cluster.local
    service shop/ping -> pong.shop.svc.cluster.local
    service shop/pong -> ping.shop.svc.cluster.local
    service shop/lost -> gone.shop.svc.cluster.local
    service shop/address -> 10.0.0.1
    service shop/noname -> a..b
    service shop/topod -> 10-1-2-3.shop.pod.cluster.local

    service hidden/web 10.96.1.1 http/tcp/80
    slice hidden/web-1 web http/tcp/80 : 10.244.9.9

    service kube-system/kube-dns 10.96.0.53 dns/udp/53
    slice kube-system/kube-dns-1 kube-dns dns/udp/53 : 10.244.5.1 10.244.5.2
    pod shop/web-0 10.244.0.1 fd00:244::a
    pod shop/odd 2001:db8::
    pod hidden/p 10.244.9.9
";

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
fn external_names_are_aliases() {
    let zone = zone(ZoneOptions { pods: PodMode::Insecure, ..options() }, CLUSTER);
    check(
        &zone,
        &[],
        "
ext.shop.svc.cluster.local CNAME NoError
    ext.shop.svc.cluster.local. 5 IN CNAME Example.org.
ext.shop.svc.cluster.local A NoError
    ext.shop.svc.cluster.local. 5 IN CNAME Example.org.
ext.shop.svc.cluster.local AAAA NoError
    ext.shop.svc.cluster.local. 5 IN CNAME Example.org.
ext.shop.svc.cluster.local SRV NoError
    ! SOA
ext.shop.svc.cluster.local TXT NoError
    ! SOA
endpoint.ext.shop.svc.cluster.local CNAME NXDomain
    ! SOA
_http._tcp.ext.shop.svc.cluster.local SRV NXDomain
    ! SOA
inside.shop.svc.cluster.local A NoError
    inside.shop.svc.cluster.local. 5 IN CNAME web.shop.svc.cluster.local.
    web.shop.svc.cluster.local. 5 IN A 10.96.0.1
inside.shop.svc.cluster.local AAAA NoError
    ! SOA
twice.shop.svc.cluster.local A NoError
    twice.shop.svc.cluster.local. 5 IN CNAME inside.shop.svc.cluster.local.
    inside.shop.svc.cluster.local. 5 IN CNAME web.shop.svc.cluster.local.
    web.shop.svc.cluster.local. 5 IN A 10.96.0.1
outside.shop.svc.cluster.local A NoError
    outside.shop.svc.cluster.local. 5 IN CNAME ext.shop.svc.cluster.local.
    ext.shop.svc.cluster.local. 5 IN CNAME Example.org.
topod.shop.svc.cluster.local A NoError
    topod.shop.svc.cluster.local. 5 IN CNAME 10-1-2-3.shop.pod.cluster.local.
    10-1-2-3.shop.pod.cluster.local. 5 IN A 10.1.2.3
self.shop.svc.cluster.local A NoError
    ! SOA
self.shop.svc.cluster.local CNAME NoError
    self.shop.svc.cluster.local. 5 IN CNAME self.shop.svc.cluster.local.
below.shop.svc.cluster.local A NoError
    ! SOA
ping.shop.svc.cluster.local A NoError
    ! SOA
lost.shop.svc.cluster.local A NoError
    ! SOA
address.shop.svc.cluster.local A NXDomain
    ! SOA
noname.shop.svc.cluster.local CNAME NXDomain
    ! SOA
",
    );
    for (name, rtype, verdict) in [
        ("ext.shop.svc.cluster.local", "A", ZoneVerdict::Chase),
        ("ext.shop.svc.cluster.local", "AAAA", ZoneVerdict::Chase),
        ("ext.shop.svc.cluster.local", "CNAME", ZoneVerdict::Answered),
        ("ext.shop.svc.cluster.local", "HTTPS", ZoneVerdict::Answered),
        ("outside.shop.svc.cluster.local", "A", ZoneVerdict::Chase),
        ("inside.shop.svc.cluster.local", "A", ZoneVerdict::Answered),
        ("ping.shop.svc.cluster.local", "A", ZoneVerdict::Answered),
    ] {
        assert_eq!(ask(&zone, &[], name, rtype).0, verdict, "{name} {rtype}");
    }
}

#[test]
fn endpoints_that_are_names_are_aliases() {
    let cluster = "
        namespace shop
        service shop/db None
        names shop/db-1 db sql/tcp/5432 : Example.org example.net=Second
        service shop/mixed None
        names shop/mixed-1 mixed sql/tcp/5432 : example.org
        slice shop/mixed-2 mixed sql/tcp/5432 : 10.244.0.1
        service shop/inner None
        names shop/inner-1 inner : mixed.shop.svc.cluster.local
        service shop/web 10.96.0.1 http/tcp/80
        names shop/web-1 web http/tcp/80 : example.org
        names shop/lone-1 lone http/tcp/80 : example.org
        namespace set
        import set/db None
        names set/db-1 [db@east] sql/tcp/5432 : example.org=a
    ";
    let zone = zone(options(), cluster);
    check(
        &zone,
        &[],
        "
db.shop.svc.cluster.local A NoError
    db.shop.svc.cluster.local. 5 IN CNAME Example.org.
db.shop.svc.cluster.local CNAME NoError
    db.shop.svc.cluster.local. 5 IN CNAME Example.org.
db.shop.svc.cluster.local SRV NoError
    ! SOA
db.shop.svc.cluster.local TXT NoError
    ! SOA
_sql._tcp.db.shop.svc.cluster.local CNAME NoError
    _sql._tcp.db.shop.svc.cluster.local. 5 IN CNAME Example.org.
_http._tcp.db.shop.svc.cluster.local CNAME NXDomain
    ! SOA
example-org.db.shop.svc.cluster.local CNAME NoError
    example-org.db.shop.svc.cluster.local. 5 IN CNAME Example.org.
second.db.shop.svc.cluster.local AAAA NoError
    second.db.shop.svc.cluster.local. 5 IN CNAME example.net.
example-net.db.shop.svc.cluster.local A NXDomain
    ! SOA
mixed.shop.svc.cluster.local A NoError
    mixed.shop.svc.cluster.local. 5 IN A 10.244.0.1
example-org.mixed.shop.svc.cluster.local CNAME NoError
    example-org.mixed.shop.svc.cluster.local. 5 IN CNAME example.org.
inner.shop.svc.cluster.local A NoError
    inner.shop.svc.cluster.local. 5 IN CNAME mixed.shop.svc.cluster.local.
    mixed.shop.svc.cluster.local. 5 IN A 10.244.0.1
web.shop.svc.cluster.local A NoError
    web.shop.svc.cluster.local. 5 IN A 10.96.0.1
example-org.web.shop.svc.cluster.local CNAME NoError
    example-org.web.shop.svc.cluster.local. 5 IN CNAME example.org.
lone.shop.svc.cluster.local A NXDomain
    ! SOA
",
    );
    assert_eq!(ask(&zone, &[], "db.shop.svc.cluster.local", "A").0, ZoneVerdict::Chase);
    let ignoring = ZoneOptions { ignore_empty_service: true, ..options() };
    assert_eq!(
        ask(&self::zone(ignoring, cluster), &[], "web.shop.svc.cluster.local", "A").0,
        ZoneVerdict::Answered
    );
}

#[test]
fn chains_of_external_names_end() {
    let chain = |links: usize| {
        let mut text = "namespace n\nservice n/web 10.96.0.1 http/tcp/80\n".to_owned();
        for i in 1..=links {
            let next = if i == links { "web".to_owned() } else { format!("s{}", i + 1) };
            text += &format!("service n/s{i} -> {next}.n.svc.cluster.local\n");
        }
        ask(&zone(options(), &text), &[], "s1.n.svc.cluster.local", "A").1.len()
    };
    assert_eq!(chain(1), 1 + 1 + 1);
    assert_eq!(chain(11), 1 + 11 + 1, "CoreDNS follows ten more after the first");
    assert_eq!(chain(12), 1 + 1, "NODATA");
}

#[test]
fn reverse_queries_answer_with_service_and_endpoint_names() {
    check(&zone(options(), CLUSTER), &[], "
1.0.96.10.in-addr.arpa PTR NoError
    1.0.96.10.in-addr.arpa. 5 IN PTR web.shop.svc.cluster.local.
3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa PTR NoError
    3.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa. 5 IN PTR dual.shop.svc.cluster.local.
1.0.244.10.in-addr.arpa PTR NoError
    1.0.244.10.in-addr.arpa. 5 IN PTR 10-244-0-1.web.shop.svc.cluster.local.
1.1.244.10.in-addr.arpa PTR NoError
    1.1.244.10.in-addr.arpa. 5 IN PTR state-0.state.shop.svc.cluster.local.
99.0.0.172.in-addr.arpa PTR NoError
    99.0.0.172.in-addr.arpa. 5 IN PTR 172-0-0-99.orphan.shop.svc.cluster.local.
9.9.244.10.in-addr.arpa PTR NoError
    9.9.244.10.in-addr.arpa. 5 IN PTR 10-244-9-9.web.hidden.svc.cluster.local.
66.0.0.172.in-addr.arpa PTR NXDomain
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
0.96.10.in-addr.arpa PTR NXDomain
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
1.0.96.10.in-addr.arpa A NXDomain
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
1.0.96.10.in-addr.arpa SOA NoError
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
in-addr.arpa PTR NoError
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
in-addr.arpa SOA NoError
    in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
web.shop.svc.cluster.local PTR NoError
    ! SOA
nope.shop.svc.cluster.local PTR NXDomain
    ! SOA
");
    let (_, mut lines) = ask(&zone(options(), CLUSTER), &[], "2.0.0.172.in-addr.arpa", "PTR");
    lines.sort();
    assert_eq!(
        lines,
        [
            "2.0.0.172.in-addr.arpa. 5 IN PTR 172-0-0-2.heads.shop.svc.cluster.local.",
            "2.0.0.172.in-addr.arpa. 5 IN PTR 172-0-0-2.shared.shop.svc.cluster.local.",
            "NoError",
        ],
        "two Services share the address, one of them in two slices"
    );
}

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
fn pods_are_disabled_insecure_or_verified() {
    check(
        &zone(options(), CLUSTER),
        &[],
        "
pod.cluster.local A NoError
    ! SOA
shop.pod.cluster.local A NXDomain
    ! SOA
10-244-0-1.shop.pod.cluster.local A NXDomain
    ! SOA
",
    );
    check(
        &zone(ZoneOptions { pods: PodMode::Insecure, ..options() }, CLUSTER),
        &[],
        "
pod.cluster.local A NoError
    ! SOA
shop.pod.cluster.local A NoError
    ! SOA
nope.pod.cluster.local A NXDomain
    ! SOA
10-1-2-3.shop.pod.cluster.local A NoError
    10-1-2-3.shop.pod.cluster.local. 5 IN A 10.1.2.3
10-1-2-3.shop.pod.cluster.local AAAA NoError
    ! SOA
x.10-1-2-3.shop.pod.cluster.local A NoError
    x.10-1-2-3.shop.pod.cluster.local. 5 IN A 10.1.2.3
x.y.10-1-2-3.shop.pod.cluster.local A NoError
    x.y.10-1-2-3.shop.pod.cluster.local. 5 IN A 10.1.2.3
x.y.z.10-1-2-3.shop.pod.cluster.local A NXDomain
    ! SOA
10-1-2-3.shop.pod.cluster.local SRV NoError
    10-1-2-3.shop.pod.cluster.local. 5 IN SRV 0 100 0 10-1-2-3.shop.pod.cluster.local.
    + 10-1-2-3.shop.pod.cluster.local. 5 IN A 10.1.2.3
5678-abcd--1.shop.pod.cluster.local AAAA NoError
    5678-abcd--1.shop.pod.cluster.local. 5 IN AAAA 5678:abcd::1
10-1-2-3.nope.pod.cluster.local A NXDomain
    ! SOA
10-1-2.shop.pod.cluster.local A NXDomain
    ! SOA
10-1-2-300.shop.pod.cluster.local A NXDomain
    ! SOA
blah.shop.pod.cluster.local A NXDomain
    ! SOA
",
    );
    check(
        &zone(ZoneOptions { pods: PodMode::Verified, ..options() }, CLUSTER),
        &[],
        "
shop.pod.cluster.local A NoError
    ! SOA
10-244-0-1.shop.pod.cluster.local A NoError
    10-244-0-1.shop.pod.cluster.local. 5 IN A 10.244.0.1
fd00-244--a.shop.pod.cluster.local AAAA NoError
    fd00-244--a.shop.pod.cluster.local. 5 IN AAAA fd00:244::a
fd00-244-0--a.shop.pod.cluster.local AAAA NXDomain
    ! SOA
2001-db8--.shop.pod.cluster.local AAAA NoError
    2001-db8--.shop.pod.cluster.local. 5 IN AAAA 2001:db8::
2001-db8--0.shop.pod.cluster.local AAAA NXDomain
    ! SOA
10-244-0-2.shop.pod.cluster.local A NXDomain
    ! SOA
10-244-0-1.kube-system.pod.cluster.local A NXDomain
    ! SOA
10-244-9-9.hidden.pod.cluster.local A NXDomain
    ! SOA
",
    );
}

#[test]
fn endpoint_pod_names_names_endpoints_after_their_pods() {
    let cluster = format!(
        "
        namespace n
        service n/web None
        slice n/web-1 web http/tcp/80 : 10.0.0.1~web-a 10.0.0.2=host~web-b 10.0.0.3 10.0.0.4~{}
    ",
        "x".repeat(64)
    );
    check(
        &zone(ZoneOptions { endpoint_pod_names: true, ..options() }, &cluster),
        &[],
        "
web-a.web.n.svc.cluster.local A NoError
    web-a.web.n.svc.cluster.local. 5 IN A 10.0.0.1
10-0-0-1.web.n.svc.cluster.local A NXDomain
    ! SOA
host.web.n.svc.cluster.local A NoError
    host.web.n.svc.cluster.local. 5 IN A 10.0.0.2
web-b.web.n.svc.cluster.local A NXDomain
    ! SOA
10-0-0-3.web.n.svc.cluster.local A NoError
    10-0-0-3.web.n.svc.cluster.local. 5 IN A 10.0.0.3
10-0-0-4.web.n.svc.cluster.local A NoError
    10-0-0-4.web.n.svc.cluster.local. 5 IN A 10.0.0.4
1.0.0.10.in-addr.arpa PTR NoError
    1.0.0.10.in-addr.arpa. 5 IN PTR web-a.web.n.svc.cluster.local.
",
    );
}

#[test]
fn namespace_options_hide_namespaces() {
    let named = ZoneOptions { namespaces: vec!["shop".into()], ..options() };
    check(
        &zone(named, CLUSTER),
        &[],
        "
web.shop.svc.cluster.local A NoError
    web.shop.svc.cluster.local. 5 IN A 10.96.0.1
kube-dns.kube-system.svc.cluster.local A NXDomain
    ! SOA
kube-system.svc.cluster.local A NXDomain
    ! SOA
53.0.96.10.in-addr.arpa PTR NXDomain
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
1.5.244.10.in-addr.arpa PTR NXDomain
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
",
    );
    let labelled = ZoneOptions { namespace_labels: "stage in (prod)".parse().unwrap(), ..options() };
    check(
        &zone(labelled, CLUSTER),
        &[],
        "
web.shop.svc.cluster.local A NoError
    web.shop.svc.cluster.local. 5 IN A 10.96.0.1
kube-dns.kube-system.svc.cluster.local A NXDomain
    ! SOA
53.0.96.10.in-addr.arpa PTR NoError
    53.0.96.10.in-addr.arpa. 5 IN PTR kube-dns.kube-system.svc.cluster.local.
",
    );
}

#[test]
fn ignore_empty_service_hides_services_without_endpoints() {
    let cluster = "
        namespace n
        service n/full 10.96.0.1 http/tcp/80
        slice n/full-1 full http/tcp/80 : 10.0.0.1
        service n/unready 10.96.0.2 http/tcp/80
        slice n/unready-1 unready http/tcp/80 : !10.0.0.2
        service n/ext -> full.n.svc.cluster.local
    ";
    check(
        &zone(ZoneOptions { ignore_empty_service: true, ..options() }, cluster),
        &[],
        "
full.n.svc.cluster.local A NoError
    full.n.svc.cluster.local. 5 IN A 10.96.0.1
unready.n.svc.cluster.local A NXDomain
    ! SOA
unready.n.svc.cluster.local SRV NXDomain
    ! SOA
ext.n.svc.cluster.local A NoError
    ext.n.svc.cluster.local. 5 IN CNAME full.n.svc.cluster.local.
    full.n.svc.cluster.local. 5 IN A 10.96.0.1
",
    );
    check(
        &zone(options(), cluster),
        &[],
        "
unready.n.svc.cluster.local A NoError
    unready.n.svc.cluster.local. 5 IN A 10.96.0.2
",
    );
}

#[test]
fn noendpoints_ignores_endpoint_slices() {
    check(
        &zone(ZoneOptions { endpoints: false, ..options() }, CLUSTER),
        &[],
        "
web.shop.svc.cluster.local A NoError
    web.shop.svc.cluster.local. 5 IN A 10.96.0.1
heads.shop.svc.cluster.local A NXDomain
    ! SOA
10-244-0-1.web.shop.svc.cluster.local A NXDomain
    ! SOA
1.0.244.10.in-addr.arpa PTR NXDomain
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
",
    );
}

#[test]
fn the_ttl_option_sets_the_ttl() {
    for (ttl, of_soa) in [(0, 0), (30, 30), (3600, 300)] {
        check(&zone(ZoneOptions { ttl, ..options() }, CLUSTER), &[], &format!("
web.shop.svc.cluster.local A NoError
    web.shop.svc.cluster.local. {ttl} IN A 10.96.0.1
ext.shop.svc.cluster.local CNAME NoError
    ext.shop.svc.cluster.local. {ttl} IN CNAME Example.org.
nope.shop.svc.cluster.local A NXDomain
    ! cluster.local. {of_soa} IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1499347823 7200 1800 86400 {ttl}
dns-version.cluster.local TXT NoError
    dns-version.cluster.local. 28800 IN TXT 1.1.0
"));
    }
}

#[test]
fn zonal_names_select_endpoints_by_topology_zone() {
    let cluster = "
        namespace n
        service n/heads None
        slice n/heads-1 heads http/tcp/80 : 172.0.0.1@us-west-2a 172.0.0.2@US-west-2b 172.0.0.3@us-west-2b 172.0.0.4@dotted.zone
        service n/empty None
        service n/web 10.96.0.1 http/tcp/80
        service n/ext -> heads.n.svc.cluster.local
    ";
    check(
        &zone(ZoneOptions { zonal: true, ..options() }, cluster),
        &[],
        "
us-west-2a.pin._zone.heads.n.svc.cluster.local A NoError
    us-west-2a.pin._zone.heads.n.svc.cluster.local. 5 IN A 172.0.0.1
US-West-2B.pin._zone.heads.n.svc.cluster.local A NoError
    US-West-2B.pin._zone.heads.n.svc.cluster.local. 5 IN A 172.0.0.2
    US-West-2B.pin._zone.heads.n.svc.cluster.local. 5 IN A 172.0.0.3
dotted.zone.pin._zone.heads.n.svc.cluster.local A NoError
    dotted.zone.pin._zone.heads.n.svc.cluster.local. 5 IN A 172.0.0.4
dotted.pin._zone.heads.n.svc.cluster.local A NoError
    ! SOA
us-west-2c.pin._zone.heads.n.svc.cluster.local A NoError
    ! SOA
us-west-2c.pin._zone.heads.n.svc.cluster.local TXT NoError
    ! SOA
us-west-2a.pin._zone.empty.n.svc.cluster.local A NoError
    ! SOA
us-west-2a.prefer._zone.empty.n.svc.cluster.local A NoError
    ! SOA
us-west-2a.prefer._zone.heads.n.svc.cluster.local A NoError
    us-west-2a.prefer._zone.heads.n.svc.cluster.local. 5 IN A 172.0.0.1
us-west-2c.prefer._zone.heads.n.svc.cluster.local A NoError
    us-west-2c.prefer._zone.heads.n.svc.cluster.local. 5 IN A 172.0.0.1
    us-west-2c.prefer._zone.heads.n.svc.cluster.local. 5 IN A 172.0.0.2
    us-west-2c.prefer._zone.heads.n.svc.cluster.local. 5 IN A 172.0.0.3
    us-west-2c.prefer._zone.heads.n.svc.cluster.local. 5 IN A 172.0.0.4
us-west-2b.pin._zone.heads.n.svc.cluster.local SRV NoError
    us-west-2b.pin._zone.heads.n.svc.cluster.local. 5 IN SRV 0 50 80 172-0-0-2.heads.n.svc.cluster.local.
    us-west-2b.pin._zone.heads.n.svc.cluster.local. 5 IN SRV 0 50 80 172-0-0-3.heads.n.svc.cluster.local.
    + 172-0-0-2.heads.n.svc.cluster.local. 5 IN A 172.0.0.2
    + 172-0-0-3.heads.n.svc.cluster.local. 5 IN A 172.0.0.3
us-west-2a.florp._zone.heads.n.svc.cluster.local A NXDomain
    ! SOA
us-west-2a.pin._zone.web.n.svc.cluster.local A NXDomain
    ! SOA
us-west-2a.pin._zone.ext.n.svc.cluster.local A NXDomain
    ! SOA
us-west-2a.pin._zone.ghost.n.svc.cluster.local A NXDomain
    ! SOA
pin._zone.heads.n.svc.cluster.local A NXDomain
    ! SOA
",
    );
    check(
        &zone(options(), cluster),
        &[],
        "
us-west-2a.pin._zone.heads.n.svc.cluster.local A NXDomain
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

/// A name made of labels that the zone uses and of random bytes.
fn any_name() -> impl Strategy<Value = Name> {
    let words = "web heads state ext twice shop kube-system svc pod cluster local dns-version ns dns _http _tcp _zone pin \
                 prefer state-0 dup-name 172-0-0-2 fd00-244--1 10-1-2-3 -- in-addr ip6 arpa 0 10 96 1 f"
        .split_whitespace()
        .map(|word| word.as_bytes().to_vec())
        .collect::<Vec<_>>();
    let label = prop_oneof![
        4 => proptest::sample::select(words),
        1 => proptest::collection::vec(any::<u8>(), 1..64),
    ];
    let ends = [
        "",
        "svc.cluster.local",
        "shop.svc.cluster.local",
        "_zone.heads.shop.svc.cluster.local",
        "in-addr.arpa",
    ];
    (proptest::collection::vec(label, 0..6), proptest::sample::select(ends.to_vec())).prop_filter_map(
        "a name that is too long",
        |(labels, end)| {
            let mut wire: Vec<u8> =
                labels.iter().flat_map(|label| [&[label.len() as u8], label.as_slice()].concat()).collect();
            wire.extend_from_slice(end.parse::<Name>().ok()?.wire());
            Name::from_wire(&wire)
        },
    )
}

proptest! {
    #[test]
    fn any_name_is_answered_denied_or_left_to_others(
        name in any_name(),
        qtype in proptest::sample::select(vec![1_u16, 2, 5, 6, 12, 16, 28, 33, 252, 255]),
        zonal in any::<bool>(),
        root in any::<bool>(),
    ) {
        let mut options = ZoneOptions { pods: PodMode::Insecure, zonal, ..options() };
        options.zones.extend(root.then_some(Name::ROOT));
        let (zone, query) = (zone(options, CLUSTER), Query::new(7, &name, qtype));
        let mut reply = Reply::default();
        let verdict = zone.answer(&query, &["10.244.5.1".parse().unwrap()], &mut reply);
        let count = |section| reply.section(section).count();
        let (answers, soa) = (count(Section::Answer), count(Section::Authority));
        let held = match verdict {
            ZoneVerdict::NotMine => reply.rcode == 0 && reply.records().is_empty(),
            ZoneVerdict::Refused => reply.rcode == 5 && reply.records().is_empty(),
            ZoneVerdict::NameError => reply.rcode == 3 && (answers, soa) == (0, 1),
            ZoneVerdict::Answered => reply.rcode == 0 && (answers > 0) != (soa > 0),
            ZoneVerdict::Chase => reply.rcode == 0 && answers > 0 && soa == 0,
            ZoneVerdict::NotSynced => false,
        };
        prop_assert!(held, "{name} {qtype}: {verdict:?}, {answers} answers, {soa} SOA");
        let mut packet = vec![0; 65535];
        for limit in [512, 65535] {
            let length = reply.encode(&query, limit, &mut packet);
            let message = Message::from_vec(&packet[..length]).expect("others read it");
            // A record set has no duplicates (RFC 2181 §5).
            for (i, record) in message.answers.iter().enumerate() {
                prop_assert!(!message.answers[..i].contains(record), "{name} {qtype}: {record} twice");
            }
        }
    }
}

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
    let unlisted = unsynced(world::options(), events(CLUSTER));
    assert_eq!(unlisted.searched(&query, 5), None);
}
