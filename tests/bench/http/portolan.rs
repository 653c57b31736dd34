//! Portolan with one Ingress and the access log on, in ingress-nginx's format; with one annotation or with twenty.

use std::process::Command;

use tests::credentials::IssuedCertificate;

use crate::http::message::HOST;
use crate::http::stream::LoadTls;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{NO_PORTOLAN, Testbed, free_port, portolan, write};

/// Name of Portolan with one annotation.
pub(crate) const NAME: &str = "Portolan, log on";

/// Name of Portolan with [`TWENTY`].
pub(crate) const ANNOTATED: &str = "Portolan, twenty annotations";

const ONE: &str = "nginx.ingress.kubernetes.io/ssl-redirect: \"false\"";

/// Annotations that are all in effect for each request of the benchmarks and leave the response's body as it is.
const TWENTY: &[(&str, &str)] = &[
    ("ssl-redirect", "false"),
    ("enable-cors", "true"),
    ("cors-allow-methods", "GET, POST"),
    ("cors-allow-headers", "Authorization, Content-Type"),
    ("cors-expose-headers", "X-Total"),
    ("cors-max-age", "600"),
    ("whitelist-source-range", "127.0.0.0/8,10.0.0.0/8"),
    ("limit-connections", "10000"),
    ("limit-rps", "1000000"),
    ("upstream-vhost", "shop.internal"),
    ("x-forwarded-prefix", "/shop"),
    ("connection-proxy-header", "keep-alive"),
    ("proxy-cookie-domain", "shop.internal shop.example"),
    ("proxy-cookie-path", "/internal /shop"),
    ("proxy-redirect-from", "http://shop.internal/"),
    ("proxy-redirect-to", "https://shop.example/"),
    ("proxy-body-size", "8m"),
    ("proxy-read-timeout", "30"),
    ("proxy-next-upstream-tries", "2"),
    ("rewrite-target", "/api/items/42"),
];

/// Starts `portolan ingress` on a folder of manifests.
pub(crate) fn start(testbed: &Testbed, backend: u16, tls: Option<&LoadTls>) -> Result<Server, String> {
    start_with(testbed, &[testbed.server], backend, tls, ONE, &[])
}

/// Starts `portolan ingress` with [`TWENTY`] annotations.
pub(crate) fn with_twenty_annotations(
    testbed: &Testbed,
    backend: u16,
    tls: Option<&LoadTls>,
) -> Result<Server, String> {
    let lines = TWENTY.iter().map(|(name, value)| format!("nginx.ingress.kubernetes.io/{name}: {value:?}"));
    let annotations = lines.collect::<Vec<_>>().join(", ");
    start_with(testbed, &[testbed.server], backend, tls, &annotations, &[])
}

/// Starts `portolan ingress` in front of endpoints that speak gRPC.
pub(crate) fn for_grpc(testbed: &Testbed, backend: u16, tls: &LoadTls) -> Result<Server, String> {
    let annotation = "nginx.ingress.kubernetes.io/backend-protocol: GRPC";
    start_with(testbed, &[testbed.server], backend, Some(tls), annotation, &[])
}

/// Starts `portolan ingress` with a number of worker threads on the given cores.
pub(crate) fn with_workers(
    testbed: &Testbed,
    cores: &[usize],
    backend: u16,
    workers: usize,
) -> Result<Server, String> {
    start_with(testbed, cores, backend, None, ONE, &["--workers".to_owned(), workers.to_string()])
}

fn start_with(
    testbed: &Testbed,
    cores: &[usize],
    backend: u16,
    tls: Option<&LoadTls>,
    annotations: &str,
    flags: &[String],
) -> Result<Server, String> {
    let program = portolan().ok_or(NO_PORTOLAN)?;
    let (http, https) = (free_port()?, free_port()?);
    let folder = testbed.folder(&format!("portolan-ingress-{http}"))?;
    let manifests = testbed.folder(&format!("portolan-ingress-{http}/cluster"))?;
    write(&manifests.join("shop.yaml"), &cluster(backend, annotations, tls.is_some()))?;
    if let Some(tls) = tls {
        write(&manifests.join("tls.yaml"), &secret(&tls.certificate))?;
    }
    let mut command = Command::new(program);
    command.arg("ingress").arg("--cluster").arg(manifests).args(flags);
    for (flag, port) in [("--http-port", http), ("--https-port", https), ("--healthz-port", free_port()?)] {
        command.arg(flag).arg(port.to_string());
    }
    let port = if tls.is_some() { https } else { http };
    Ok(Server::new(Process::start_server_on(testbed, cores, &mut command, &folder)?, port))
}

fn cluster(backend: u16, annotations: &str, tls: bool) -> String {
    let tls = if tls { format!("\n  tls: [{{hosts: [{HOST}], secretName: shop}}]") } else { String::new() };
    format!(
        "apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: nginx}}
spec: {{controller: k8s.io/ingress-nginx}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default}}
spec:
  clusterIP: 10.96.0.80
  clusterIPs: [10.96.0.80]
  ports: [{{name: http, port: 80, targetPort: {backend}, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  namespace: default
  labels: {{kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{{name: http, port: {backend}, protocol: TCP}}]
endpoints: [{{addresses: [127.0.0.1], conditions: {{ready: true}}}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  namespace: default
  annotations: {{{annotations}}}
spec:
  ingressClassName: nginx{tls}
  rules:
  - host: {HOST}
    http:
      paths:
      - {{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}
"
    )
}

fn secret(certificate: &IssuedCertificate) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: shop, namespace: default}}
type: kubernetes.io/tls
stringData:
  tls.crt: {:?}
  tls.key: {:?}
",
        certificate.certificate, certificate.key
    )
}
