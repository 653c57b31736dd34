use std::sync::Arc;

use cluster::{Kind, Object, Secret};

use super::*;
use crate::testing::TestCluster;

fn authority() -> String {
    rcgen::generate_simple_self_signed(["ca".to_owned()]).unwrap().cert.pem()
}

fn secret(namespace: &str, authority: &str) -> Object {
    let other = Box::new([("ca.crt".into(), authority.as_bytes().into())]);
    let (certificate, private_key) = Default::default();
    Object::Secret(Arc::new(Secret { key: Key::new(namespace, "ca"), certificate, private_key, other }))
}

const INGRESSES: &str = "
metadata: {name: shop, annotations: {auth-tls-secret: default/ca, auth-tls-verify-client: 'off'}}
spec: {rules: [{host: shop.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: other}
spec: {rules: [{host: shop.example, paths: [[/other, Prefix, other]]}, {host: open.example, paths: [[/, Prefix, web]]}]}
";

#[test]
fn a_host_is_closed_while_its_secret_cannot_be_used() {
    let mut world = TestCluster::configured(INGRESSES);
    world.configure(&[]);
    let closed = |world: &TestCluster, is_closed| {
        for (path, service) in [("", "web"), ("other", "other")] {
            assert_eq!(world.get(&format!("shop.example/{path}")), if is_closed { "403" } else { service });
        }
        assert_eq!(world.get("open.example/"), "web");
        let problems = world.problems();
        let is_told = problems.iter().any(|problem| problem.contains("every request to its hosts gets 403"));
        assert_eq!(is_told, is_closed, "{problems:?}");
    };
    closed(&world, true);
    world.apply([secret("default", &authority())]);
    closed(&world, false);
    world.apply([secret("default", "not a certificate")]);
    closed(&world, true);
    world.apply([secret("default", &authority())]);
    closed(&world, false);
    world.remove(Kind::Secret, Key::new("default", "ca"));
    closed(&world, true);
}

#[test]
fn a_secret_of_another_namespace_needs_the_key() {
    let mut world = TestCluster::configured(&INGRESSES.replace("default/ca", "vault/ca"));
    world.configure(&[]);
    world.apply([secret("vault", &authority())]);
    assert_eq!(world.get("shop.example/"), "403");
    assert!(world.problems()[0].contains("is in another namespace"), "{:?}", world.problems());
    world.configure(&[("allow-cross-namespace-resources", "true")]);
    assert_eq!(world.get("shop.example/"), "web");
}

#[test]
fn invalid_values_take_the_strictest_or_close_the_host() {
    for (annotation, value, is_closed) in [
        ("auth-tls-verify-client", "yes", false),
        ("auth-tls-verify-depth", "-1", false),
        ("auth-tls-error-page", "/error", false),
        ("auth-tls-error-page", "javascript://a", false),
        ("auth-tls-pass-certificate-to-upstream", "on", false),
        ("auth-tls-match-cn", "client", true),
        ("auth-tls-match-cn", "CN=(", true),
        ("auth-tls-match-cn", "CN=(?!a", true),
        ("auth-tls-secret", "ca", true),
        ("auth-tls-secret", "a/b/c", true),
    ] {
        let first = if annotation == "auth-tls-secret" { "" } else { "auth-tls-secret: default/ca, " };
        let mut world = TestCluster::new(&format!(
            "
metadata: {{name: shop, annotations: {{{first}{annotation}: '{value}'}}}}
spec: {{rules: [{{host: shop.example, paths: [[/, Prefix, web]]}}]}}
"
        ));
        world.apply([secret("default", &authority())]);
        let problems = world.problems();
        assert!(problems.len() == 1 && problems[0].contains(value), "{annotation}: {value}: {problems:?}");
        assert_eq!(world.get("shop.example/") == "403", is_closed, "{annotation}: {value}");
        let table = world.table.load();
        let rules = table.find("shop.example", "/").client_auth().cloned();
        assert_eq!(rules.is_none(), is_closed);
        if let Some(rules) = rules {
            assert_eq!((rules.verify, rules.depth), (VerifyClient::On, 1), "{annotation}: {value}");
        }
    }
}

#[test]
fn the_first_ingress_of_a_host_decides_and_aliases_share_its_rules() {
    let mut world = TestCluster::new(
        "
metadata: {name: z-first, annotations: {auth-tls-secret: default/ca, auth-tls-verify-depth: '3', server-alias: alias.example, from-to-www-redirect: 'true'}}
spec: {rules: [{host: shop.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: second, annotations: {auth-tls-secret: default/ca, auth-tls-verify-depth: '5', auth-tls-verify-client: 'off'}}
spec: {rules: [{host: shop.example, paths: [[/two, Prefix, two]]}]}
",
    );
    world.apply([secret("default", &authority())]);
    let table = world.table.load();
    let depth = |host: &str| table.find(host, "/two").client_auth().map(|rules| rules.depth);
    assert_eq!(
        (depth("shop.example"), depth("alias.example"), depth("www.shop.example")),
        (Some(3), Some(3), None)
    );
    assert!(table.server_tls(Some("alias.example")).0.is_some());
    assert_eq!(table.server_tls(Some("www.shop.example")), (None, true));
    assert_eq!(table.server_tls(Some("unknown.example")), (None, false));
    assert_eq!(table.server_tls(None), (None, false));
}

#[test]
fn a_bad_secret_of_a_later_ingress_closes_nothing() {
    for (first, second, is_closed) in [
        ("default/ca", "default/missing", false),
        ("default/ca", "vault/ca", false),
        ("default/missing", "default/ca", true),
        ("vault/ca", "default/ca", true),
    ] {
        let mut world = TestCluster::configured(&format!(
            "
metadata: {{name: z-first, annotations: {{auth-tls-secret: {first}, auth-tls-verify-depth: '3'}}}}
spec: {{rules: [{{host: shop.example, paths: [[/, Prefix, web]]}}]}}
---
metadata: {{name: second, annotations: {{auth-tls-secret: {second}}}}}
spec: {{rules: [{{host: shop.example, paths: [[/two, Prefix, two]]}}, {{host: own.example, paths: [[/, Prefix, web]]}}]}}
"
        ));
        world.configure(&[]);
        world.apply([secret("default", &authority()), secret("vault", &authority())]);
        let case = format!("{first}, {second}");
        let problems = world.problems();
        let ingress = if is_closed { "default/z-first" } else { "default/second" };
        assert!(
            problems.iter().any(|text| text.contains(ingress) && text.contains("auth-tls-secret")),
            "{case}: {problems:?}"
        );
        for path in ["/", "/two"] {
            let is_403 = world.get(&format!("shop.example{path}")) == "403";
            assert_eq!(is_403, is_closed, "{case}: {path}");
        }
        assert_eq!(world.get("own.example/") == "403", !is_closed, "{case}: a host of its own");
        let table = world.table.load();
        let rules = table.find("shop.example", "/").client_auth().map(|rules| rules.depth);
        assert_eq!(rules, (!is_closed).then_some(3), "{case}");
    }
}
