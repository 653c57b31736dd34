//! Manifests for several files. Each begins with `---`, so that they can be concatenated.

use crate::credentials::IssuedCertificate;

/// The IngressClass that Portolan serves.
pub const CLASS: &str = "
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: nginx }
spec: { controller: k8s.io/ingress-nginx }
";

/// A Namespace.
pub fn namespace(name: &str) -> String {
    format!("\n---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}\n")
}

/// A Pod of an app that runs at an address; `spec` holds more fields of its `spec`, with a comma after each.
pub fn pod(namespace: &str, name: &str, app: &str, address: &str, ready: bool, spec: &str) -> String {
    let ready = if ready { "True" } else { "False" };
    format!(
        "
---
apiVersion: v1
kind: Pod
metadata: {{ name: {name}, namespace: {namespace}, labels: {{ app: {app} }} }}
spec: {{ nodeName: node-1, {spec} containers: [{{ name: main, image: main }}] }}
status:
  phase: Running
  podIP: {address}
  podIPs: [{{ ip: {address} }}]
  conditions: [{{ type: Ready, status: '{ready}' }}]
"
    )
}

/// A Service of port 80 with a selector and, for each address, a ready Pod of it that listens on 8080. The Pods are
/// named as in [`pod_name`].
pub fn workload(namespace: &str, service: &str, addresses: &[&str]) -> String {
    let pods = addresses.iter().map(|address| pod(namespace, &pod_name(address), service, address, true, ""));
    let pods: String = pods.collect();
    format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{ name: {service}, namespace: {namespace} }}
spec: {{ selector: {{ app: {service} }}, ports: [{{ name: http, port: 80, targetPort: 8080 }}] }}
{pods}"
    )
}

/// The name of the Pod at an address in [`workload`].
pub fn pod_name(address: &str) -> String {
    format!("pod-{}", address.replace('.', "-"))
}

/// A Service of port 80 without a selector, at a cluster address.
pub fn service(namespace: &str, name: &str, address: &str) -> String {
    format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: {namespace} }}
spec: {{ clusterIP: {address}, ports: [{{ name: http, port: 80 }}] }}
"
    )
}

/// The slice of a Service without a selector: one endpoint that listens on 8080.
pub fn slice(namespace: &str, service: &str, address: &str) -> String {
    format!(
        "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: {service}, namespace: {namespace}, labels: {{ kubernetes.io/service-name: {service} }} }}
addressType: IPv4
ports: [{{ name: http, port: 8080 }}]
endpoints: [{{ addresses: [{address}] }}]
"
    )
}

/// An Ingress of [`CLASS`] with one Prefix path of one host; fields of its `spec` can be appended.
pub fn ingress(namespace: &str, name: &str, host: &str, path: &str, service: &str) -> String {
    format!(
        "
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  ingressClassName: nginx
  rules:
  - host: {host}
    http:
      paths:
      - {{ path: {path}, pathType: Prefix, backend: {{ service: {{ name: {service}, port: {{ name: http }} }} }} }}
"
    )
}

/// The same Ingress with annotations, given as the inside of a flow mapping.
pub fn annotated(ingress: &str, annotations: &str) -> String {
    ingress.replace("metadata: {", &format!("metadata: {{ annotations: {{ {annotations} }},"))
}

/// A Secret of the type `kubernetes.io/tls`.
pub fn tls_secret(namespace: &str, name: &str, certified: &IssuedCertificate) -> String {
    let IssuedCertificate { certificate, key, .. } = certified;
    let data = serde_json::json!({ "tls.crt": certificate, "tls.key": key });
    format!(
        "
---
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: {{ name: {name}, namespace: {namespace} }}
stringData: {data}
"
    )
}

/// The ConfigMap `controller`, with keys in flow style.
pub fn config_map(namespace: &str, data: &str) -> String {
    format!(
        "\n---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: controller, namespace: {namespace}}}, data: {data}}}\n"
    )
}
