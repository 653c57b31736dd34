//! Further names of hosts: aliases, and redirects from and to `www.`.

use super::*;

#[test]
fn an_alias_leads_to_the_host_unless_another_ingress_has_the_name() {
    // [annotations/alias.go]
    let world = TestCluster::new(
        "
metadata: {name: foo, annotations: {server-alias: 'Bar.example, taken.example ,foo.example, *.wild.example,b c'}}
spec: {rules: [{host: foo.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: also, annotations: {server-alias: late.example}}
spec: {rules: [{host: foo.example, paths: [[/two, Prefix, two]]}]}
---
metadata: {name: taken}
spec: {rules: [{host: taken.example, paths: [[/own, Prefix, own]]}]}
---
metadata: {name: zoo, annotations: {server-alias: 'bar.example,zoo.test'}}
spec: {rules: [{host: zoo.example, paths: [[/, Prefix, zoo]]}]}
---
metadata: {name: canary, annotations: {canary: 'true', server-alias: canary.example}}
spec: {rules: [{host: zoo.example, paths: [[/, Prefix, other]]}]}
---
metadata: {name: root, annotations: {server-alias: root.example}}
spec: {rules: [{paths: [[/, Prefix, rest]]}]}
",
    );
    check(
        &world,
        &[
            ("bar.example/", "web"),
            ("bar.example/two", "two"),
            ("BAR.example.:80/", "web"),
            ("taken.example/", "404"),
            ("taken.example/own", "own"),
            ("a.wild.example/", "web"),
            ("b.a.wild.example/", "rest"),
            ("late.example/", "rest"),
            ("zoo.test/", "zoo"),
            ("canary.example/", "rest"),
            ("root.example/", "rest"),
        ],
    );
    let problems = world.problems();
    for part in [
        "default/foo: server-alias: host taken.example has rules of its own; it is ignored, as by ingress-nginx",
        "default/foo: nginx.ingress.kubernetes.io/server-alias: \"b c\" is not a DNS name, nor a wildcard such as *.example.com; it is left out",
        "default/zoo: server-alias: bar.example leads to host foo.example already; it is ignored, as by ingress-nginx",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(part)), "{part}: {problems:#?}");
    }
}

#[test]
fn a_name_goes_to_the_next_host_that_asks_for_it() {
    let mut world = TestCluster::new(
        "
metadata: {name: a, annotations: {server-alias: x.example}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, a]]}]}
---
metadata: {name: b, annotations: {server-alias: x.example}}
spec: {rules: [{host: b.example, paths: [[/, Prefix, b]]}]}
",
    );
    assert_eq!(world.get("x.example/"), "a");
    world.remove(Kind::Ingress, Key::new("default", "a"));
    assert_eq!(world.get("x.example/"), "b");
    world.remove(Kind::Ingress, Key::new("default", "b"));
    assert_eq!(world.get("x.example/"), "404");
}

#[test]
fn the_counterpart_with_or_without_www_redirects_to_the_host() {
    // [annotations/fromtowwwredirect.go]
    let options = RouteOptions {
        watch_ingress_without_class: true,
        http_port: 8080,
        https_port: 8443,
        ..RouteOptions::default()
    };
    let world = TestCluster::with(
        options,
        "
metadata: {name: bare, annotations: {from-to-www-redirect: 'true', app-root: /app, force-ssl-redirect: 'true'}}
spec: {rules: [{host: bare.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: www, annotations: {from-to-www-redirect: 'true'}}
spec: {rules: [{host: www.w.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: both, annotations: {from-to-www-redirect: 'true', server-alias: alias.example}}
spec:
  rules:
  - {host: both.example, paths: [[/, Prefix, web]]}
  - {host: www.both.example, paths: [[/, Prefix, own]]}
  - {host: '*.wild.example', paths: [[/, Prefix, wild]]}
---
metadata: {name: alias, annotations: {server-alias: www.bare.example}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, a]]}]}
",
    );
    check(
        &world,
        &[
            ("www.bare.example/a/?b=/", "308 http://bare.example:8080/a/?b="),
            ("www.bare.example/", "308 http://bare.example:8080"),
            ("https://www.bare.example/a/b?x=1", "308 https://bare.example:8443/a/b?x=1"),
            ("w.example/a/b?x=1", "308 http://www.w.example:8080/a/b?x=1"),
            ("www.w.example/a", "web"),
            ("www.both.example/", "own"),
            ("www.alias.example/", "404"),
            ("a.wild.example/", "wild"),
        ],
    );
}

#[test]
fn the_status_of_the_redirect_to_the_host_is_http_redirect_code() {
    let mut world = TestCluster::configured(
        "
metadata: {name: bare, annotations: {from-to-www-redirect: 'true'}}
spec: {rules: [{host: bare.example, paths: [[/, Prefix, web]]}]}
",
    );
    world.configure(&[("http-redirect-code", "301")]);
    check(&world, &[("www.bare.example/a", "301 http://bare.example:80/a")]);
    world.configure(&[]);
    check(&world, &[("www.bare.example/a", "308 http://bare.example:80/a")]);
}
