//! Request targets that two programs may read differently: which rule they get, beside nginx 1.22.1 with the locations that ingress-nginx
//! writes for the same rules.

use std::sync::Arc;

use cluster::{Backend, Ingress, IngressPath, IngressRule, Key, Object, PathType, PortRef, ServiceBackend};

use crate::support::{ScriptedEndpoint, TestCluster};

/// A target, what nginx answers on a host with the rules `/admin` (Prefix), `/exact` (Exact) and `/` (Prefix), and on one with the regular
/// expressions `/admin` and `/`.
const TARGETS: &[(&str, &str, &str)] = &[
    ("/admin", "admin", "admin"),
    ("/admin/", "admin", "admin"),
    ("/admin/x", "admin", "admin"),
    ("/Admin/x", "shop", "admin"),
    ("/adminx", "shop", "admin"),
    ("//admin/x", "admin", "admin"),
    ("/x/../admin/x", "admin", "admin"),
    ("/x/..%2fadmin/x", "admin", "admin"),
    ("/x/%2e%2e/admin/x", "admin", "admin"),
    ("/x/.%2e%2fadmin", "admin", "admin"),
    ("/%61dmin/x", "admin", "admin"),
    ("/admin%2fx", "admin", "admin"),
    ("/%2fadmin/x", "admin", "admin"),
    ("/admin;x=1/y", "shop", "admin"),
    ("/admin;/x", "shop", "admin"),
    ("/;/admin/x", "shop", "shop"),
    ("/admin%3b/x", "shop", "admin"),
    ("/admin%00/x", "400", "400"),
    ("/%00/admin", "400", "400"),
    ("/admin\\x", "shop", "admin"),
    ("/x\\..\\admin", "shop", "shop"),
    ("/x%5c..%5cadmin", "shop", "shop"),
    ("/admin/..", "shop", "shop"),
    ("/admin/../x", "shop", "shop"),
    ("/admin/..;/x", "admin", "admin"),
    ("/admin/%2e%2e/x", "shop", "shop"),
    ("/admin/..%2fx", "shop", "shop"),
    ("/..", "400", "400"),
    ("/../admin", "400", "400"),
    ("/%2e%2e/admin", "400", "400"),
    ("/%2e%2e%2fadmin", "400", "400"),
    ("/./admin", "admin", "admin"),
    ("/admin/.", "admin", "admin"),
    ("/admin?/../x", "admin", "admin"),
    ("/x?/admin", "shop", "shop"),
    ("/x#/admin", "shop", "shop"),
    ("/admin#/../x", "admin", "admin"),
    ("/exact", "exact", "shop"),
    ("/exact/", "shop", "shop"),
    ("/exact%2f", "shop", "shop"),
    ("/e%78act", "exact", "shop"),
    ("/exact;", "shop", "shop"),
    ("/exact/.", "shop", "shop"),
    ("/%25%32%65%25%32%65/admin", "shop", "shop"),
    ("/%252e%252e/admin", "shop", "shop"),
    ("/a%c0%ae%c0%ae/admin", "shop", "shop"),
    ("/admin%20", "shop", "admin"),
    ("/admin%09", "shop", "admin"),
    ("/admin%0d%0ax", "shop", "admin"),
    ("/%", "400", "400"),
    ("/%zz", "400", "400"),
    ("/admin%", "400", "400"),
    ("/%u0061dmin", "400", "400"),
    ("http://HOST/admin/x", "admin", "admin"),
    ("http://HOST", "shop", "shop"),
    ("*", "400", "400"),
    ("admin", "400", "400"),
    ("", "400", "400"),
    ("/admin/\u{7f}x", "400", "400"),
];

/// Targets that Portolan answers differently, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[(
    "http://other.example/admin/x",
    "400",
    "nginx takes this host and not that of the field, with 404 here",
)];

fn ingress(host: &str, rules: &[(&str, PathType, &str)], annotations: &[(&str, &str)]) -> Object {
    let path = |(path, kind, service): &(&str, PathType, &str)| IngressPath {
        path: (*path).into(),
        kind: *kind,
        backend: Backend::Service(ServiceBackend { name: (*service).into(), port: PortRef::Number(80) }),
    };
    let name = |name: &str| format!("nginx.ingress.kubernetes.io/{name}").into();
    Object::Ingress(Arc::new(Ingress {
        key: Key::new("default", host),
        created: 1,
        annotations: annotations.iter().map(|(key, value)| (name(key), (*value).to_owned())).collect(),
        class: Some("nginx".into()),
        default_backend: None,
        rules: vec![IngressRule { host: host.into(), paths: rules.iter().map(path).collect() }],
        tls: Vec::new(),
    }))
}

#[test]
fn confusing_targets_get_the_rule_that_nginx_chooses_and_reach_the_endpoint_unchanged() {
    let mut world = TestCluster::new();
    let endpoints = [
        ("admin", ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 5\n\nadmin")),
        ("exact", ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 5\n\nexact")),
        ("shop", ScriptedEndpoint::always("HTTP/1.1 200 OK\nContent-Length: 4\n\nshop")),
    ];
    endpoints.iter().for_each(|(name, endpoint)| world.service(name, &[endpoint.address]));
    let prefix = |path, service| (path, PathType::Prefix, service);
    let plain = [prefix("/admin", "admin"), prefix("/", "shop"), ("/exact", PathType::Exact, "exact")];
    world.apply(ingress("plain.example", &plain, &[]));
    world.apply(ingress("regex.example", &plain[..2], &[("use-regex", "true")]));
    let different = DIFFERENCES.iter().map(|(target, answer, _)| (*target, *answer, *answer));
    let mut wrong = Vec::new();
    for (target, plain, regex) in TARGETS.iter().copied().chain(different) {
        for (host, expected) in [("plain.example", plain), ("regex.example", regex)] {
            let target = target.replace("HOST", host);
            let response = world.ask(&format!("GET {target} HTTP/1.1\nHost: {host}\n\n"));
            let answer = if response.status == 200 { response.body } else { response.status.to_string() };
            if answer != expected {
                wrong.push(format!("{host} {target:?}: {answer}, expected {expected}"));
            }
            let Some((_, endpoint)) = endpoints.iter().find(|(name, _)| *name == answer) else { continue };
            let line = endpoint.seen().head.lines().next().unwrap_or_default().to_owned();
            // The form of the target and its fragment belong to the connection of the client.
            let path = target.strip_prefix(&format!("http://{host}")).unwrap_or(&target);
            let path = path.split('#').next().unwrap_or_default();
            if line != format!("GET {} HTTP/1.1", if path.is_empty() { "/" } else { path }) {
                wrong.push(format!("{host} {target:?}: the endpoint got {line:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
