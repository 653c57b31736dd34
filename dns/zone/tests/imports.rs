//! Zones of `multicluster`: answers from ServiceImports and their EndpointSlices, as in CoreDNS.

#[allow(dead_code)]
mod world;

use cluster::{Event, Kind};
use dns_zone::{ZoneOptions, ZoneVerdict};
use world::{ask, check, events, unsynced, zone};

/// A zone of ServiceImports beside the cluster's own zone. `shop/web` is a Service in one and an import in the other.
fn clusterset() -> ZoneOptions {
    let zones = ["cluster.local", "clusterset.local", "in-addr.arpa", "ip6.arpa"];
    let zones: Vec<_> = zones.iter().map(|zone| zone.parse().expect("a name")).collect();
    ZoneOptions { multicluster: zones[1..2].to_vec(), ..ZoneOptions::new(zones) }
}

const IMPORTS: &str = "
    namespace shop
    service shop/web 10.96.0.1 http/tcp/80
    slice shop/web-1 web http/tcp/8080 : 10.244.0.1

    import shop/web 10.97.0.1 http/tcp/80 https/tcp/443
    import shop/dual 10.97.0.2,fd00:97::2 http/tcp/80
    import shop/pending 0 http/tcp/80
    slice shop/web-east [web@east] http/tcp/8080 : 10.1.0.1=web-0 10.1.0.2 !10.1.0.3
    slice shop/web-west [web@west] http/tcp/8080 : 10.2.0.1=web-0

    import shop/db None sql/tcp/5432
    slice shop/db-east [db@east] sql/tcp/5432 : 10.1.1.1=db-0 10.1.1.2=DB-1 10.1.1.3
    slice shop/db-west [db@West] sql/tcp/5432 : 10.2.1.1=db-0 10.1.1.3~pod-a
    slice shop/db-six [db@west] sql/tcp/5432 : fd00:2::1=db-0 2001:db8::
    import shop/anon None
    slice shop/anon-1 [anon@] http/tcp/80 : 10.3.0.1=a 10.3.0.2
    slice shop/anon-2 [anon@not.a.label] http/tcp/80 : 10.3.0.3=b
    import shop/nothing None
    import shop/waiting None
    slice shop/waiting-1 [waiting@east] http/tcp/80 : !10.1.2.1
    slice shop/lone-1 [lone@east] http/tcp/80 : 10.1.3.1

    import hidden/web 10.97.9.9 http/tcp/80
";

#[test]
fn imports_answer_in_the_zones_of_multicluster() {
    check(
        &zone(clusterset(), IMPORTS),
        &[],
        "
web.shop.svc.clusterset.local A NoError
    web.shop.svc.clusterset.local. 5 IN A 10.97.0.1
web.shop.svc.cluster.local A NoError
    web.shop.svc.cluster.local. 5 IN A 10.96.0.1
db.shop.svc.cluster.local A NXDomain
    ! SOA
dual.shop.svc.clusterset.local AAAA NoError
    dual.shop.svc.clusterset.local. 5 IN AAAA fd00:97::2
pending.shop.svc.clusterset.local A NoError
    ! SET
web.shop.svc.clusterset.local TXT NoError
    ! SET
web.shop.svc.clusterset.local SRV NoError
    web.shop.svc.clusterset.local. 5 IN SRV 0 50 80 web.shop.svc.clusterset.local.
    web.shop.svc.clusterset.local. 5 IN SRV 0 50 443 web.shop.svc.clusterset.local.
    + web.shop.svc.clusterset.local. 5 IN A 10.97.0.1
_http._tcp.dual.shop.svc.clusterset.local SRV NoError
    _http._tcp.dual.shop.svc.clusterset.local. 5 IN SRV 0 50 80 dual.shop.svc.clusterset.local.
    + dual.shop.svc.clusterset.local. 5 IN A 10.97.0.2
    + dual.shop.svc.clusterset.local. 5 IN AAAA fd00:97::2
_none._tcp.web.shop.svc.clusterset.local SRV NXDomain
    ! SET
none.shop.svc.clusterset.local A NXDomain
    ! SET
lone.shop.svc.clusterset.local A NXDomain
    ! SET
web.hidden.svc.clusterset.local A NXDomain
    ! SET
svc.clusterset.local A NoError
    ! SET
shop.svc.clusterset.local A NoError
    ! SET
web.shop.pod.clusterset.local A NXDomain
    ! SET
dns-version.clusterset.local TXT NoError
    dns-version.clusterset.local. 28800 IN TXT 1.1.0
",
    );
}

#[test]
fn endpoints_of_imports_are_named_after_their_cluster() {
    check(
        &zone(clusterset(), IMPORTS),
        &[],
        "
db.shop.svc.clusterset.local A NoError
    db.shop.svc.clusterset.local. 5 IN A 10.1.1.1
    db.shop.svc.clusterset.local. 5 IN A 10.1.1.2
    db.shop.svc.clusterset.local. 5 IN A 10.1.1.3
    db.shop.svc.clusterset.local. 5 IN A 10.2.1.1
db-0.east.db.shop.svc.clusterset.local A NoError
    db-0.east.db.shop.svc.clusterset.local. 5 IN A 10.1.1.1
DB-1.East.db.shop.svc.clusterset.local A NoError
    DB-1.East.db.shop.svc.clusterset.local. 5 IN A 10.1.1.2
db-0.west.db.shop.svc.clusterset.local A NoError
    db-0.west.db.shop.svc.clusterset.local. 5 IN A 10.2.1.1
db-0.west.db.shop.svc.clusterset.local AAAA NoError
    db-0.west.db.shop.svc.clusterset.local. 5 IN AAAA fd00:2::1
10-1-1-3.east.db.shop.svc.clusterset.local A NoError
    10-1-1-3.east.db.shop.svc.clusterset.local. 5 IN A 10.1.1.3
2001-db8--0.west.db.shop.svc.clusterset.local AAAA NoError
    2001-db8--0.west.db.shop.svc.clusterset.local. 5 IN AAAA 2001:db8::
db-1.west.db.shop.svc.clusterset.local A NXDomain
    ! SET
db-0.north.db.shop.svc.clusterset.local A NXDomain
    ! SET
db-0.db.shop.svc.clusterset.local A NXDomain
    ! SET
10-1-1-3.db.shop.svc.clusterset.local A NXDomain
    ! SET
web-0.east.web.shop.svc.clusterset.local A NoError
    web-0.east.web.shop.svc.clusterset.local. 5 IN A 10.1.0.1
10-1-0-3.east.web.shop.svc.clusterset.local A NXDomain
    ! SET
a.anon.shop.svc.clusterset.local A NoError
    a.anon.shop.svc.clusterset.local. 5 IN A 10.3.0.1
10-3-0-2.anon.shop.svc.clusterset.local A NoError
    10-3-0-2.anon.shop.svc.clusterset.local. 5 IN A 10.3.0.2
b.anon.shop.svc.clusterset.local A NoError
    b.anon.shop.svc.clusterset.local. 5 IN A 10.3.0.3
x.db-0.east.db.shop.svc.clusterset.local A NXDomain
    ! SET
nothing.shop.svc.clusterset.local A NXDomain
    ! SET
waiting.shop.svc.clusterset.local A NXDomain
    ! SET
_sql._tcp.db.shop.svc.clusterset.local SRV NoError
    _sql._tcp.db.shop.svc.clusterset.local. 5 IN SRV 0 14 5432 db-0.east.db.shop.svc.clusterset.local.
    _sql._tcp.db.shop.svc.clusterset.local. 5 IN SRV 0 14 5432 db-1.east.db.shop.svc.clusterset.local.
    _sql._tcp.db.shop.svc.clusterset.local. 5 IN SRV 0 14 5432 10-1-1-3.east.db.shop.svc.clusterset.local.
    _sql._tcp.db.shop.svc.clusterset.local. 5 IN SRV 0 14 5432 db-0.west.db.shop.svc.clusterset.local.
    _sql._tcp.db.shop.svc.clusterset.local. 5 IN SRV 0 14 5432 2001-db8--0.west.db.shop.svc.clusterset.local.
    _sql._tcp.db.shop.svc.clusterset.local. 5 IN SRV 0 14 5432 10-1-1-3.west.db.shop.svc.clusterset.local.
    + db-0.east.db.shop.svc.clusterset.local. 5 IN A 10.1.1.1
    + db-1.east.db.shop.svc.clusterset.local. 5 IN A 10.1.1.2
    + 10-1-1-3.east.db.shop.svc.clusterset.local. 5 IN A 10.1.1.3
    + db-0.west.db.shop.svc.clusterset.local. 5 IN AAAA fd00:2::1
    + 2001-db8--0.west.db.shop.svc.clusterset.local. 5 IN AAAA 2001:db8::
    + db-0.west.db.shop.svc.clusterset.local. 5 IN A 10.2.1.1
    + 10-1-1-3.west.db.shop.svc.clusterset.local. 5 IN A 10.1.1.3
db-0.east.db.shop.svc.clusterset.local SRV NoError
    db-0.east.db.shop.svc.clusterset.local. 5 IN SRV 0 100 5432 db-0.east.db.shop.svc.clusterset.local.
    + db-0.east.db.shop.svc.clusterset.local. 5 IN A 10.1.1.1
sql.tcp.db.shop.svc.clusterset.local SRV NXDomain
    ! SET
",
    );
    let options = ZoneOptions { endpoint_pod_names: true, endpoints: false, zonal: true, ..clusterset() };
    check(
        &zone(options, IMPORTS),
        &[],
        "
pod-a.west.db.shop.svc.clusterset.local A NoError
    pod-a.west.db.shop.svc.clusterset.local. 5 IN A 10.1.1.3
a.pin._zone.db.shop.svc.clusterset.local A NXDomain
    ! SET
10-244-0-1.web.shop.svc.cluster.local A NXDomain
    ! SOA
",
    );
    let ignoring = ZoneOptions { ignore_empty_service: true, ..clusterset() };
    check(
        &zone(ignoring, IMPORTS),
        &[],
        "
web.shop.svc.clusterset.local A NoError
    web.shop.svc.clusterset.local. 5 IN A 10.97.0.1
dual.shop.svc.clusterset.local A NXDomain
    ! SET
",
    );
}

#[test]
fn imports_have_no_ptr_records_and_no_name_servers() {
    let zone = zone(clusterset(), IMPORTS);
    let own = ["10.244.0.1".parse().expect("an address")];
    check(
        &zone,
        &own,
        "
1.0.97.10.in-addr.arpa PTR NXDomain
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
1.1.1.10.in-addr.arpa PTR NXDomain
    ! in-addr.arpa. 5 IN SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1499347823 7200 1800 86400 5
1.0.244.10.in-addr.arpa PTR NoError
    1.0.244.10.in-addr.arpa. 5 IN PTR 10-244-0-1.web.shop.svc.cluster.local.
cluster.local NS NoError
    cluster.local. 5 IN NS web.shop.svc.cluster.local.
    + web.shop.svc.cluster.local. 5 IN A 10.96.0.1
clusterset.local NS NoError
    clusterset.local. 5 IN NS ns.dns.clusterset.local.
    + ns.dns.clusterset.local. 5 IN A 10.96.0.1
ns.dns.clusterset.local A NoError
    ns.dns.clusterset.local. 5 IN A 10.96.0.1
",
    );
}

#[test]
fn only_zones_of_imports_wait_for_imports() {
    let listed = [Kind::Namespace, Kind::Service, Kind::EndpointSlice].map(Event::Synced);
    let before = unsynced(clusterset(), events(IMPORTS).into_iter().chain(listed.clone()));
    assert!(!before.synced());
    let verdict = |zone, name| ask(zone, &[], name, "A").0;
    assert_eq!(verdict(&before, "none.shop.svc.clusterset.local"), ZoneVerdict::NotSynced);
    assert_eq!(verdict(&before, "none.shop.svc.cluster.local"), ZoneVerdict::NameError);
    assert_eq!(verdict(&before, "web.shop.svc.clusterset.local"), ZoneVerdict::Answered);
    let after = unsynced(
        clusterset(),
        events(IMPORTS).into_iter().chain(listed).chain([Event::Synced(Kind::ServiceImport)]),
    );
    assert!(after.synced());
    assert_eq!(verdict(&after, "none.shop.svc.clusterset.local"), ZoneVerdict::NameError);
}
