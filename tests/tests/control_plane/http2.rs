//! HTTP/2 conformance: h2spec against a proxied route.

use std::process::Command;

use tests::backend::Backend;
use tests::programs;
use tests::stage::{SOON, Stage};
use tests::web::EDGE;

/// A catch-all Ingress: h2spec sends the server's address as `:authority`.
const MANIFEST: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: h2spec }
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: nginx }
spec: { controller: k8s.io/ingress-nginx }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: h2spec }
spec: { clusterIP: 10.96.0.91, ports: [{ name: http, port: 80 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web, namespace: h2spec, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
ports: [{ name: http, port: 8080 }]
endpoints: [{ addresses: [10.244.5.1] }]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: h2spec
  annotations: { nginx.ingress.kubernetes.io/ssl-redirect: \"false\" }
spec:
  ingressClassName: nginx
  rules:
  - http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { name: http } } } }] }
";

pub(crate) fn h2spec_passes_every_case_on_a_proxied_route(stage: &mut Stage) {
    let _endpoint = Backend::start("h2", "10.244.5.1:8080");
    let manifests = stage.folder().join("h2spec");
    std::fs::create_dir_all(&manifests).expect("the scratch folder is writable");
    std::fs::write(manifests.join("all.yaml"), MANIFEST).expect("the scratch folder is writable");
    let mut up = stage.run(
        &["up", "--cluster", &manifests.to_string_lossy(), "--dns", "10.96.0.10:53"],
        &["--http", "127.0.0.1:80", "--https", "127.0.0.1:443", "--admin", "127.0.0.1:10254"],
    );
    up.wait_for_page(10254, "/healthz");
    EDGE.expect(SOON, "https://127.0.0.1/ = 200 h2");

    // Over TLS: the plain port speaks HTTP/1.1 as well, so that an invalid preface gets a response there instead of the close that
    // h2spec expects.
    let mut h2spec = Command::new(programs::h2spec().expect("built before the first case"));
    // The default of two seconds is too short for a loaded machine.
    let output = h2spec.args(["-h", "127.0.0.1", "-p", "443", "-t", "-k", "--timeout", "5"]).output();
    let output = output.expect("h2spec starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let summary = text.lines().rev().find(|line| line.contains(" tests, ")).unwrap_or("no summary");
    println!("h2spec: {summary}");
    assert!(output.status.success() && summary.contains("145 passed, 0 skipped, 0 failed"), "{text}");
    assert!(up.stop().success(), "SIGTERM ends it with exit code 0");
}
