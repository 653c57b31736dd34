//! Canary, affinity and balancing in tables; names in brackets are e2e files of ingress-nginx.

mod shares;

use std::collections::HashSet;

use super::*;
use crate::exchange::tests::get;
use crate::testing::{FixedBalancer, TestCluster};

/// A primary and a canary with these annotations.
fn canary(annotations: &str) -> TestCluster {
    let text = format!(
        "
metadata: {{name: main, created: 1}}
spec: {{rules: [{{host: a.example, paths: [[/, Prefix, main]]}}]}}
---
metadata: {{name: canary, created: 2, annotations: {{canary: 'true', {annotations}}}}}
spec: {{rules: [{{host: a.example, paths: [[/, Prefix, canary]]}}]}}
"
    );
    TestCluster::new(&text).services("main 80 10.0.0.1 10.0.0.2\ncanary 80 10.0.1.1")
}

#[test]
fn canaries_are_chosen_in_order_of_precedence() {
    // [canary.go] number: the random number, of a hundred
    for (annotations, headers, number, service) in [
        ("canary-by-header: X-Canary", vec![("x-canary", "always")], 0, "canary"),
        ("canary-by-header: X-Canary", vec![("x-canary", "never")], 0, "main"),
        ("canary-by-header: X-Canary", vec![("x-canary", "badheadervalue")], 0, "main"),
        ("canary-by-header: X_Canary", vec![("x-canary", "always")], 0, "canary"),
        (
            "canary-by-header: X-Canary, canary-by-header-value: DoCanary",
            vec![("x-canary", "DoCanary")],
            0,
            "canary",
        ),
        (
            "canary-by-header: X-Canary, canary-by-header-value: DoCanary",
            vec![("x-canary", "always")],
            0,
            "main",
        ),
        (
            "canary-by-header: X-Canary, canary-by-header-value: DoCanary",
            vec![("x-canary", "never")],
            0,
            "main",
        ),
        (
            "canary-by-header: X-Canary, canary-by-header-value: DoCanary, canary-weight: '10'",
            vec![("x-canary", "otherheadervalue")],
            9,
            "canary",
        ),
        (
            "canary-by-header: X-Canary, canary-by-header-pattern: '^Do[A-Z]'",
            vec![("x-canary", "DoCanary")],
            0,
            "canary",
        ),
        (
            "canary-by-header: X-Canary, canary-by-header-pattern: '^Do[A-Z]'",
            vec![("x-canary", "Docanary")],
            0,
            "main",
        ),
        (
            "canary-by-header: X-Canary, canary-by-header-pattern: Can",
            vec![("x-canary", "DoCanary")],
            0,
            "canary",
        ),
        (
            "canary-by-header: X-Canary, canary-by-header-pattern: x, canary-by-header-value: DoCanary",
            vec![("x-canary", "x")],
            0,
            "main",
        ),
        (
            "canary-by-header: X-Canary, canary-by-header-pattern: '[', canary-weight: '100'",
            vec![("x-canary", "always")],
            0,
            "main",
        ),
        (
            "canary-by-header: X-Canary, canary-by-header-pattern: '[', canary-weight: '100'",
            vec![],
            0,
            "canary",
        ),
        ("canary-by-cookie: Canary-By", vec![("cookie", "canary-by=always")], 0, "canary"),
        ("canary-by-cookie: canary-by", vec![("cookie", "canary-by=never")], 0, "main"),
        ("canary-by-cookie: canary-by", vec![("cookie", "canary-by=badcookievalue")], 0, "main"),
        ("canary-by-cookie: canary-by, canary-weight: '100'", vec![("cookie", "canary-by=never")], 0, "main"),
        (
            "canary-by-header: X-Canary, canary-by-cookie: canary-by",
            vec![("x-canary", "never"), ("cookie", "canary-by=always")],
            0,
            "main",
        ),
        (
            "canary-by-header: X-Canary, canary-by-cookie: canary-by",
            vec![("x-canary", "other"), ("cookie", "canary-by=always")],
            0,
            "canary",
        ),
        ("canary-weight: '0'", vec![], 0, "main"),
        ("canary-weight: '1'", vec![], 0, "canary"),
        ("canary-weight: '1'", vec![], 1, "main"),
        ("canary-weight: '100'", vec![], 99, "canary"),
        ("canary-weight: '500', canary-weight-total: '1000'", vec![], 499, "canary"),
        ("canary-weight: '500', canary-weight-total: '1000'", vec![], 500, "main"),
        ("canary-weight: '20', canary-weight-total: '10'", vec![], 20, "main"),
        ("canary-weight: '-5'", vec![], 0, "main"),
        ("canary-weight: many", vec![], 0, "main"),
        ("canary-weight: '101'", vec![], 99, "canary"),
    ] {
        assert_eq!(
            canary(annotations).ask("a.example/", &headers, number),
            service,
            "{annotations} {headers:?} {number}"
        );
    }
}

#[test]
fn a_canary_needs_endpoints_and_a_rule_to_belong_to() {
    let world = canary("canary-weight: '100'");
    assert_eq!(world.get("a.example/"), "canary");
    let world = world.services("canary 80 !10.0.1.1");
    assert_eq!(world.get("a.example/"), "main", "it has no ready endpoint");
    let world = canary("canary-by-header: x-canary").services("main 80 !10.0.0.1 !10.0.0.2");
    assert_eq!(world.ask("a.example/", &[("x-canary", "always")], 0), "main", "the primary has none: 503");

    let world = TestCluster::new(
        "
metadata: {name: main, created: 2}
spec: {rules: [{host: a.example, paths: [[/x, Prefix, main], [/y, Exact, main]]}]}
---
metadata: {name: canary, created: 1, annotations: {canary: 'true', canary-weight: '100'}}
spec: {rules: [{host: a.example, paths: [[/x, ImplementationSpecific, canary], [/y, Prefix, canary], [/x, Exact, main]]}]}
---
metadata: {name: lonely, annotations: {canary: 'true', canary-weight: '100'}}
spec: {rules: [{host: b.example, paths: [[/, Prefix, canary]]}]}
---
metadata: {name: itself, annotations: {canary: 'true', canary-weight: '100'}}
spec: {rules: [{host: a.example, paths: [[/x, Prefix, main]]}]}
---
metadata: {name: bad, created: 0, annotations: {canary: 'yes', canary-weight: '100'}}
spec: {rules: [{host: a.example, paths: [[/x, Prefix, other]]}]}
---
metadata: {name: off, created: 5, annotations: {canary: 'false', canary-weight: '100'}}
spec: {rules: [{host: a.example, paths: [[/z, Prefix, zed]]}]}
",
    )
    .services("main 80 10.0.0.1\ncanary 80 10.0.1.1\nother 80 10.0.2.1");
    for (url, service) in
        [("a.example/x", "canary"), ("a.example/y", "main"), ("a.example/z", "zed"), ("b.example/", "404")]
    {
        assert_eq!(world.get(url), service, "{url}");
    }
    let problems = world.problems();
    for (ingress, words) in [
        ("canary: spec.rules[0].http.paths[1]", "no other Ingress has this path"),
        ("canary: spec.rules[0].http.paths[2]", "no other Ingress has this path"),
        ("lonely: ", "no other Ingress has this path on host b.example"),
        ("itself: ", "has the same Service"),
        ("bad: ", "\"yes\" should be true or false"),
        ("off: ", "is not true, so the other canary annotations do nothing"),
    ] {
        assert!(
            problems.iter().any(|problem| problem.contains(ingress) && problem.contains(words)),
            "{ingress} {problems:#?}"
        );
    }
}

#[test]
fn a_canary_belongs_to_its_rule_and_not_to_the_service() {
    let world = TestCluster::new(
        "
metadata: {name: main, created: 1}
spec: {rules: [{host: a.example, paths: [[/, Prefix, main]]}, {host: b.example, paths: [[/, Prefix, main]]}]}
---
metadata: {name: normal, created: 1}
spec: {rules: [{host: c.example, paths: [[/, Prefix, canary]]}]}
---
metadata: {name: one, created: 0, annotations: {canary: 'true', canary-weight: '30'}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, canary]]}]}
---
metadata: {name: two, created: 4, annotations: {canary: 'true', canary-weight: '100', canary-weight-total: '500', canary-by-header: x-two}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, second]]}]}
",
    )
    .services("main 80 10.0.0.1\ncanary 80 10.0.1.1\nsecond 80 10.0.2.1");
    // Only the first canary gets requests: that of the oldest Ingress.
    for (headers, number, service) in [
        (vec![], 29, "canary"),
        (vec![], 30, "main"),
        (vec![("x-two", "always")], 30, "main"),
        (vec![("x-two", "never")], 29, "canary"),
    ] {
        assert_eq!(world.ask("a.example/", &headers, number), service, "{headers:?} {number}");
    }
    let left_out = "Ingress default/two: spec.rules[0].http.paths[0]: only the first canary of a path takes requests, \
                    and that is default/one; it is ignored, as by ingress-nginx";
    assert_eq!(world.problems(), [left_out]);
    assert_eq!(world.ask("b.example/", &[], 0), "main");
    assert_eq!(world.ask("c.example/", &[], 0), "canary");
}

#[test]
fn the_first_canary_is_the_oldest_or_the_last_by_name() {
    let text = |canaries: &[(&str, u32, &str)]| {
        let canary = |(name, created, service): &(&str, u32, &str)| {
            format!(
                "---\nmetadata: {{name: {name}, created: {created}, annotations: {{canary: 'true', canary-weight: '100'}}}}\n\
                 spec: {{rules: [{{host: a.example, paths: [[/, Prefix, {service}]]}}]}}\n"
            )
        };
        let main = "metadata: {name: main, created: 9}\nspec: {rules: [{host: a.example, paths: [[/, Prefix, main]]}]}\n";
        canaries.iter().map(canary).fold(main.to_owned(), |text, canary| text + &canary)
    };
    let services = "main 80 10.0.0.1\none 80 10.0.1.1\ntwo 80 10.0.2.1\nnone 80 !10.0.3.1";
    for (canaries, service) in [
        (&[("a", 2, "one"), ("b", 1, "two")][..], "two"),
        (&[("a", 1, "one"), ("b", 1, "two")], "two"),
        // A canary with the Service of the rule does not count; one without endpoints does, but gets no requests.
        (&[("a", 1, "main"), ("b", 2, "two")], "two"),
        (&[("a", 1, "none"), ("b", 2, "two")], "main"),
    ] {
        let world = TestCluster::new(&text(canaries)).services(services);
        assert_eq!(world.get("a.example/"), service, "{canaries:?}");
    }
}

#[test]
fn a_canary_of_the_catch_all() {
    let world = TestCluster::new(
        "
metadata: {name: main, created: 1}
spec: {defaultBackend: main}
---
metadata: {name: canary, created: 2, annotations: {canary: 'true', canary-weight: '100'}}
spec: {defaultBackend: canary}
",
    )
    .services("main 80 10.0.0.1\ncanary 80 10.0.1.1");
    assert_eq!(world.get("any.example/x"), "canary");
}

/// One rule `/shop` with these annotations, and one without on another Ingress.
fn sticky(annotations: &str) -> TestCluster {
    let text = format!(
        "
metadata: {{name: main, created: 1, annotations: {{affinity: cookie, session-cookie-name: route, {annotations}}}}}
spec: {{rules: [{{host: a.example, paths: [[/shop, Prefix, main]]}}]}}
---
metadata: {{name: other, created: 2}}
spec: {{rules: [{{host: a.example, paths: [[/ws, Prefix, main]]}}]}}
"
    );
    TestCluster::new(&text).services("main 80 10.0.0.1 10.0.0.2 10.0.0.3")
}

fn backend_key(name: &str) -> String {
    hex::encode(md5(&[&hex::encode(md5(&[name])), name]))
}

/// Computed with Python's hashlib from the formulas of `sticky.lua` and `nodemap.lua`.
#[test]
fn keys_are_those_of_ingress_nginx() {
    assert_eq!(backend_key("default-main-80"), "957a06c9a3ef749d325208ab81e62dde");
    assert_eq!(hex::encode(md5(&["default-main-80", "10.0.0.2:8080"])), "165644e4ee46ef250f15d00c21a995e9");
}

#[test]
fn a_balanced_cookie_is_a_key_on_the_ring() {
    let world = sticky("session-cookie-path: /");
    let mut draw = FixedBalancer::number(41);
    let (endpoint, cookie) = world.pick(&get("a.example/shop/x", &[]), &[], &mut draw);
    let key = "1594287613.345.7.42";
    let value = format!("{key}|{}", backend_key("default-main-80"));
    assert_eq!(cookie, format!("route={value}; Path=/; HttpOnly"));
    // The cookie selects the same endpoint and is not set again. Any other value also selects an endpoint.
    let with = |value: &str| get("a.example/shop", &[("cookie", &format!("x=1; route={value}"))]);
    assert_eq!(world.pick(&with(&value), &[], &mut draw), (endpoint.clone(), String::new()));
    assert_eq!(world.pick(&with(key), &[], &mut draw), (endpoint.clone(), String::new()));
    assert_eq!(world.pick(&with("made-up|x"), &[], &mut draw).1, "");
    // Other rules of the Service use the cookie and set none.
    let elsewhere = get("a.example/ws", &[("cookie", &format!("route={value}"))]);
    assert_eq!(world.pick(&elsewhere, &[], &mut draw), (endpoint.clone(), String::new()));
    assert_eq!(world.pick(&get("a.example/ws", &[]), &[], &mut draw).1, "");
    // A failed endpoint is tried again, and the session stays with it.
    assert_eq!(world.pick(&with(&value), &[&endpoint], &mut draw), (endpoint.clone(), String::new()));
    let moving = sticky("session-cookie-change-on-failure: 'true'");
    let numbers: HashSet<_> = (0..50)
        .map(|number| moving.pick(&with(&value), &[&endpoint], &mut FixedBalancer::number(number)))
        .map(|(next, cookie)| (next != endpoint, cookie.starts_with("route=15942876")))
        .collect();
    assert_eq!(numbers, HashSet::from([(true, true)]));
}

#[test]
fn a_persistent_cookie_identifies_its_endpoint() {
    let world = sticky("affinity-mode: persistent");
    let mut draw = FixedBalancer::number(1);
    let (endpoint, cookie) = world.pick(&get("https://a.example/shop", &[]), &[], &mut draw);
    assert_eq!(endpoint, "10.0.0.2:8080");
    let key = hex::encode(md5(&["default-main-80", "10.0.0.2:8080"]));
    let value = format!("{key}|{}", backend_key("default-main-80"));
    assert_eq!(cookie, format!("route={value}; Path=/shop; Secure; HttpOnly"));
    let with = |value: &str| get("a.example/shop", &[("cookie", &format!("route={value}"))]);
    assert_eq!(world.pick(&with(&value), &[], &mut draw), (endpoint.clone(), String::new()));
    // More endpoints move no session. If its endpoint is removed, a client gets another one and a new cookie.
    let world = world.services("main 80 10.0.0.0 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4");
    assert_eq!(world.pick(&with(&value), &[], &mut draw), (endpoint, String::new()));
    let world = world.services("main 80 10.0.0.8 10.0.0.9");
    let (endpoint, cookie) = world.pick(&with(&value), &[], &mut draw);
    assert_eq!(endpoint, "10.0.0.9:8080");
    assert!(cookie.starts_with("route="), "{cookie}");
    assert!(world.pick(&with("unknown"), &[], &mut draw).1.starts_with("route="));
}

#[test]
fn a_session_stays_with_its_side_of_a_canary() {
    // With `legacy`, neither the canary's own affinity nor that of its Service makes it sticky.
    let text = |behavior: &str| {
        format!(
            "
metadata: {{name: main, created: 1, annotations: {{affinity: cookie}}}}
spec: {{rules: [{{host: a.example, paths: [[/, Prefix, main]]}}]}}
---
metadata: {{name: canary, created: 2, annotations: {{canary: 'true', canary-by-header: x-canary, canary-weight: '50'{behavior}}}}}
spec: {{rules: [{{host: a.example, paths: [[/, Prefix, canary]]}}]}}
"
        )
    };
    let services = "main 80 10.0.0.1 10.0.0.2\ncanary 80 10.0.1.1 10.0.1.2";
    let cookie = |name: &str| format!("INGRESSCOOKIE=key|{}", backend_key(name));
    for (behavior, bound, header, number, service) in [
        ("", "default-main-80", "always", 0, "main"),
        ("", "default-main-80", "none", 0, "main"),
        ("", "default-canary-80", "never", 99, "canary"),
        ("", "default-other-80", "never", 0, "main"),
        ("", "default-other-80", "none", 0, "canary"),
        (", affinity-canary-behavior: legacy", "default-main-80", "always", 0, "main"),
        (", affinity-canary-behavior: legacy", "default-canary-80", "never", 99, "main"),
        (", affinity-canary-behavior: legacy", "default-canary-80", "none", 0, "canary"),
        (", affinity: cookie, affinity-canary-behavior: legacy", "default-canary-80", "never", 99, "main"),
    ] {
        let world = TestCluster::new(&text(behavior)).services(services);
        let headers = [("cookie", &*cookie(bound)), ("x-canary", header)];
        assert_eq!(world.ask("a.example/", &headers, number), service, "{behavior} {bound} {header}");
    }
    let always = get("a.example/", &[("x-canary", "always")]);
    let sets = |world: TestCluster| world.pick(&always, &[], &mut FixedBalancer::number(0)).1;
    assert!(sets(TestCluster::new(&text("")).services(services)).contains(&backend_key("default-canary-80")));
    for legacy in
        [", affinity-canary-behavior: legacy", ", affinity: cookie, affinity-canary-behavior: legacy"]
    {
        assert_eq!(sets(TestCluster::new(&text(legacy)).services(services)), "", "{legacy}");
    }
}

#[test]
fn endpoints_are_used_in_turn_and_failed_ones_are_skipped() {
    let world = TestCluster::new(
        "metadata: {name: x}\nspec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}\n",
    )
    .services("web 80 10.0.0.2 10.0.0.1 !10.0.0.3 fd00::1 10.0.0.1");
    let exchange = get("a.example/", &[]);
    let mut draw = FixedBalancer::number(0);
    let mut next = |tried: &[&str]| world.pick(&exchange, tried, &mut draw).0;
    assert_eq!(
        [next(&[]), next(&[]), next(&[]), next(&[])],
        ["10.0.0.1:8080", "10.0.0.2:8080", "[fd00::1]:8080", "10.0.0.1:8080"]
    );
    assert_eq!(next(&["10.0.0.2:8080"]), "[fd00::1]:8080");
    assert_eq!(next(&["[fd00::1]:8080"]), "10.0.0.1:8080");
    assert_eq!(next(&["10.0.0.1:8080", "10.0.0.2:8080", "[fd00::1]:8080"]), "10.0.0.1:8080");
}
