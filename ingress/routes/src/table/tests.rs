//! The outcome of requests for Ingress manifests. Names in brackets are the files of ingress-nginx's e2e suite that the cases
//! come from.

use cluster::{Kind, Object};

use super::*;
use crate::options::RouteOptions;
use crate::testing::{TestCluster, class, manifests};

mod law;
mod matching;
mod names;
mod patterns;
mod rebuilt;

fn check(world: &TestCluster, rows: &[(&str, &str)]) {
    for (url, outcome) in rows {
        assert_eq!(world.get(url), *outcome, "{url}");
    }
}

#[test]
fn redirects_take_precedence_in_their_order() {
    // [redirect.go, approot.go, forcesslredirect.go, http_redirect.go, relativeredirects.go]
    let world = TestCluster::new(
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
fn protecting_annotations_that_are_not_supported_close_their_routes() {
    let world = TestCluster::new(
        "
metadata: {name: guarded, annotations: {enable-modsecurity: 'true', permanent-redirect: /x}}
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
             https URL or a path; variables are not expanded in it; it is left out",
            "Ingress default/bad: nginx.ingress.kubernetes.io/rewrite-target: \"not a path\" should be a path, in which \
             $1 to $9 and $name stand for groups of the rule's path and variables of nginx; the routes answer 503",
            "Ingress default/cosmetic: nginx.ingress.kubernetes.io/permanent-redirect-code: \"many\" should be a status \
             from 300 to 308; its default is used",
            "Ingress default/cosmetic: nginx.ingress.kubernetes.io/ssl-redirect: \"maybe\" should be true or false; its \
             default is used",
            "Ingress default/guarded: enable-modsecurity \"true\" is not honoured: the web application firewall would not check requests; \
             the routes answer 503",
            "Ingress default/open: nginx.ingress.kubernetes.io/proxy-body-sise: is not known; did you mean \
             proxy-body-size?",
        ]
    );
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
    let mut world =
        TestCluster::with(RouteOptions { admit_default_class: true, ..RouteOptions::default() }, text);
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
fn an_ingress_that_no_controller_serves_is_reported() {
    let text = "
metadata: {name: a}
spec: {ingressClassName: ngixn, rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: b}
spec: {ingressClassName: missing, rules: [{host: b.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: c}
spec: {ingressClassName: other, rules: [{host: c.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: d}
spec: {rules: [{host: d.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: e, annotations: {kubernetes.io/ingress.class: nginxx}}
spec: {rules: [{host: e.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: f, annotations: {kubernetes.io/ingress.class: traefik}}
spec: {rules: [{host: f.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: g, namespace: elsewhere}
spec: {ingressClassName: missing, rules: [{host: g.example, paths: [[/, Prefix, web]]}]}
";
    let options = RouteOptions { watch_namespace: Some("default".into()), ..RouteOptions::default() };
    let mut world = TestCluster::with(options, text);
    world.apply([class("nginx", "k8s.io/ingress-nginx", false), class("other", "example.com/other", false)]);
    assert_eq!(world.problems(), [""; 0], "not before the first lists are complete");
    world.sync();
    let listed = [
        "Ingress default/a: spec.ingressClassName: IngressClass \"ngixn\" does not exist (did you mean nginx?); it is left out",
        "Ingress default/b: spec.ingressClassName: IngressClass \"missing\" does not exist; it is left out",
        "Ingress default/d: spec.ingressClassName: is missing, and no IngressClass is the default; it is left out",
        "Ingress default/e: kubernetes.io/ingress.class: \"nginxx\" is not served here (did you mean nginx?); it is left out",
    ];
    assert_eq!(world.problems(), listed);
    world.apply([class("missing", "example.com/other", true)]);
    assert_eq!(world.problems(), [listed[0], listed[3]]);
    world.apply(
        manifests(&text.replace("ngixn", "nginx")).into_iter().map(|one| Object::Ingress(Arc::new(one))),
    );
    assert_eq!(world.problems(), [listed[3]]);
    assert_eq!(world.get("a.example/"), "web");
}

#[test]
fn a_class_that_does_not_exist_is_not_proposed() {
    let mut world = TestCluster::with(
        RouteOptions::default(),
        "
metadata: {name: a}
spec: {ingressClassName: nginx, rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
",
    );
    world.sync();
    let wanted =
        "Ingress default/a: spec.ingressClassName: IngressClass \"nginx\" does not exist; it is left out";
    assert_eq!(world.problems(), [wanted]);
}

#[test]
fn ingresses_whose_class_cannot_be_read_are_listed() {
    let mut world = TestCluster::with(
        RouteOptions::default(),
        "
metadata: {name: a}
spec: {ingressClassName: nginx, rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: b}
spec: {rules: [{host: b.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: c, annotations: {kubernetes.io/ingress.class: nginx}}
spec: {rules: [{host: c.example, paths: [[/, Prefix, web]]}]}
",
    );
    let unread = |world: &TestCluster| -> Vec<String> {
        world.table.load().unread_class_problems().map(|problem| problem.to_string()).collect()
    };
    assert_eq!(unread(&world), [""; 0], "the Ingresses are not complete");
    world.sync_but(Kind::IngressClass);
    assert_eq!(
        unread(&world),
        [
            "Ingress default/a: spec.ingressClassName: IngressClass \"nginx\" may be served here, but IngressClasses cannot \
          be read (see the role); it is left out"
        ]
    );
    assert_eq!(world.problems(), [""; 0], "that the class does not exist is not known");
    world.sync();
    assert_eq!((unread(&world).len(), world.problems().len()), (0, 2));
}

#[test]
fn only_rules_with_invalid_hosts_are_refused() {
    let world = TestCluster::new(
        "
metadata: {name: x}
spec:
  defaultBackend: rest
  rules:
  - {host: a b, paths: [[/, Prefix, one]]}
  - {host: Shop.Example, paths: [[/x, Prefix, shop]]}
  - {host: 192.0.2.1, paths: [[/, Prefix, two]]}
  - {host: 'a:80', paths: [[/, Prefix, three]]}
  - {host: '*.wild.example', paths: [[/, Prefix, wild]]}
",
    );
    check(
        &world,
        &[
            ("shop.example/x", "shop"),
            ("shop.example/", "rest"),
            ("b.wild.example/", "wild"),
            ("192.0.2.1/", "404"),
            ("a:80/", "404"),
        ],
    );
    assert_eq!(
        world.problems(),
        [
            "Ingress default/x: spec.rules[0].host: \"a b\" is not a DNS name, nor a wildcard such as *.example.com; it is \
             left out",
            "Ingress default/x: spec.rules[1].host: \"Shop.Example\" has capital letters, which the API server refuses; it is \
             served as shop.example",
            "Ingress default/x: spec.rules[2].host: \"192.0.2.1\" is an address; the host of a rule is a DNS name; it is left \
             out",
            "Ingress default/x: spec.rules[3].host: \"a:80\" is not a DNS name, nor a wildcard such as *.example.com; it is \
             left out",
        ]
    );
}

#[test]
fn annotations_are_read_under_the_configured_prefix() {
    let options = RouteOptions {
        watch_ingress_without_class: true,
        annotations_prefix: "edge.example".into(),
        ..RouteOptions::default()
    };
    let world = TestCluster::with(
        options,
        "
metadata: {name: x, annotations: {edge.example/permanent-redirect: /y, permanent-redirect: /z}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
",
    );
    check(&world, &[("a.example/", "301 http://a.example/y")]);
}

#[test]
fn an_unknown_backend_protocol_is_http() {
    // [backendprotocol.go, grpc.go]
    let world = TestCluster::new(
        "
metadata: {name: encrypted, annotations: {backend-protocol: FCGI}}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: auto, annotations: {backend-protocol: auto_http}}
spec: {rules: [{host: b.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: odd, annotations: {backend-protocol: SPDY}}
spec: {rules: [{host: c.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: twin, annotations: {canary: 'true', canary-weight: '100', backend-protocol: GRPC}}
spec: {rules: [{host: c.example, paths: [[/, Prefix, twin]]}]}
",
    )
    .services("web 80 10.0.0.1\ntwin 80 10.0.0.2");
    check(
        &world,
        &[
            ("a.example/", "web"),
            ("b.example/", "web"),
            ("https://b.example/", "web"),
            ("https://c.example/", "twin"),
        ],
    );
    assert_eq!(
        world.problems(),
        [
            "Ingress default/odd: nginx.ingress.kubernetes.io/backend-protocol: \"SPDY\" should be HTTP, AUTO_HTTP, \
             HTTPS, GRPC, GRPCS or FCGI; its default is used",
        ]
    );
}
