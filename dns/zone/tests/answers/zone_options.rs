//! The options of `kubernetes`, each with the answers that it changes.

use dns_zone::{PodMode, ZoneOptions};

use crate::CLUSTER;
use crate::world::{check, options, zone};

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
