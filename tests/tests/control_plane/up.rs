//! `portolan up` on a real cluster, with what a person would type.

use std::fs;

use tests::backend::Backend;
use tests::stage::{SOON, Stage};
use tests::web::EDGE;

const MANIFEST: &str = "
apiVersion: v1
kind: Namespace
metadata: { name: up }
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: nginx }
spec: { controller: k8s.io/ingress-nginx }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: up }
spec: { clusterIP: 10.96.0.90, ports: [{ name: http, port: 80 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web, namespace: up, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
ports: [{ name: http, port: 8080 }]
endpoints: [{ addresses: [10.244.4.1] }]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web, namespace: up }
spec:
  ingressClassName: nginx
  rules:
  - host: up.test
    http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { name: http } } } }] }
";

pub(crate) fn both_services_follow_kubectl_and_each_change_is_shown(stage: &mut Stage) {
    let _pod = Backend::start("a", "10.244.4.1:8080");
    let kubeconfig = stage.plane.kubeconfig("portolan", 6443);
    let mut up = stage.run(
        &["up", "--kubeconfig", &kubeconfig.to_string_lossy(), "--dns", "10.96.0.10:53"],
        &["--http", "127.0.0.1:80", "--https", "127.0.0.1:443", "--admin", "127.0.0.1:10254"],
    );
    up.wait_for_page(10254, "/healthz");
    stage.resolver().expect(SOON, "web.up.svc.cluster.local A = NXDOMAIN");

    let manifest = stage.folder().join("up.yaml");
    fs::write(&manifest, MANIFEST).expect("the scratch folder is writable");
    let kubectl = |words: &[&str]| {
        let admin = stage.plane.kubeconfig("admin", 6443);
        let output = stage.plane.kubectl(&[&["--kubeconfig", &*admin.to_string_lossy()], words].concat());
        assert!(output.status.success(), "kubectl {words:?}: {output:?}");
    };
    kubectl(&["apply", "-f", &manifest.to_string_lossy()]);
    stage.resolver().expect(SOON, "web.up.svc.cluster.local A = 10.96.0.90");
    EDGE.expect(SOON, "http://up.test/ = 200 a");
    up.wait_for_log(&["Service", "up/web"]);
    up.wait_for_log(&["Ingress", "up/web"]);

    kubectl(&["delete", "--wait=false", "-f", &manifest.to_string_lossy()]);
    stage.resolver().expect(SOON, "web.up.svc.cluster.local A = NXDOMAIN");
    EDGE.expect(SOON, "http://up.test/ = 404");
    assert!(up.stop().success(), "SIGTERM is a good end");
}
