use std::sync::Arc;

use cluster::{Key, Object, Secret};
use rcgen::{CertificateParams, KeyPair};

use crate::exchange::RequestScheme;
use crate::exchange::tests::get;
use crate::testing::TestCluster;
use crate::upstream_tls::UpstreamTls;

const INGRESS: &str = "
metadata:
  name: x
  annotations: {backend-protocol: https, proxy-ssl-secret: default/ends, proxy-ssl-verify: 'on', proxy-ssl-name: app.example}
spec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: y, annotations: {backend-protocol: AUTO_HTTP}}
spec: {rules: [{host: b.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: z, annotations: {proxy-ssl-secret: other/ends}}
spec: {rules: [{host: c.example, paths: [[/, Prefix, web]]}]}
";

/// A Secret with these entries; the certificate is also the authority.
fn secret(key: Key, entries: &[&str]) -> Object {
    let pair = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["app.example".into()]).unwrap().self_signed(&pair).unwrap();
    let entry = |name: &str, text: String| match entries.contains(&name) {
        true => text.into_bytes().into_boxed_slice(),
        false => Box::default(),
    };
    let authority =
        entries.contains(&"ca.crt").then(|| ("ca.crt".into(), entry("ca.crt", certificate.pem())));
    Object::Secret(Arc::new(Secret {
        key,
        certificate: entry("tls.crt", certificate.pem()),
        private_key: entry("tls.key", pair.serialize_pem()),
        other: authority.into_iter().collect(),
    }))
}

fn own(entries: &[&str]) -> Object {
    secret(Key::new("default", "ends"), entries)
}

/// TLS of the route of a URL.
fn tls(cluster: &TestCluster, url: &str) -> Option<Arc<UpstreamTls>> {
    let exchange = get(url, &[]);
    let table = cluster.table.load();
    let route = table.find(exchange.host(), exchange.path()).route().clone();
    route.plan.upstream.as_ref()?.tls(exchange.scheme).cloned()
}

#[test]
fn the_secret_is_followed_and_without_it_the_routes_are_closed() {
    let mut cluster = TestCluster::new(INGRESS).services("web 80 10.0.0.1");
    let about = |cluster: &TestCluster| {
        let problems = cluster.problems().into_iter();
        problems.filter(|problem| problem.contains("default/x")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(cluster.get("a.example/"), "503");
    assert!(
        about(&cluster)
            .contains("proxy-ssl-secret: Secret default/ends does not exist; the routes answer 503")
    );
    for (entries, error) in [
        (&[][..], "has neither tls.crt and tls.key nor ca.crt"),
        (&["tls.crt"], "tls.key of Secret default/ends is no private key"),
        (&["tls.crt", "tls.key"], "has no ca.crt to verify endpoints with"),
    ] {
        cluster.apply([own(entries)]);
        assert_eq!(cluster.get("a.example/"), "503", "{error}");
        assert!(about(&cluster).contains(error), "{error}: {}", about(&cluster));
    }
    cluster.apply([own(&["ca.crt"])]);
    assert_eq!((cluster.get("a.example/").as_str(), about(&cluster).as_str()), ("web", ""));
    let first = tls(&cluster, "a.example/").expect("HTTPS");
    cluster.apply([own(&["tls.crt", "tls.key", "ca.crt"])]);
    assert_eq!(cluster.get("a.example/"), "web");
    assert_ne!(tls(&cluster, "a.example/").expect("HTTPS"), first, "another Secret is another identity");
}

#[test]
fn a_secret_of_another_namespace_closes_the_routes() {
    let mut cluster = TestCluster::new(INGRESS).services("web 80 10.0.0.1");
    cluster.apply([secret(Key::new("other", "ends"), &["ca.crt"])]);
    assert_eq!(cluster.get("c.example/"), "503");
    let problems = cluster.problems().join("\n");
    assert!(problems.contains("proxy-ssl-secret: Secret other/ends is in another namespace"), "{problems}");
}

#[test]
fn auto_http_uses_tls_for_requests_over_https() {
    let cluster = TestCluster::new(INGRESS).services("web 80 10.0.0.1");
    let (plain, encrypted) = (tls(&cluster, "b.example/"), tls(&cluster, "https://b.example/"));
    assert_eq!(plain, None);
    let encrypted = encrypted.expect("TLS");
    assert!(
        Arc::ptr_eq(&encrypted, &UpstreamTls::unverified()),
        "routes without a Secret share one configuration"
    );
    assert_eq!(get("https://b.example/", &[]).scheme, RequestScheme::Https);
    let name = encrypted.server_name("10.0.0.1".parse().unwrap());
    assert_eq!(name.to_str(), "10.0.0.1", "no name is sent");
}
