//! Our image in the Deployment of ingress-nginx's manifest: with its arguments, environment, security context, probes and ports.

use std::net::Ipv4Addr;

use tests::credentials::CertificateAuthority;
use tests::http;
use tests::node::{Node, POD_TIMEOUT};
use tests::pod_images::PORTOLAN;
use tests::wait;

use crate::backends::{SHOP, ensure_web};

/// The parts of the manifest for clouds that the Pod needs. A Job of the original makes the webhook's certificate.
fn manifest() -> String {
    let certificate = CertificateAuthority::new("webhook").issue(&["ingress-nginx-controller-admission"]);
    let indented = |pem: &str| pem.replace('\n', "\n    ");
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
stringData:
  cert: |
    {}
  key: |
    {}
---
apiVersion: v1
kind: Service
metadata: {{ name: ingress-nginx-controller, namespace: ingress-nginx }}
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
metadata: {{ name: nginx }}
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
        indented(&certificate.certificate),
        indented(&certificate.key)
    )
}

pub(crate) fn ingress_nginxs_manifest_runs_our_image(node: &mut Node) {
    ensure_web(node);
    let manifest = manifest();
    node.apply(&manifest);
    node.apply(&format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{ name: stock, namespace: {SHOP} }}
spec:
  ingressClassName: nginx
  rules:
  - host: stock.example
    http:
      paths: [{{ path: /, pathType: Prefix, backend: {{ service: {{ name: web, port: {{ name: http }} }} }} }}]
"
    ));
    node.wait_for_rollout("ingress-nginx", "deployment/ingress-nginx-controller");
    let service = node.field("ingress-nginx", "service/ingress-nginx-controller", "{.spec.clusterIP}");
    let address = (service.parse::<Ipv4Addr>().expect("a ClusterIP"), 80).into();
    wait::until("the route to be served", POD_TIMEOUT, || {
        let response = http::get(address, "stock.example", "/").map_err(|error| error.to_string())?;
        if response.status == 200 { Ok(()) } else { Err(format!("{} {}", response.status, response.text())) }
    });
    node.kubectl(&["delete", "ingress", "-n", SHOP, "stock"]);
    // With its preStop hook, and long before the grace period of five minutes, which the namespace's deletion would wait for.
    node.kubectl(&["delete", "deployment", "-n", "ingress-nginx", "ingress-nginx-controller"]);
    node.wait_for_only("ingress-nginx", "app.kubernetes.io/name=ingress-nginx", 0);
    node.delete(&manifest);
}
