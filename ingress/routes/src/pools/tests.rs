//! The pools made from Services and EndpointSlices.

use cluster::Object;
use cluster::testing::{check_projection, histories};
use proptest::prelude::{ProptestConfig, proptest};

use super::*;
use crate::testing::{TestCluster, manifests, service};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn advancing_equals_building(history in histories()) {
        let options = RouteOptions { watch_ingress_without_class: true, ..RouteOptions::default() };
        check_projection(|| PoolIndex::new(options.clone()), history);
    }

    #[test]
    fn advancing_equals_building_by_class_and_zone(history in histories()) {
        let options = RouteOptions {
            default_backend_service: Some(Key::new("shop", "db")),
            zone: Some("east".into()),
            ..RouteOptions::default()
        };
        check_projection(|| PoolIndex::new(options.clone()), history);
    }
}

fn ingress(backend: &str) -> String {
    format!(
        "metadata: {{name: x}}\nspec: {{rules: [{{host: a.example, paths: [[/, Prefix, '{backend}']]}}]}}\n"
    )
}

fn members(world: &TestCluster, service: &str, port: &str) -> String {
    let port = port.parse().map_or_else(|_| PortRef::Name(port.into()), PortRef::Number);
    let key = PoolKey { service: Key::new("default", service), port };
    match world.pools.load().get(&key).map(|pool| (pool.members().clone(), pool.error().cloned())) {
        None => "no pool".into(),
        Some((_, Some(error))) => error.to_string(),
        Some((PoolMembers::External { host, port }, None)) => format!("{host} {port}"),
        Some((PoolMembers::Endpoints(endpoints), None)) => {
            endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        }
    }
}

#[test]
fn a_port_is_found_by_number_name_or_target_port() {
    // [service_backend.go, service_externalname.go]
    for (line, port, pool) in [
        ("web 80:http 10.0.0.2 10.0.0.1", "80", "10.0.0.1:8080 10.0.0.2:8080"),
        ("web 80:http 10.0.0.1", "http", "10.0.0.1:8080"),
        ("web 80:http 10.0.0.1", "8080", "10.0.0.1:8080"),
        ("web 80 10.0.0.1", "80", "10.0.0.1:8080"),
        ("web 80:http 10.0.0.1", "81", "has no TCP port 81; it has 80 http"),
        ("web 80:http 10.0.0.1", "https", "has no TCP port https; it has 80 http"),
        ("web 80:http !10.0.0.1", "80", ""),
        ("web 80:http fd00::1", "80", "[fd00::1]:8080"),
        ("web external=example.org", "443", "example.org 443"),
        ("web external=example.org.", "443", "example.org 443"),
        ("web external=example.org", "https", "has no TCP port https, nor any other"),
        ("web external=192.0.2.1", "80", "192.0.2.1:80"),
        ("web external=localhost", "80", "has an externalName that is a loopback address"),
        ("web external=127.0.0.9", "80", "has an externalName that is a loopback address"),
        ("web external=::ffff:127.0.0.1", "80", "has an externalName that is a loopback address"),
        ("web external=no_host/x", "80", "has an externalName that is neither a host name nor an address"),
        ("other 80 10.0.0.1", "80", "does not exist"),
    ] {
        let world = TestCluster::new(&ingress(&format!("web:{port}"))).services(line);
        assert_eq!(members(&world, "web", port), pool, "{line} by {port}");
    }
}

#[test]
fn only_services_that_ingresses_refer_to_have_pools() {
    let mut world = TestCluster::new(&ingress("web:80")).services("web 80 10.0.0.1\nother 80 10.0.0.2");
    assert_eq!(
        (members(&world, "web", "80"), members(&world, "other", "80")),
        ("10.0.0.1:8080".into(), "no pool".into())
    );
    let before = world.pools.load_full();
    world
        .apply(manifests(&ingress("other:80")).into_iter().map(|ingress| Object::Ingress(Arc::new(ingress))));
    assert_eq!(
        (members(&world, "web", "80"), members(&world, "other", "80")),
        ("no pool".into(), "10.0.0.2:8080".into())
    );
    assert_ne!(*before, **world.pools.load());
}

#[test]
fn an_orphan_lacks_its_service_or_its_endpoints() {
    for (services, missing) in [
        ("web 80 10.0.0.1", None),
        ("web 80", Some(OrphanReason::NoEndpoint)),
        ("web 81 10.0.0.1", Some(OrphanReason::NoEndpoint)),
        ("other 80 10.0.0.1", Some(OrphanReason::NoService)),
    ] {
        let world = TestCluster::new(&ingress("web:80")).services(services);
        let pools = world.pools.load();
        let seen: Vec<_> = pools.backends().map(|(key, missing)| (key.to_string(), missing)).collect();
        assert_eq!(seen, [("default/x".to_owned(), missing)], "{services}");
    }
}

#[test]
fn a_change_of_endpoints_does_not_change_the_table() {
    let mut world = TestCluster::new(&ingress("web:80")).services("web 80 10.0.0.1");
    let (table, pools) = (world.table.load_full(), world.pools.load_full());
    let (_, slice) = service("web 80 10.0.0.1 10.0.0.2");
    world.apply([Object::EndpointSlice(Arc::new(slice))]);
    assert!(Arc::ptr_eq(&table, &world.table.load_full()));
    assert_ne!(*pools, **world.pools.load());
    assert_eq!(members(&world, "web", "80"), "10.0.0.1:8080 10.0.0.2:8080");
}

#[test]
fn external_names_can_be_disabled() {
    // [disable_service_external_name.go]
    let options = RouteOptions {
        watch_ingress_without_class: true,
        disable_svc_external_name: true,
        ..RouteOptions::default()
    };
    let world = TestCluster::with(options, &ingress("web:80")).services("web external=example.org");
    assert_eq!(members(&world, "web", "80"), "is of type ExternalName, which is disabled");
}

#[test]
fn a_backend_without_endpoints_is_a_problem() {
    let text = "
metadata: {name: x}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web], [/b, Prefix, web]]}, {paths: [[/, Prefix, web]]}]}
---
metadata: {name: canary, annotations: {canary: 'true', canary-weight: '5'}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: default}
spec: {defaultBackend: web}
";
    let mut world = TestCluster::new(text).services("web 80 !10.0.0.1");
    let problems = |world: &TestCluster| {
        let mut problems: Vec<_> = world.pools.load().problems().map(|problem| problem.to_string()).collect();
        problems.sort_unstable();
        problems
    };
    assert_eq!(problems(&world), [""; 0], "not before the first lists are complete");
    world.sync();
    let none = "backend.service web:80: Service default/web has no ready endpoint";
    assert_eq!(
        problems(&world),
        [
            format!("Ingress default/canary: {none}, so the canary takes no requests"),
            format!("Ingress default/default: {none}, needed for spec.defaultBackend; the routes answer 503"),
            format!("Ingress default/x: {none}, needed for a.example/ and 2 more; the routes answer 503"),
        ]
    );
    let world = world.services("web 81 10.0.0.1");
    let port = "backend.service web:80: Service default/web has no TCP port 80; it has 81";
    assert_eq!(
        problems(&world)[0],
        format!("Ingress default/canary: {port}, so the canary takes no requests")
    );
    let world = world.services("web external=169.254.169.254");
    assert!(
        problems(&world)[2]
            .contains("has an externalName that is a link-local address, needed for a.example/")
    );
    let world = world.services("web 80 10.0.0.1");
    assert_eq!(problems(&world), [""; 0], "the Service has an endpoint again");
}

#[test]
fn a_default_backend_with_endpoints_responds_for_a_backend_without() {
    let text = "
metadata: {name: x, annotations: {default-backend: pages}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
";
    let mut world = TestCluster::new(text).services("web 80 !10.0.0.1").services("pages 80 10.0.0.2");
    world.sync();
    let problems = |world: &TestCluster| -> Vec<_> {
        world.pools.load().problems().map(|problem| problem.to_string()).collect()
    };
    let missing = "Ingress default/x: backend.service web:80: Service default/web has no ready endpoint, \
                   needed for a.example/";
    assert_eq!(problems(&world), [format!("{missing}; Service default/pages of default-backend responds")]);
    let world = world.services("pages 80 !10.0.0.2");
    assert!(problems(&world).contains(&format!("{missing}; the routes answer 503")));
}

#[test]
fn a_service_is_named_without_a_namespace() {
    for (name, is_valid) in [
        ("errors", true),
        ("e1-x", true),
        ("other/errors", false),
        ("-x", false),
        ("x_y", false),
        ("", false),
    ] {
        assert_eq!(named_service("shop", name).is_some(), is_valid, "{name}");
    }
}

#[test]
fn the_cluster_ip_is_the_only_endpoint_with_service_upstream() {
    // [serviceupstream.go] The ConfigMap's key, the annotation of the first and of the second Ingress.
    let cluster_ip = "10.96.0.7:80";
    let endpoints = "10.0.0.1:8080 10.0.0.2:8080";
    for (key, first, second, members_are) in [
        ("", "", "", endpoints),
        ("true", "", "", cluster_ip),
        ("", "true", "", cluster_ip),
        ("true", "false", "", endpoints),
        ("false", "true", "false", cluster_ip),
        ("", "", "true", endpoints),
        ("yes", "yes", "", endpoints),
    ] {
        let of = |name: &str, created: u32, value: &str| {
            format!(
                "metadata: {{name: {name}, created: {created}, annotations: {{service-upstream: '{value}'}}}}\n\
                 spec: {{rules: [{{host: {name}.example, paths: [[/, Prefix, 'web:http']]}}]}}\n"
            )
        };
        let mut world = TestCluster::configured("");
        let (mut service, slice) = service("web 80:http 10.0.0.1 10.0.0.2");
        let addresses = ["10.96.0.7", "fd00::7"].map(|address| address.parse().expect("an address"));
        service.kind = cluster::ServiceKind::ClusterIp(addresses.into_iter().collect());
        world.apply([Object::Service(Arc::new(service.clone())), Object::EndpointSlice(Arc::new(slice))]);
        let both = [of("b", 2, second), of("a", 1, first)];
        for text in &both {
            world.apply(manifests(text).into_iter().map(|ingress| Object::Ingress(Arc::new(ingress))));
        }
        if !key.is_empty() {
            world.configure(&[("service-upstream", key)]);
        }
        let case = format!("{key:?} {first:?} {second:?}");
        assert_eq!(members(&world, "web", "http"), members_are, "{case}");
        // The second Ingress is the first one now.
        world.remove(Kind::Ingress, Key::new("default", "a"));
        let by_cluster_ip = second == "true" || second.is_empty() && key == "true";
        let expected = if by_cluster_ip { cluster_ip } else { endpoints };
        assert_eq!(members(&world, "web", "http"), expected, "{case} without the first");
        service.kind = cluster::ServiceKind::Headless;
        world.apply([Object::Service(Arc::new(service))]);
        assert_eq!(members(&world, "web", "http"), endpoints, "{case} headless");
        let problems: Vec<_> = world.pools.load().problems().map(|problem| problem.to_string()).collect();
        let expected = "has no cluster IP, so service-upstream has no effect";
        assert_eq!(problems.iter().any(|problem| problem.contains(expected)), by_cluster_ip, "{problems:?}");
    }
}

/// Endpoints of the Service `web`, as `address zone,zone`: the zones of its hints.
fn hinted(cluster: &mut TestCluster, prefers_own_zone: bool, endpoints: &[&str]) {
    let (mut service, mut slice) = service("web 80");
    service.prefers_own_zone = prefers_own_zone;
    let zones = ["a", "b", "c"];
    let endpoint = |line: &&str| {
        let (address, hints) = line.split_once(' ').unwrap_or((line, ""));
        let index = |name: &str| zones.iter().position(|zone| *zone == name).map(|at| at as u8 + 1);
        cluster::Endpoint {
            addresses: [address.trim_start_matches('!').parse().expect("an address")].into(),
            ready: !address.starts_with('!'),
            hostname: None,
            pod: None,
            zone: 1,
            hints: hints.split(',').filter_map(index).collect(),
        }
    };
    slice.endpoints = endpoints.iter().map(endpoint).collect();
    slice.zones = zones.map(Into::into).into();
    cluster.apply([Object::Service(Arc::new(service)), Object::EndpointSlice(Arc::new(slice))]);
}

#[test]
fn endpoints_with_hints_for_other_zones_are_left_out() {
    // enable-topology-aware-routing
    let options = |zone: Option<&str>| RouteOptions {
        watch_ingress_without_class: true,
        zone: zone.map(Into::into),
        ..RouteOptions::default()
    };
    let (both, first) = ("10.0.0.1:8080 10.0.0.2:8080", "10.0.0.1:8080");
    for (what, zone, prefers_own_zone, endpoints, members_then) in [
        ("hints", Some("a"), true, ["10.0.0.1 a", "10.0.0.2 b"], first),
        ("several hints", Some("a"), true, ["10.0.0.1 b,a", "10.0.0.2 b,c"], first),
        ("without the flag", None, true, ["10.0.0.1 a", "10.0.0.2 b"], both),
        ("a Service that does not ask for it", Some("a"), false, ["10.0.0.1 a", "10.0.0.2 b"], both),
        ("an endpoint without hints", Some("a"), true, ["10.0.0.1 a", "10.0.0.2"], both),
        ("no hint for the zone", Some("c"), true, ["10.0.0.1 a", "10.0.0.2 b"], both),
        ("an unknown zone", Some("z"), true, ["10.0.0.1 a", "10.0.0.2 b"], both),
        ("only ready endpoints count", Some("a"), true, ["10.0.0.1 a", "!10.0.0.2"], first),
        ("none of the zone is ready", Some("b"), true, ["10.0.0.1 a", "!10.0.0.2 b"], first),
    ] {
        let mut world = TestCluster::with(options(zone), &ingress("web:80"));
        hinted(&mut world, prefers_own_zone, &endpoints);
        assert_eq!(members(&world, "web", "80"), members_then, "{what}");
    }
    let mut world = TestCluster::with(options(Some("a")), &ingress("web:80"));
    for (endpoints, members_then) in [
        (["10.0.0.1 a", "10.0.0.2 b"], first),
        (["10.0.0.1 a", "10.0.0.2 a"], both),
        (["10.0.0.1 b", "10.0.0.2 a"], "10.0.0.2:8080"),
    ] {
        hinted(&mut world, true, &endpoints);
        assert_eq!(members(&world, "web", "80"), members_then, "changed hints");
    }
    hinted(&mut world, false, &["10.0.0.1 b", "10.0.0.2 a"]);
    assert_eq!(members(&world, "web", "80"), both, "a changed Service");
}
