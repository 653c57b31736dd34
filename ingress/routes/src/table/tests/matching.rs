//! Host, path and precedence: which rule a request matches.

use super::*;
use crate::upstream::DEFAULT_UPSTREAM;

#[test]
fn an_exact_path_matches_first_then_the_longest_prefix() {
    // [pathtype_exact, pathtype_prefix, pathtype_mixed]
    let world = TestCluster::new(
        "
metadata: {name: exact}
spec:
  rules:
  - host: shop.example
    paths:
    - [/exact, Exact, exact]
    - [/aaa, Prefix, aaa]
    - [/aaa/bbb, Prefix, bbb]
    - [/aaa/bbb, Exact, bbb-exact]
    - [/loose, ImplementationSpecific, loose]
    - [/foo.bar, Prefix, dot]
",
    );
    check(
        &world,
        &[
            ("shop.example/exact", "exact"),
            ("shop.example/exact/", "404"),
            ("shop.example/EXACT", "404"),
            ("shop.example/exact?x=1", "exact"),
            ("shop.example/aaa", "aaa"),
            ("shop.example/aaa/", "aaa"),
            ("shop.example/aaa/ccc", "aaa"),
            ("shop.example/aaaccc", "404"),
            ("shop.example/AAA", "404"),
            ("shop.example/aaa/bbb", "bbb-exact"),
            ("shop.example/aaa/bbb/", "bbb"),
            ("shop.example/aaa/bbb/ccc", "bbb"),
            ("shop.example/aaa/bbbccc", "aaa"),
            ("shop.example/loose/x", "loose"),
            ("shop.example/foo.bar", "dot"),
            ("shop.example/fooxbar", "404"),
            ("shop.example/", "404"),
            ("shop.example//aaa//bbb/./ccc", "bbb"),
            ("shop.example/%61aa/../exact", "exact"),
            ("SHOP.example.:8080/exact", "exact"),
        ],
    );
}

#[test]
fn a_rule_that_ends_in_a_slash_redirects_to_it() {
    let world = TestCluster::new(
        "
metadata: {name: slash}
spec:
  rules:
  - host: shop.example
    paths:
    - [/foo/, Prefix, foo]
    - [/bar/, Exact, bar]
    - [/both, Exact, both]
    - [/both/, Prefix, both-below]
    - [/caf\u{e9} 1/, Prefix, cafe]
",
    );
    check(
        &world,
        &[
            ("shop.example/foo", "301 http://shop.example/foo/"),
            ("shop.example:8080/foo?a=b", "301 http://shop.example/foo/?a=b"),
            ("https://shop.example/foo", "301 https://shop.example/foo/"),
            ("shop.example/foo/", "foo"),
            ("shop.example/foo/x", "foo"),
            ("shop.example/foox", "404"),
            ("shop.example/bar", "301 http://shop.example/bar/"),
            ("shop.example/bar/", "bar"),
            ("shop.example/bar/x", "404"),
            ("shop.example/both", "both"),
            ("shop.example/both/x", "both-below"),
            ("shop.example/caf%C3%A9%201", "301 http://shop.example/caf%C3%A9%201/"),
        ],
    );
}

#[test]
fn hosts_do_not_fall_back() {
    // [without_host, multiple_rules, conformance host rules]
    let world = TestCluster::new(
        "
metadata: {name: hosts}
spec:
  rules:
  - {host: foo.example, paths: [[/x, Prefix, foo]]}
  - {host: '*.foo.example', paths: [[/, Prefix, wild]]}
  - {paths: [[/, Prefix, rest]]}
",
    );
    check(
        &world,
        &[
            ("foo.example/x", "foo"),
            ("foo.example/", "404"),
            ("bar.foo.example/", "wild"),
            ("a.bar.foo.example/", "rest"),
            (".foo.example/", "rest"),
            ("other.example/", "rest"),
            ("192.0.2.1/x", "rest"),
        ],
    );
}

#[test]
fn the_default_backend_gets_requests_that_no_rule_covers() {
    // [default_backend, custom_default_backend, with_hosts]
    let rule = "
metadata: {name: hosts}
spec:
  rules:
  - {host: foo.example, paths: [[/x, Prefix, foo]]}
";
    check(&TestCluster::new(rule), &[("foo.example/", "404"), ("other.example/", "404")]);
    let options = RouteOptions {
        watch_ingress_without_class: true,
        default_backend_service: Some(Key::new("default", "fallback")),
        ..RouteOptions::default()
    };
    let world = TestCluster::with(options, rule);
    check(&world, &[("foo.example/", "fallback"), ("other.example/", "fallback"), ("foo.example/x", "foo")]);
    let table = world.table.load();
    assert_eq!(table.find("other.example", "/").route().upstream_name(), DEFAULT_UPSTREAM);
}

#[test]
fn a_default_backend_of_an_ingress_covers_its_hosts_or_the_rest() {
    let world = TestCluster::new(
        "
metadata: {name: own, created: 1}
spec:
  defaultBackend: own
  rules:
  - {host: foo.example, paths: [[/x, Prefix, foo]]}
---
metadata: {name: second, created: 2}
spec:
  defaultBackend: second
  rules:
  - {host: foo.example, paths: [[/y, Prefix, why]]}
---
metadata:
  name: rest
  created: 3
  annotations: {permanent-redirect: 'https://example.org/', rewrite-target: /x, app-root: /y, force-ssl-redirect: 'true'}
spec: {defaultBackend: rest}
---
metadata: {name: late, created: 4}
spec: {defaultBackend: late}
---
metadata: {name: host-less, created: 0}
spec:
  rules:
  - {paths: [[/, Prefix, never], [/z, Prefix, zed]]}
",
    );
    check(
        &world,
        &[
            ("foo.example/", "own"),
            ("foo.example/y", "why"),
            ("other.example/", "rest"),
            ("other.example/a", "rest"),
            ("other.example/z", "zed"),
        ],
    );
    let options = RouteOptions {
        watch_ingress_without_class: true,
        disable_catch_all: true,
        ..RouteOptions::default()
    };
    // [disable_catch_all]
    let world = TestCluster::with(
        options,
        "
metadata: {name: with-rules}
spec:
  defaultBackend: own
  rules:
  - {host: foo.example, paths: [[/x, Prefix, foo]]}
---
metadata: {name: host-less}
spec:
  rules:
  - {paths: [[/z, Prefix, zed]]}
",
    );
    check(&world, &[("foo.example/x", "404"), ("other.example/z", "zed")]);
    assert!(world.problems()[0].contains("--disable-catch-all"), "{:?}", world.problems());
}

#[test]
fn a_path_belongs_to_the_oldest_ingress() {
    let world = TestCluster::new(
        "
metadata: {name: young, created: 9}
spec:
  rules:
  - {host: foo.example, paths: [[/x, Prefix, young], [/x, Exact, exact]]}
---
metadata: {name: old, created: 1}
spec:
  rules:
  - {host: foo.example, paths: [[/x, ImplementationSpecific, old]]}
",
    );
    check(&world, &[("foo.example/x/y", "old"), ("foo.example/x", "exact")]);
    assert_eq!(
        world.problems(),
        [
            "Ingress default/young: spec.rules[0].http.paths[0]: host foo.example and path /x belong to default/old, \
              which is older; it is ignored, as by ingress-nginx"
        ]
    );
}

#[test]
fn the_report_of_a_conflicting_rule_names_the_owner_of_the_path() {
    let world = TestCluster::new(
        "
metadata: {name: b, created: 5}
spec: {rules: [{host: foo.example, paths: [[/x, Prefix, one], [/x, ImplementationSpecific, two]]}]}
---
metadata: {name: a, created: 5}
spec: {rules: [{host: foo.example, paths: [[/x, Prefix, three]]}]}
---
metadata: {name: host-less, created: 1}
spec: {rules: [{paths: [[/, Prefix, four]]}]}
---
metadata: {name: rest, created: 9}
spec: {defaultBackend: five}
---
metadata: {name: late, created: 10}
spec: {defaultBackend: six}
",
    );
    check(&world, &[("foo.example/x", "one"), ("other.example/", "five")]);
    assert_eq!(
        world.problems(),
        [
            "Ingress default/a: spec.rules[0].http.paths[0]: host foo.example and path /x belong to default/b, which \
             comes first; it is ignored, as by ingress-nginx",
            "Ingress default/b: spec.rules[0].http.paths[1]: host foo.example and path /x occur earlier in \
             this Ingress; it is ignored, as by ingress-nginx",
            "Ingress default/host-less: spec.rules[0].http.paths[0]: host _ and path / belong to default/rest, which \
             comes first; it is ignored, as by ingress-nginx",
            "Ingress default/late: spec.defaultBackend: host _ and path / belong to default/rest, which is older; it \
             is ignored, as by ingress-nginx",
        ]
    );
}

#[test]
fn the_implicit_root_has_the_annotations_of_the_first_ingress() {
    let world = TestCluster::new(
        "
metadata: {name: first, created: 1, annotations: {permanent-redirect: 'https://example.org/'}}
spec:
  rules:
  - {host: foo.example, paths: [[/x, Prefix, foo]]}
---
metadata: {name: second, created: 2}
spec:
  rules:
  - {host: foo.example, paths: [[/y, Prefix, why]]}
---
metadata: {name: none, created: 1, annotations: {force-ssl-redirect: 'true'}}
spec:
  rules:
  - {host: bar.example}
",
    );
    check(
        &world,
        &[
            ("foo.example/", "301 https://example.org/"),
            ("foo.example/y", "why"),
            ("bar.example/z", "308 https://bar.example/z"),
            ("https://bar.example/z", "404"),
        ],
    );
}

#[test]
fn a_redirect_to_https_has_the_port_if_it_is_not_443() {
    let options = RouteOptions {
        watch_ingress_without_class: true,
        port_in_redirects: Some(8443),
        ..RouteOptions::default()
    };
    let world = TestCluster::with(
        options,
        "
metadata: {name: shop, annotations: {force-ssl-redirect: 'true'}}
spec:
  rules:
  - {host: shop.example, paths: [[/, Prefix, web]]}
",
    );
    check(
        &world.services("web 80:http 10.0.0.1"),
        &[("shop.example:8080/a?b", "308 https://shop.example:8443/a?b")],
    );
}

#[test]
fn annotations_change_the_location_of_redirects() {
    let world = TestCluster::with(
        RouteOptions {
            watch_ingress_without_class: true,
            http_port: 8080,
            https_port: 8443,
            ..RouteOptions::default()
        },
        "
metadata: {name: slash, annotations: {force-ssl-redirect: 'true', preserve-trailing-slash: 'true'}}
spec: {rules: [{host: slash.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: port, annotations: {force-ssl-redirect: 'true', use-port-in-redirects: 'true'}}
spec: {rules: [{host: port.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: relative, annotations: {permanent-redirect: /new, relative-redirects: 'true'}}
spec: {rules: [{host: relative.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: path, annotations: {permanent-redirect: /new, use-port-in-redirects: 'true'}}
spec: {rules: [{host: path.example, paths: [[/, Prefix, web], [/dir/, Prefix, web]]}]}
---
metadata: {name: dir, annotations: {relative-redirects: 'true'}}
spec: {rules: [{host: dir.example, paths: [[/dir/, Prefix, web]]}]}
",
    );
    check(
        &world.services("web 80:http 10.0.0.1"),
        &[
            ("slash.example/a/?b", "308 https://slash.example/a/?b"),
            ("slash.example/a/", "308 https://slash.example/a/"),
            ("slash.example/", "308 https://slash.example/"),
            ("port.example/a/", "308 https://port.example:8443/a"),
            ("relative.example/old", "301 /new"),
            ("path.example:81/old", "301 http://path.example:8080/new"),
            ("https://path.example/old", "301 https://path.example:8443/new"),
            ("path.example/dir?q", "301 http://path.example:8080/dir/?q"),
            ("dir.example/dir", "301 /dir/"),
            ("dir.example/dir?q", "301 /dir/?q"),
        ],
    );
}

#[test]
fn a_resource_backend_is_reported_and_other_paths_cover_its_path() {
    // [service_nil_backend, and observed with ingress-nginx 1.15.1]
    let world = TestCluster::new(
        "
metadata: {name: bucket}
spec:
  defaultBackend: resource=StorageBucket/rest
  rules:
  - {host: foo.example, paths: [[/, Prefix, web], [/static, Prefix, resource=StorageBucket/static]]}
  - {host: bar.example, paths: [[/static, Prefix, resource=StorageBucket/static]]}
  - {host: baz.example, paths: [[/a, Exact, resource=StorageBucket/a], [/a, Prefix, web]]}
---
metadata: {name: root}
spec:
  defaultBackend: rest
  rules:
  - {host: root.example, paths: [[/, Prefix, resource=StorageBucket/root]]}
---
metadata: {name: second, created: 2}
spec:
  rules:
  - {host: foo.example, paths: [[/static, Exact, resource=StorageBucket/file], [/static, Prefix, files]]}
",
    );
    check(
        &world,
        &[
            ("foo.example/", "web"),
            ("foo.example/static/x", "files"),
            ("bar.example/static/x", "404"),
            ("baz.example/a", "web"),
            ("root.example/x", "rest"),
        ],
    );
    let cannot = "cannot be served, only Services can; it is ignored, as by ingress-nginx";
    let expected = [
        ("bucket", "spec.defaultBackend", "StorageBucket/rest"),
        ("bucket", "spec.rules[0].http.paths[1]", "StorageBucket/static"),
        ("bucket", "spec.rules[1].http.paths[0]", "StorageBucket/static"),
        ("bucket", "spec.rules[2].http.paths[0]", "StorageBucket/a"),
        ("root", "spec.rules[0].http.paths[0]", "StorageBucket/root"),
        ("second", "spec.rules[0].http.paths[0]", "StorageBucket/file"),
    ];
    let expected = expected.map(|(name, field, resource)| {
        format!("Ingress default/{name}: {field}: a resource backend ({resource}) {cannot}")
    });
    assert_eq!(world.problems(), expected);
}

#[test]
fn a_change_of_one_path_shares_the_routes_of_the_others() {
    for annotation in ["ssl-redirect: 'false'", "rewrite-target: /$1"] {
        let shop = |n: usize, service: &str| {
            format!(
                "metadata: {{name: shop-{n}, created: {n}, annotations: {{{annotation}}}}}\n\
                 spec: {{rules: [{{host: a.example, paths: [['/shop-{n}/(.*)', Prefix, {service}]]}}]}}\n"
            )
        };
        let mut world = TestCluster::new(&(0..40).map(|n| shop(n, "web")).collect::<Vec<_>>().join("---\n"));
        let before = world.table.load_full();
        world.apply(
            manifests(&shop(17, "other")).into_iter().map(|ingress| Object::Ingress(Arc::new(ingress))),
        );
        let after = world.table.load_full();
        for n in 0..40 {
            let [before, after] = [&before, &after].map(|table| {
                let path = if annotation.starts_with("rewrite") { "x" } else { "(.*)" };
                table.find("a.example", &format!("/shop-{n}/{path}")).route().clone()
            });
            assert_eq!(
                Arc::ptr_eq(&before, &after),
                n != 17,
                "{annotation}: {} and {}",
                before.path,
                after.path
            );
            assert_eq!(before.path, format!("/shop-{n}/(.*)"));
        }
    }
}

#[test]
fn a_canary_without_a_primary_rule_hides_no_other_path() {
    let world = TestCluster::new(
        "
metadata: {name: main}
spec: {rules: [{host: a.example, paths: [[/b/, Exact, exact], [/c, Prefix, prefix], [/d, Prefix, below]]}]}
---
metadata: {name: unmatched_canary, annotations: {canary: 'true'}}
spec: {rules: [{host: a.example, paths: [[/b/, Prefix, x], [/c, Exact, x], [/d/, Prefix, x], [/d/e, Prefix, x]]}]}
",
    );
    check(
        &world,
        &[
            ("a.example/b", "301 http://a.example/b/"),
            ("a.example/b/", "exact"),
            ("a.example/c", "prefix"),
            ("a.example/d", "below"),
            ("a.example/d/e/f", "below"),
        ],
    );
}
