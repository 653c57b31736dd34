//! ExternalName Services, and endpoints that are names.

use dns_zone::{PodMode, ZoneOptions, ZoneVerdict};

use crate::CLUSTER;
use crate::world::{ask, check, options, zone};

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
