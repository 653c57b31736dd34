//! Manifests, requests, outcomes. Names in brackets are the files of ingress-nginx's e2e suite the cases come from.

use cluster::Object;
use cluster::testing::{histories, hold};
use proptest::prelude::{ProptestConfig, proptest};

use super::*;
use crate::testing::{World, class, manifests};

fn check(world: &World, rows: &[(&str, &str)]) {
    for (url, outcome) in rows {
        assert_eq!(world.get(url), *outcome, "{url}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn advancing_equals_building(history in histories()) {
        let options = Options { watch_ingress_without_class: true, ..Options::default() };
        hold(|| TableIndex::new(options.clone()), history);
    }

    #[test]
    fn advancing_equals_building_by_class(history in histories()) {
        hold(|| TableIndex::new(Options::default()), history);
    }
}

#[test]
fn exact_wins_then_the_longest_prefix() {
    // [pathtype_exact, pathtype_prefix, pathtype_mixed]
    let world = World::new(
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
    let world = World::new(
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
    let world = World::new(
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
            ("foo..example/", "rest"),
            ("other.example/", "rest"),
            ("192.0.2.1/x", "rest"),
        ],
    );
}

#[test]
fn the_default_backend_answers_what_nobody_does() {
    // [default_backend, custom_default_backend, with_hosts]
    let rule = "
metadata: {name: hosts}
spec:
  rules:
  - {host: foo.example, paths: [[/x, Prefix, foo]]}
";
    check(&World::new(rule), &[("foo.example/", "404"), ("other.example/", "404")]);
    let options = Options {
        watch_ingress_without_class: true,
        default_backend_service: Some(Key::new("default", "fallback")),
        ..Options::default()
    };
    let world = World::with(options, rule);
    check(&world, &[("foo.example/", "fallback"), ("other.example/", "fallback"), ("foo.example/x", "foo")]);
    let table = world.table.load();
    assert_eq!(table.find("other.example", "/").route().upstream_name(), DEFAULT_UPSTREAM);
}

#[test]
fn a_default_backend_of_an_ingress_covers_its_hosts_or_the_rest() {
    let world = World::new(
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
    let options =
        Options { watch_ingress_without_class: true, disable_catch_all: true, ..Options::default() };
    // [disable_catch_all]
    let world = World::with(
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
fn the_oldest_ingress_has_the_path() {
    let world = World::new(
        "
metadata: {name: young, created: 9}
spec:
  rules:
  - {host: foo.example, paths: [[/x, Prefix, young], [/x, Exact, exact]]}
---
metadata: {name: old, created: 1}
spec:
  rules:
  - {host: Foo.Example, paths: [[/x, ImplementationSpecific, old]]}
",
    );
    check(&world, &[("foo.example/x/y", "old"), ("foo.example/x", "exact")]);
    assert_eq!(
        world.problems(),
        [
            "Ingress default/young: spec.rules[0].http.paths[0]: host foo.example and path /x belong to default/old, \
              which is older; it is left out"
        ]
    );
}

#[test]
fn the_implicit_root_carries_the_annotations_of_the_first_ingress() {
    let world = World::new(
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
fn a_resource_backend_is_refused_aloud() {
    // [service_nil_backend]
    let world = World::new(
        "
metadata: {name: bucket}
spec:
  rules:
  - {host: foo.example, paths: [[/, Prefix, web], [/static, Prefix, resource=StorageBucket/static]]}
",
    );
    check(&world, &[("foo.example/", "web"), ("foo.example/static/x", "404")]);
    assert_eq!(
        world.problems(),
        [
            "Ingress default/bucket: spec.rules[0].http.paths[1]: a resource backend (StorageBucket/static) cannot be \
          served, only Services can; the route answers 404"
        ]
    );
}

#[test]
fn one_regular_expression_makes_all_paths_of_a_host_such() {
    // [rewrite.go and the documented surprises]
    let world = World::new(
        "
metadata: {name: plain, created: 1}
spec:
  rules:
  - host: foo.example
    paths:
    - [/Exact, Exact, exact]
    - [/pre, Prefix, pre]
    - [/pre/slash/, Prefix, slash]
    - [/, Prefix, root]
---
metadata: {name: regex, created: 2, annotations: {use-regex: 'true'}}
spec:
  rules:
  - host: foo.example
    paths:
    - ['/v[0-9]+/.*', ImplementationSpecific, version]
    - ['/v[0-9]', ImplementationSpecific, short]
    - ['/(?!private)[a-z]+/look', ImplementationSpecific, look]
---
metadata: {name: other, created: 3}
spec:
  rules:
  - {host: bar.example, paths: [[/Exact, Exact, exact]]}
",
    );
    check(
        &world,
        &[
            ("foo.example/Exact", "exact"),
            ("foo.example/exact/and/more", "exact"),
            ("foo.example/prefix", "pre"),
            ("foo.example/PRE/x", "pre"),
            ("foo.example/pre/slash", "pre"),
            ("foo.example/pre/slash/x", "slash"),
            ("foo.example/v12/x", "version"),
            ("foo.example/v12", "short"),
            ("foo.example/public/look", "look"),
            ("foo.example/private/look", "root"),
            ("foo.example/other", "root"),
            ("bar.example/exact", "404"),
        ],
    );
}

#[test]
fn targets_are_rewritten() {
    // [rewrite.go]
    let world = World::new(
        "
metadata: {name: groups, annotations: {rewrite-target: /$2}}
spec:
  rules:
  - {host: groups.example, paths: [['/something(/|$)(.*)', ImplementationSpecific, web]]}
---
metadata: {name: fixed, annotations: {rewrite-target: /new/backend}}
spec:
  rules:
  - {host: fixed.example, paths: [['/foo/bar/[a-z]{3}', ImplementationSpecific, web], [/, Prefix, web]]}
---
metadata: {name: same, annotations: {rewrite-target: /}}
spec:
  rules:
  - {host: same.example, paths: [[/, Prefix, web]]}
---
metadata: {name: away, annotations: {rewrite-target: 'https://example.org/$1'}}
spec:
  rules:
  - {host: away.example, paths: [['/go/(.*)', ImplementationSpecific, web]]}
---
metadata: {name: loose, annotations: {rewrite-target: $1}}
spec:
  rules:
  - {host: loose.example, paths: [['/api(/.*)?', ImplementationSpecific, web]]}
",
    );
    check(
        &world,
        &[
            ("groups.example/something", "web /"),
            ("groups.example/something/", "web /"),
            ("groups.example/SOMETHING/New", "web /New"),
            ("groups.example/something/new?a=b&c", "web /new?a=b&c"),
            ("groups.example/something/a%20b%2Fc", "web /a%20b/c"),
            ("groups.example/something/%E9%C3%A9", "web /%E9%C3%A9"),
            ("groups.example/other", "404"),
            ("fixed.example/foo/bar/xyz", "web /new/backend"),
            ("fixed.example/else", "web /new/backend"),
            ("same.example/anything", "web"),
            ("away.example/go/x?y", "302 https://example.org/x?y"),
            ("loose.example/api", "web /"),
            ("loose.example/api/x", "web /x"),
        ],
    );
}

#[test]
fn a_bad_regular_expression_closes_its_route_only() {
    let world = World::new(
        "
metadata: {name: bad, annotations: {use-regex: 'true'}}
spec:
  rules:
  - host: foo.example
    paths:
    - ['/admin/(.*', ImplementationSpecific, admin]
    - ['/(', ImplementationSpecific, odd]
    - [/good, ImplementationSpecific, good]
    - [/, Prefix, root]
",
    );
    check(
        &world,
        &[
            ("foo.example/admin/x", "503"),
            ("foo.example/good", "good"),
            ("foo.example/anything", "root"),
            ("foo.example/(", "503"),
        ],
    );
    let problems = world.problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].contains("is no regular expression"), "{problems:?}");
}

#[test]
fn redirects_win_in_their_order() {
    // [redirect.go, approot.go, forcesslredirect.go, http_redirect.go, relativeredirects.go]
    let world = World::new(
        "
metadata: {name: permanent, annotations: {permanent-redirect: 'http://redirect.example/p?q=1'}}
spec: {rules: [{host: p.example, paths: [[/, Prefix, web]]}], tls: [{hosts: [p.example]}]}
---
metadata: {name: code, annotations: {permanent-redirect: /something, permanent-redirect-code: '308'}}
spec: {rules: [{host: code.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: temporal, annotations: {temporal-redirect: 'https://t.example.org', permanent-redirect: /x, temporal-redirect-code: '307'}}
spec: {rules: [{host: t.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: odd, annotations: {permanent-redirect: /x, permanent-redirect-code: '500'}}
spec: {rules: [{host: odd.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: root, annotations: {app-root: /foo}}
spec: {rules: [{host: root.example, paths: [[/bar, Prefix, web]]}]}
---
metadata: {name: tls}
spec: {rules: [{host: tls.example, paths: [[/, Prefix, web], [/.well-known/acme-challenge/x, Exact, acme]]}], tls: [{hosts: [other.example], secret: missing}]}
---
metadata: {name: off, annotations: {ssl-redirect: 'false'}}
spec: {rules: [{host: off.example, paths: [[/, Prefix, web]]}], tls: [{hosts: [off.example]}]}
---
metadata: {name: force, annotations: {force-ssl-redirect: 'true'}}
spec: {rules: [{host: force.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: wild}
spec: {rules: [{host: '*.wild.example', paths: [[/, Prefix, web]]}], tls: [{hosts: ['*.wild.example']}]}
---
metadata: {name: below}
spec: {rules: [{host: a.wild.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: rest}
spec: {rules: [{paths: [[/, Prefix, rest]]}], tls: [{secret: some}]}
",
    );
    check(
        &world,
        &[
            ("p.example/a", "301 http://redirect.example/p?q=1"),
            ("code.example:8080/a", "308 http://code.example/something"),
            ("t.example/a", "307 https://t.example.org"),
            ("odd.example/a", "301 http://odd.example/x"),
            ("Root.example:8080/?a=b", "302 http://Root.example:8080/foo"),
            ("root.example/bar", "web"),
            ("tls.example/", "308 https://tls.example"),
            ("Tls.Example:80/a/?b=c/", "308 https://Tls.Example/a/?b=c"),
            ("https://tls.example/", "web"),
            ("tls.example/.well-known/acme-challenge/x", "acme"),
            ("off.example/", "web"),
            ("force.example/a/", "308 https://force.example/a"),
            ("https://force.example/a", "web"),
            ("b.wild.example/a", "308 https://b.wild.example/a"),
            ("a.wild.example/a", "308 https://a.wild.example/a"),
            ("rest.example/a", "rest"),
        ],
    );
}

#[test]
fn guards_that_are_not_honoured_yet_close_their_routes() {
    let world = World::new(
        "
metadata: {name: guarded, annotations: {auth-url: 'http://auth.example/', proxy-body-size: 8m, enable-cors: 'true', permanent-redirect: /x}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: open, annotations: {enable-modsecurity: 'false', limit-rps: '0', session-cookie-hash: sha1, proxy-body-sise: 8m}}
spec: {rules: [{host: b.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: bad, annotations: {rewrite-target: 'not a path', permanent-redirect: 'ftp://x/'}}
spec: {rules: [{host: c.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: cosmetic, annotations: {ssl-redirect: maybe, permanent-redirect-code: many, use-regex: ''}}
spec: {rules: [{host: d.example, paths: [[/, Prefix, web]]}]}
",
    );
    check(
        &world,
        &[("a.example/", "503"), ("b.example/", "web"), ("c.example/", "503"), ("d.example/", "web")],
    );
    assert_eq!(
        world.problems(),
        [
            "Ingress default/bad: nginx.ingress.kubernetes.io/permanent-redirect: \"ftp://x/\" should be an http or \
             https URL or a path; variables are not expanded in it; the routes answer 503",
            "Ingress default/bad: nginx.ingress.kubernetes.io/rewrite-target: \"not a path\" should be a path, in which \
             $1 to $9 stand for groups of the rule's path; the routes answer 503",
            "Ingress default/cosmetic: nginx.ingress.kubernetes.io/permanent-redirect-code: \"many\" should be a status \
             from 300 to 308; its default is used",
            "Ingress default/cosmetic: nginx.ingress.kubernetes.io/ssl-redirect: \"maybe\" should be true or false; its \
             default is used",
            "Ingress default/guarded: metadata.annotations: not honoured yet: enable-cors, proxy-body-size",
            "Ingress default/guarded: nginx.ingress.kubernetes.io/auth-url: is not honoured yet, and it guards \
             something; the routes answer 503",
            "Ingress default/open: nginx.ingress.kubernetes.io/proxy-body-sise: is not known; did you mean \
             proxy-body-size?",
        ]
    );
}

#[test]
fn https_answers_carry_hsts() {
    let world =
        World::new("metadata: {name: x}\nspec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}\n");
    let table = world.table.load();
    for (url, value) in [
        ("https://a.example/", Some("max-age=31536000; includeSubDomains")),
        ("https://unknown.example/", Some("max-age=31536000; includeSubDomains")),
        ("http://a.example/", None),
    ] {
        let exchange = crate::exchange::tests::get(url, &[]);
        let mut head = Answer::status(StatusCode::OK).head();
        table.find(exchange.host(), exchange.path()).route().response(&exchange, &mut head);
        let header = head.headers.get("strict-transport-security").map(|value| value.to_str().expect("text"));
        assert_eq!(header, value, "{url}");
    }
}

#[test]
fn ingresses_of_other_classes_are_not_served() {
    // [ingress_class.go]
    let text = "
metadata: {name: ours}
spec: {ingressClassName: nginx, rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: foreign}
spec: {ingressClassName: other, rules: [{host: b.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: old, annotations: {kubernetes.io/ingress.class: nginx}}
spec: {rules: [{host: c.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: none}
spec: {rules: [{host: d.example, paths: [[/, Prefix, web]]}]}
";
    let mut world = World::with(Options::default(), text);
    check(
        &world,
        &[("a.example/", "404"), ("b.example/", "404"), ("c.example/", "web"), ("d.example/", "404")],
    );
    world.apply([class("nginx", "k8s.io/ingress-nginx", false), class("other", "example.com/other", true)]);
    check(
        &world,
        &[("a.example/", "web"), ("b.example/", "404"), ("c.example/", "web"), ("d.example/", "404")],
    );
    world.apply([class("nginx", "k8s.io/ingress-nginx", true)]);
    check(&world, &[("a.example/", "web"), ("b.example/", "404"), ("d.example/", "web")]);
    world.apply([class("nginx", "example.com/other", false)]);
    check(&world, &[("a.example/", "404"), ("c.example/", "web"), ("d.example/", "404")]);
}

#[test]
fn another_prefix_is_another_set_of_annotations() {
    let options = Options {
        watch_ingress_without_class: true,
        annotations_prefix: "edge.example".into(),
        ..Options::default()
    };
    let world = World::with(
        options,
        "
metadata: {name: x, annotations: {edge.example/permanent-redirect: /y, permanent-redirect: /z}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
",
    );
    check(&world, &[("a.example/", "301 http://a.example/y")]);
}

#[test]
fn a_change_tells_only_what_is_new() {
    let bad =
        "metadata: {name: bad, annotations: {ssl-redirect: maybe}}\nspec: {rules: [{host: a.example}]}\n";
    let mut world = World::new(bad);
    let before = world.table.load_full();
    assert_eq!(before.problems().count(), 1);
    let worse = bad.replace("bad", "worse").replace("maybe", "perhaps");
    world.apply(manifests(&worse).into_iter().map(|ingress| Object::Ingress(Arc::new(ingress))));
    let after = world.table.load_full();
    let news: Vec<_> = after.problems_since(&before).map(|problem| problem.ingress.to_string()).collect();
    assert_eq!((after.problems().count(), news), (2, vec!["default/worse".to_owned()]));
}
