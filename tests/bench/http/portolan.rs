//! Portolan with one Ingress and the access log on, in ingress-nginx's format.

use std::process::Command;

use tests::credentials::IssuedCertificate;

use crate::http::message::HOST;
use crate::http::stream::TlsSettings;
use crate::process::Process;
use crate::server::Server;
use crate::testbed::{NO_PORTOLAN, Testbed, free_port, portolan, write};

/// Starts `portolan ingress` on a folder of manifests.
pub(crate) fn start(testbed: &Testbed, backend: u16, tls: Option<&TlsSettings>) -> Result<Server, String> {
    let program = portolan().ok_or(NO_PORTOLAN)?;
    let (folder, http, https) = (testbed.folder("portolan-ingress")?, free_port()?, free_port()?);
    let manifests = testbed.folder("portolan-ingress/cluster")?;
    write(&manifests.join("shop.yaml"), &cluster(backend, tls.is_some()))?;
    if let Some(tls) = tls {
        write(&manifests.join("tls.yaml"), &secret(&tls.certificate))?;
    }
    let mut command = Command::new(program);
    command.arg("ingress").arg("--cluster").arg(manifests);
    for (flag, port) in [("--http-port", http), ("--https-port", https), ("--healthz-port", free_port()?)] {
        command.arg(flag).arg(port.to_string());
    }
    let port = if tls.is_some() { https } else { http };
    Ok(Server::new(Process::start(&mut command, testbed.server, &folder)?, port))
}

fn cluster(backend: u16, tls: bool) -> String {
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
  annotations: {{nginx.ingress.kubernetes.io/ssl-redirect: \"false\"}}
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
