//! Backends that several cases use.

use tests::node::ClusterNode;
use tests::pod_images::PODS;

/// The namespace of the backends.
pub(crate) const SHOP: &str = "shop";

/// Starts the backend `web` with two Pods unless it is running.
pub(crate) fn ensure_web(node: &ClusterNode) {
    node.apply(&backend(SHOP, "web", 2));
    node.wait_for_rollout(SHOP, "deployment/web");
}

/// A Deployment of the backend and its Service.
pub(crate) fn backend(namespace: &str, name: &str, replicas: u32) -> String {
    format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{ name: {namespace} }}
---
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  selector: {{ app: {name} }}
  ports: [{{ name: http, port: 80, targetPort: 8080 }}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {name}, namespace: {namespace} }}
spec:
  replicas: {replicas}
  strategy: {{ rollingUpdate: {{ maxUnavailable: 0 }} }}
  selector: {{ matchLabels: {{ app: {name} }} }}
  template:
    metadata: {{ labels: {{ app: {name} }} }}
    spec:
      containers:
      - name: {name}
        image: {PODS}
        args: [serve]
        ports: [{{ containerPort: 8080 }}]
        readinessProbe: {{ httpGet: {{ path: /, port: 8080 }}, periodSeconds: 1 }}
"
    )
}
