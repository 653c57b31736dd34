//! Manifests that several cases use.

use std::net::SocketAddr;

use tests::credentials::CertificateAuthority;
use tests::dns::DnsClient;
use tests::kubeadm::COREFILE;
use tests::node::{ClusterNode, POD_TIMEOUT};
use tests::pod_images::{COREDNS, PORTOLAN};
use tests::stage::DNS;

/// Starts stock CoreDNS unless it is running, and waits until its Service answers.
pub(crate) fn ensure_stock_dns(node: &ClusterNode) {
    node.apply(&kubeadm_dns());
    node.wait_for_rollout("kube-system", "deployment/coredns");
    // Ready Pods are reached once kube-proxy has followed their endpoints.
    let server = DnsClient(SocketAddr::new(DNS.parse().expect("a valid address"), 53));
    server.expect(POD_TIMEOUT, "kubernetes.default.svc.cluster.local A = 10.96.0.1");
}

/// Deletes stock CoreDNS, so that another server can have the ClusterIP. Does nothing if it is not there.
pub(crate) fn remove_stock_dns(node: &ClusterNode) {
    if node.read("kube-system", "deployment/coredns").is_some() {
        node.delete(&kubeadm_dns());
        node.wait_for_only("kube-system", "k8s-app=kube-dns", 0);
    }
}

/// The Deployment, ConfigMap, permissions and Service with which kubeadm installs CoreDNS: the same names, arguments, ports,
/// probes, volumes and security context.
fn kubeadm_dns() -> String {
    format!(
        r#"
apiVersion: v1
kind: ServiceAccount
metadata: {{ name: coredns, namespace: kube-system }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{ name: "system:coredns" }}
rules:
- {{ apiGroups: [""], resources: [endpoints, services, pods, namespaces], verbs: [list, watch] }}
- {{ apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch] }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{ name: "system:coredns" }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:coredns" }}
subjects: [{{ kind: ServiceAccount, name: coredns, namespace: kube-system }}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{ name: coredns, namespace: kube-system }}
data: {{ Corefile: {COREFILE:?} }}
---
apiVersion: v1
kind: Service
metadata: {{ name: kube-dns, namespace: kube-system, labels: {{ k8s-app: kube-dns }} }}
spec:
  clusterIP: 10.96.0.10
  selector: {{ k8s-app: kube-dns }}
  ports:
  - {{ name: dns, port: 53, protocol: UDP, targetPort: 53 }}
  - {{ name: dns-tcp, port: 53, protocol: TCP, targetPort: 53 }}
  - {{ name: metrics, port: 9153, protocol: TCP, targetPort: 9153 }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: coredns, namespace: kube-system, labels: {{ k8s-app: kube-dns }} }}
spec:
  replicas: 2
  strategy: {{ type: RollingUpdate, rollingUpdate: {{ maxUnavailable: 1 }} }}
  selector: {{ matchLabels: {{ k8s-app: kube-dns }} }}
  template:
    metadata: {{ labels: {{ k8s-app: kube-dns }} }}
    spec:
      priorityClassName: system-cluster-critical
      serviceAccountName: coredns
      dnsPolicy: Default
      nodeSelector: {{ kubernetes.io/os: linux }}
      containers:
      - name: coredns
        image: {COREDNS}
        imagePullPolicy: IfNotPresent
        args: [-conf, /etc/coredns/Corefile]
        resources: {{ limits: {{ memory: 170Mi }}, requests: {{ cpu: 100m, memory: 70Mi }} }}
        volumeMounts: [{{ name: config-volume, mountPath: /etc/coredns, readOnly: true }}]
        ports:
        - {{ containerPort: 53, name: dns, protocol: UDP }}
        - {{ containerPort: 53, name: dns-tcp, protocol: TCP }}
        - {{ containerPort: 9153, name: metrics, protocol: TCP }}
        - {{ containerPort: 8080, name: liveness-probe, protocol: TCP }}
        - {{ containerPort: 8181, name: readiness-probe, protocol: TCP }}
        livenessProbe:
          httpGet: {{ path: /health, port: liveness-probe, scheme: HTTP }}
          initialDelaySeconds: 60
          timeoutSeconds: 5
          failureThreshold: 5
        readinessProbe:
          httpGet: {{ path: /ready, port: readiness-probe, scheme: HTTP }}
        securityContext:
          allowPrivilegeEscalation: false
          capabilities: {{ add: [NET_BIND_SERVICE], drop: [ALL] }}
          readOnlyRootFilesystem: true
      volumes:
      - name: config-volume
        configMap: {{ name: coredns, items: [{{ key: Corefile, path: Corefile }}] }}
"#
    )
}

/// The parts of ingress-nginx's manifest for clouds that a Pod of the controller needs, with our image, since its own cannot be had
/// as a Go module. A Job of the original makes the webhook's certificate.
pub(crate) fn ingress_nginx() -> String {
    let certificate = CertificateAuthority::new("webhook").issue(&["ingress-nginx-controller-admission"]);
    format!(
        r#"
apiVersion: v1
kind: Namespace
metadata: {{ name: ingress-nginx }}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{ name: ingress-nginx, namespace: ingress-nginx }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{ name: ingress-nginx, namespace: ingress-nginx }}
rules:
- {{ apiGroups: [""], resources: [namespaces], verbs: [get] }}
- {{ apiGroups: [""], resources: [configmaps, pods, secrets, endpoints, services], verbs: [get, list, watch] }}
- {{ apiGroups: [networking.k8s.io], resources: [ingresses, ingressclasses], verbs: [get, list, watch] }}
- {{ apiGroups: [networking.k8s.io], resources: [ingresses/status], verbs: [update] }}
- {{ apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [ingress-nginx-leader], verbs: [get, update] }}
- {{ apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create] }}
- {{ apiGroups: [""], resources: [events], verbs: [create, patch] }}
- {{ apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch, get] }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{ name: ingress-nginx, namespace: ingress-nginx }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: Role, name: ingress-nginx }}
subjects: [{{ kind: ServiceAccount, name: ingress-nginx, namespace: ingress-nginx }}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{ name: ingress-nginx }}
rules:
- {{ apiGroups: [""], resources: [configmaps, endpoints, nodes, pods, secrets, namespaces], verbs: [list, watch] }}
- {{ apiGroups: [coordination.k8s.io], resources: [leases], verbs: [list, watch] }}
- {{ apiGroups: [""], resources: [nodes], verbs: [get] }}
- {{ apiGroups: [""], resources: [services], verbs: [get, list, watch] }}
- {{ apiGroups: [networking.k8s.io], resources: [ingresses, ingressclasses], verbs: [get, list, watch] }}
- {{ apiGroups: [""], resources: [events], verbs: [create, patch] }}
- {{ apiGroups: [networking.k8s.io], resources: [ingresses/status], verbs: [update] }}
- {{ apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch, get] }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{ name: ingress-nginx }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: ingress-nginx }}
subjects: [{{ kind: ServiceAccount, name: ingress-nginx, namespace: ingress-nginx }}]
---
apiVersion: v1
kind: ConfigMap
metadata: {{ name: ingress-nginx-controller, namespace: ingress-nginx }}
---
apiVersion: v1
kind: Secret
metadata: {{ name: ingress-nginx-admission, namespace: ingress-nginx }}
stringData: {{ cert: {:?}, key: {:?} }}
---
apiVersion: v1
kind: Service
metadata:
  name: ingress-nginx-controller
  namespace: ingress-nginx
  labels: {{ app.kubernetes.io/component: controller, app.kubernetes.io/instance: ingress-nginx, app.kubernetes.io/name: ingress-nginx }}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: {{ app.kubernetes.io/component: controller, app.kubernetes.io/name: ingress-nginx }}
  ports:
  - {{ appProtocol: http, name: http, port: 80, protocol: TCP, targetPort: http }}
  - {{ appProtocol: https, name: https, port: 443, protocol: TCP, targetPort: https }}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata:
  name: nginx
  labels: {{ app.kubernetes.io/component: controller, app.kubernetes.io/instance: ingress-nginx, app.kubernetes.io/name: ingress-nginx }}
spec: {{ controller: k8s.io/ingress-nginx }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: ingress-nginx-controller, namespace: ingress-nginx }}
spec:
  minReadySeconds: 0
  selector: {{ matchLabels: {{ app.kubernetes.io/component: controller, app.kubernetes.io/name: ingress-nginx }} }}
  strategy: {{ type: RollingUpdate, rollingUpdate: {{ maxUnavailable: 1 }} }}
  template:
    metadata: {{ labels: {{ app.kubernetes.io/component: controller, app.kubernetes.io/name: ingress-nginx }} }}
    spec:
      serviceAccountName: ingress-nginx
      dnsPolicy: ClusterFirst
      nodeSelector: {{ kubernetes.io/os: linux }}
      terminationGracePeriodSeconds: 300
      containers:
      - name: controller
        image: {PORTOLAN}
        imagePullPolicy: IfNotPresent
        args:
        - /nginx-ingress-controller
        - --publish-service=$(POD_NAMESPACE)/ingress-nginx-controller
        - --election-id=ingress-nginx-leader
        - --controller-class=k8s.io/ingress-nginx
        - --ingress-class=nginx
        - --configmap=$(POD_NAMESPACE)/ingress-nginx-controller
        - --validating-webhook=:8443
        - --validating-webhook-certificate=/usr/local/certificates/cert
        - --validating-webhook-key=/usr/local/certificates/key
        env:
        - {{ name: POD_NAME, valueFrom: {{ fieldRef: {{ fieldPath: metadata.name }} }} }}
        - {{ name: POD_NAMESPACE, valueFrom: {{ fieldRef: {{ fieldPath: metadata.namespace }} }} }}
        - {{ name: LD_PRELOAD, value: /usr/local/lib/libmimalloc.so }}
        lifecycle: {{ preStop: {{ exec: {{ command: [/wait-shutdown] }} }} }}
        livenessProbe:
          httpGet: {{ path: /healthz, port: 10254, scheme: HTTP }}
          failureThreshold: 5
          initialDelaySeconds: 10
          periodSeconds: 10
          timeoutSeconds: 1
        readinessProbe:
          httpGet: {{ path: /healthz, port: 10254, scheme: HTTP }}
          failureThreshold: 3
          initialDelaySeconds: 10
          periodSeconds: 10
          timeoutSeconds: 1
        ports:
        - {{ containerPort: 80, name: http, protocol: TCP }}
        - {{ containerPort: 443, name: https, protocol: TCP }}
        - {{ containerPort: 8443, name: webhook, protocol: TCP }}
        resources: {{ requests: {{ cpu: 100m, memory: 90Mi }} }}
        securityContext:
          allowPrivilegeEscalation: false
          capabilities: {{ add: [NET_BIND_SERVICE], drop: [ALL] }}
          readOnlyRootFilesystem: false
          runAsGroup: 82
          runAsNonRoot: true
          runAsUser: 101
          seccompProfile: {{ type: RuntimeDefault }}
        volumeMounts: [{{ name: webhook-cert, mountPath: /usr/local/certificates/, readOnly: true }}]
      volumes:
      - {{ name: webhook-cert, secret: {{ secretName: ingress-nginx-admission }} }}
"#,
        certificate.certificate, certificate.key
    )
}

/// Deletes what [`ingress_nginx`] made.
///
/// Pods first: the namespace controller waits for half of the longest grace period (300 s) if it finds Pods that are terminating.
pub(crate) fn delete_ingress_nginx(node: &ClusterNode) {
    node.kubectl(&["delete", "deployment", "-n", "ingress-nginx", "--all"]);
    node.wait_for_only("ingress-nginx", "", 0);
    node.delete(&ingress_nginx());
}
