use cluster::{Cache, Event, Kind};
use ingress_routes::{CertIndex, GeoDatabases, PoolIndex, RouteIndex, RouteOptions};

use super::*;

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}}]
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations:
    nginx.ingress.kubernetes.io/rewrite-target: /$1
    nginx.ingress.kubernetes.io/x-forwarded-prefix: /api
spec:
  rules:
  - host: shop.test
    http:
      paths:
      - {path: /api/(.*), pathType: ImplementationSpecific, backend: {service: {name: web, port: {number: 80}}}}
      - {path: /, pathType: Prefix, backend: {service: {name: empty, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: canary
  annotations:
    nginx.ingress.kubernetes.io/canary: "true"
    nginx.ingress.kubernetes.io/canary-weight: "30"
    nginx.ingress.kubernetes.io/canary-by-cookie: beta
spec:
  rules:
  - host: plain.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {name: http}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: plain
  annotations:
    nginx.ingress.kubernetes.io/server-alias: alias.test
    nginx.ingress.kubernetes.io/whitelist-source-range: 10.0.0.0/8
spec:
  rules:
  - host: plain.test
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
      - {path: /docs, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
      - {path: /docs/a, pathType: Exact, backend: {service: {name: web, port: {number: 80}}}}
  - host: "*.wild.test"
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
"#;

/// Explains a request to the cluster of [`MANIFESTS`].
fn explained(url: &str, headers: &[&str], from: &str) -> String {
    let mut cache = Cache::default();
    let decoded = sources::manifests::decode("test.yaml", MANIFESTS);
    assert!(decoded.problems.is_empty(), "{:?}", decoded.problems);
    let events = decoded.objects.into_iter().map(Event::Apply).chain(Kind::ALL.map(Event::Synced));
    cache.apply(events, 0);
    let options = RouteOptions { watch_ingress_without_class: true, ..RouteOptions::default() };
    let table = cache.project(RouteIndex::new(options.clone())).load_full();
    let pools = cache.project(PoolIndex::new(options.clone())).load_full();
    let certs = cache.project(CertIndex::new(options.clone())).load_full();
    let views = IngressViews {
        table: &table,
        pools: &pools,
        certs: &certs,
        geo: &Current::new(GeoDatabases::default()),
        ingress: &|key: &Key| cache.snapshot().get::<Ingress>(key).map(|found| (**found).clone()),
        prefix: &options.annotations_prefix,
        ports: (80, 443),
        now: Duration::from_secs(1_800_000_000),
    };
    let mut request = ExplainedRequest::get(url).unwrap();
    request.headers = headers.iter().map(|header| (*header).to_owned()).collect();
    request.from = from.parse().unwrap();
    explain(&request, &views).to_text()
}

#[test]
fn the_way_of_a_request_is_explained() {
    for (url, headers, from, wanted) in [
        (
            "http://shop.test/api/items?x=1",
            &[][..],
            "10.0.0.9",
            &[
                "host: the rules of shop.test",
                "path: Prefix /api/(.*) of Ingress default/web",
                "Prefix / of Ingress default/web, Service empty:80",
                "rewrite-target: \"/$1\" (rewrite",
                "rewrite: the endpoint gets /items?x=1",
                "10.0.0.1:8080, ready",
                "GET /items?x=1 HTTP/1.1",
                "X-Forwarded-Prefix: /api",
                "answer: that of the endpoint",
            ][..],
        ),
        ("http://shop.test/other", &[], "10.0.0.9", &["no ready endpoint", "answer: 503"]),
        (
            "http://plain.test/docs/a",
            &[],
            "10.0.0.9",
            &[
                "path: Exact /docs/a of Ingress default/plain",
                "it won against others that cover the path (Exact comes before Prefix",
                "Prefix /docs of",
                "access: allowed",
            ],
        ),
        (
            "http://plain.test/",
            &[],
            "10.0.0.9",
            &["Ingress default/canary: this request goes to the canary with the odds 30 of 100"],
        ),
        (
            "http://plain.test/",
            &["Cookie: beta=always"],
            "10.0.0.9",
            &["this request goes to the canary\n", "then: cookie beta"],
        ),
        (
            "http://plain.test/",
            &["Cookie: beta=never"],
            "10.0.0.9",
            &["this request does not go to the canary"],
        ),
        ("http://plain.test/", &[], "192.0.2.1", &["answer: 403, from the access rules"]),
        ("http://alias.test/", &[], "10.0.0.9", &["alias.test is an alias of it"]),
        (
            "https://a.wild.test/",
            &[],
            "10.0.0.9",
            &["*.wild.test, which covers a.wild.test", "TLS: the self-signed", "443"],
        ),
        ("http://nowhere.test/", &[], "10.0.0.9", &["no rule has \"nowhere.test\"", "answer: 404"]),
        ("http://shop.test/%zz", &[], "10.0.0.9", &["answer: 400, before a route is looked for"]),
        ("http://shop.test/a/../api/%61", &[], "10.0.0.9", &["path \"/api/a\"", "is normalised"]),
    ] {
        let text = explained(url, headers, from);
        for words in wanted {
            assert!(text.contains(words), "{url}: {words:?} is missing in\n{text}");
        }
    }
}

/// What a request carries is text in the explanation, and never another line of it.
#[test]
fn headers_stay_text() {
    let text = explained("http://plain.test/", &["X-A: \u{1b}[31mred"], "10.0.0.9");
    assert!(!text.contains('\u{1b}'), "{text}");
}
