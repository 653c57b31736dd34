//! Portolan with one Ingress, its access log written as ingress-nginx's is.

use std::process::Command;

use crate::http::message::HOST;
use crate::place::{Place, free_port, portolan, write};
use crate::process::Process;
use crate::server::Server;

/// Starts `portolan ingress` on a folder of manifests.
pub(crate) fn start(place: &Place, backend: u16) -> Result<Server, String> {
    let program = portolan().ok_or("not built: cargo build --release -p portolan")?;
    let (folder, port) = (place.folder("portolan-ingress")?, free_port()?);
    let manifests = place.folder("portolan-ingress/cluster")?;
    write(&manifests.join("shop.yaml"), &cluster(backend))?;
    let mut command = Command::new(program);
    command.arg("ingress").arg("--cluster").arg(manifests);
    for flag in ["--http-port", "--https-port", "--healthz-port"] {
        let port = if flag == "--http-port" { port } else { free_port()? };
        command.arg(flag).arg(port.to_string());
    }
    Ok(Server::new(Process::start(&mut command, place.server, &folder)?, port))
}

fn cluster(backend: u16) -> String {
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
metadata: {{name: shop, namespace: default}}
spec:
  ingressClassName: nginx
  rules:
  - host: {HOST}
    http:
      paths:
      - {{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}
"
    )
}
