//! Which endpoint gets a request, in tables.

use std::collections::{BTreeMap, BTreeSet};

use crate::exchange::Exchange;
use crate::exchange::tests::get;
use crate::testing::{FixedBalancer, TestCluster};

const SIX: &str = "web 80 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6";

fn ingress(annotations: &str) -> String {
    format!(
        "metadata: {{name: x, annotations: {{{annotations}}}}}\n\
         spec: {{rules: [{{host: a.example, paths: [[/, Prefix, 'web:80']]}}]}}\n"
    )
}

fn endpoint(cluster: &TestCluster, exchange: &Exchange, tried: &[&str], number: u32) -> String {
    cluster.pick(exchange, tried, &mut FixedBalancer::number(number)).0
}

fn of_user(cluster: &TestCluster, user: u32) -> String {
    let user = format!("user-{user}");
    endpoint(cluster, &get("a.example/", &[("x-user", &user)]), &[], 0)
}

#[test]
fn a_text_selects_the_endpoint_of_the_ring_and_a_failed_one_is_left_out() {
    let cluster = TestCluster::new(&ingress("upstream-hash-by: $http_x_user")).services(SIX);
    let all: BTreeSet<String> = (0..200).map(|user| of_user(&cluster, user)).collect();
    assert_eq!(all.len(), 6, "{all:?}");
    let exchange = get("a.example/other?path", &[("x-user", "ann")]);
    let first = endpoint(&cluster, &exchange, &[], 1);
    assert_eq!(endpoint(&cluster, &exchange, &[], 2), first, "no random number decides");
    let second = endpoint(&cluster, &exchange, &[&first], 1);
    assert_ne!(second, first);
    assert_eq!(endpoint(&cluster, &exchange, &[&first], 5), second);
    let tried: Vec<&str> = all.iter().map(String::as_str).collect();
    assert_eq!(endpoint(&cluster, &exchange, &tried, 0), first, "all were tried");
}

#[test]
fn few_texts_change_their_endpoint_when_endpoints_change() {
    let before = TestCluster::new(&ingress("upstream-hash-by: $http_x_user")).services(SIX);
    let more =
        TestCluster::new(&ingress("upstream-hash-by: $http_x_user")).services(&format!("{SIX} 10.0.0.7"));
    let users = 0..1000;
    let moved = users.clone().filter(|user| of_user(&before, *user) != of_user(&more, *user));
    let moved: Vec<u32> = moved.collect();
    assert!((80..220).contains(&moved.len()), "a seventh of {}: {}", users.len(), moved.len());
    assert!(moved.iter().all(|user| of_user(&more, *user) == "10.0.0.7:8080"));
}

#[test]
fn a_subset_has_three_endpoints_or_as_many_as_the_annotation_says() {
    for (annotations, size, services) in [
        ("", 3, SIX),
        (", upstream-hash-by-subset-size: '0'", 3, SIX),
        (", upstream-hash-by-subset-size: '2'", 2, SIX),
        (", upstream-hash-by-subset-size: '4'", 4, SIX),
        (", upstream-hash-by-subset-size: '9'", 6, SIX),
        (", upstream-hash-by-subset-size: '2'", 1, "web 80 10.0.0.1"),
    ] {
        let annotations =
            format!("upstream-hash-by: $request_uri, upstream-hash-by-subset: 'true'{annotations}");
        let cluster = TestCluster::new(&ingress(&annotations)).services(services);
        let exchange = get("a.example/path", &[]);
        let seen: BTreeSet<_> = (0..60).map(|number| endpoint(&cluster, &exchange, &[], number)).collect();
        assert_eq!(seen.len(), size, "{annotations}");
        let first = seen.iter().next().expect("one endpoint");
        let others: BTreeSet<_> =
            (0..60).map(|number| endpoint(&cluster, &exchange, &[first], number)).collect();
        assert_eq!(others.len(), (size - 1).max(1), "{annotations}: a failed one is left out");
    }
}

#[test]
fn members_of_a_subset_are_equally_likely() {
    let annotations = "upstream-hash-by: fixed, upstream-hash-by-subset: 'true'";
    let cluster = TestCluster::new(&ingress(annotations)).services(SIX);
    let exchange = get("a.example/", &[]);
    let mut counts = BTreeMap::<String, u32>::new();
    for number in 0..999 {
        *counts.entry(endpoint(&cluster, &exchange, &[], number)).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count == 333), "{counts:?}");
}

#[test]
fn affinity_precedes_the_hash_and_the_hash_load_balance() {
    let hash = "upstream-hash-by: fixed, load-balance: ewma";
    let with_hash = TestCluster::new(&ingress(hash)).services(SIX);
    let exchange = get("a.example/", &[]);
    let of_hash = endpoint(&with_hash, &exchange, &[], 0);
    assert!((0..20).all(|number| endpoint(&with_hash, &exchange, &[], number) == of_hash));
    let sticky = TestCluster::new(&ingress(&format!("affinity: cookie, {hash}"))).services(SIX);
    let mut draw = FixedBalancer::number(0);
    let (_, cookie) = sticky.pick(&exchange, &[], &mut draw);
    assert!(cookie.starts_with("INGRESSCOOKIE="), "{cookie}");
    let seen: BTreeSet<_> = (0..50).map(|number| endpoint(&sticky, &exchange, &[], number)).collect();
    assert!(seen.len() > 1, "{seen:?}");
}

#[test]
fn the_key_is_the_default_of_the_annotation() {
    // By round robin the third request of a balancer goes to the third endpoint; without measurements EWMA takes the first one drawn.
    for (key, annotation, endpoint) in [
        (None, "", "10.0.0.3:8080"),
        (None, "load-balance: ewma", "10.0.0.1:8080"),
        (Some("ewma"), "", "10.0.0.1:8080"),
        (Some("ewma"), "load-balance: round_robin", "10.0.0.3:8080"),
        (Some("ewma"), "load-balance: chash", "10.0.0.3:8080"),
        (Some("sticky_balanced"), "", "10.0.0.3:8080"),
        (Some("least_conn"), "", "10.0.0.3:8080"),
    ] {
        let mut cluster = TestCluster::configured(&ingress(annotation)).services(SIX);
        if let Some(value) = key {
            cluster.configure(&[("load-balance", value)]);
        }
        let (exchange, mut draw) = (get("a.example/", &[]), FixedBalancer::number(0));
        let picked: Vec<_> = (0..3).map(|_| cluster.pick(&exchange, &[], &mut draw).0).collect();
        assert_eq!(picked[2], endpoint, "{key:?} {annotation}");
        let invalid = key == Some("least_conn");
        assert_eq!(cluster.problems().len(), usize::from(invalid), "{:?}", cluster.problems());
    }
}

#[test]
fn the_first_ingress_of_a_service_decides_for_all() {
    let two = |first: &str, second: &str| {
        let of = |name: &str, created: u32, annotations: &str| {
            format!(
                "metadata: {{name: {name}, created: {created}, annotations: {{{annotations}}}}}\n\
                 spec: {{rules: [{{host: {name}.example, paths: [[/, Prefix, 'web:80']]}}]}}\n"
            )
        };
        format!("{}---\n{}", of("a", 1, first), of("b", 2, second))
    };
    let hash = "upstream-hash-by: $request_uri";
    for (first, second, is_hashed, problems) in [
        (hash, "", true, 0),
        (hash, hash, true, 0),
        ("", hash, false, 1),
        ("load-balance: ewma", hash, false, 1),
    ] {
        let cluster = TestCluster::new(&two(first, second)).services(SIX);
        for host in ["a.example/", "b.example/"] {
            let (exchange, mut draw) = (get(host, &[]), FixedBalancer::number(0));
            let mut pick = || cluster.pick(&exchange, &[], &mut draw).0;
            let seen: BTreeSet<_> = if first.contains("ewma") {
                (0..6).map(|number| endpoint(&cluster, &exchange, &[], number)).collect()
            } else {
                (0..6).map(|_| pick()).collect()
            };
            assert_eq!(seen.len() == 1, is_hashed, "{first:?} {second:?} {host}");
        }
        let found = cluster.problems();
        assert_eq!(found.len(), problems, "{found:?}");
        assert!(found.iter().all(|problem| problem.contains("default/a, which comes first")), "{found:?}");
    }
}
