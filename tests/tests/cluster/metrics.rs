//! A real Prometheus that scrapes both services under traffic.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use tests::credentials::CertificateAuthority;
use tests::dns::{DnsClient, Transport};
use tests::monitoring::{self, MonitoringQuery};
use tests::node::ClusterNode;
use tests::pod_images::{PODS, PORTOLAN};
use tests::prometheus::{Prometheus, ScrapeTarget};
use tests::web::EDGE;
use tests::{http, wait};

/// How long all queries may take to return series: the intervals of their rates have to be filled.
const LIMIT: Duration = Duration::from_secs(90);

/// Where the programs under test serve their metrics.
const DNS_METRICS: u16 = 9153;
const INGRESS_METRICS: u16 = 10254;

const OBJECTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: metrics }
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: metrics }
spec: { controller: tests/metrics }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: metrics }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{ name: web, image: "IMAGE", args: [serve] }]
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: metrics }
spec: { selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: canary, namespace: metrics }
spec: { selector: { app: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Secret
type: kubernetes.io/tls
metadata: { name: web, namespace: metrics }
stringData:
  tls.crt: CERTIFICATE
  tls.key: KEY
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web, namespace: metrics, annotations: { nginx.ingress.kubernetes.io/server-snippet: "", nginx.ingress.kubernetes.io/proxy-body-size: 2m } }
spec:
  ingressClassName: metrics
  tls: [{ hosts: [web.metrics.test], secretName: web }]
  rules:
  - host: web.metrics.test
    http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { name: http } } } }] }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: canary
  namespace: metrics
  annotations:
    nginx.ingress.kubernetes.io/canary: "true"
    nginx.ingress.kubernetes.io/canary-by-header: X-Canary
spec:
  ingressClassName: metrics
  rules:
  - host: web.metrics.test
    http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: canary, port: { name: http } } } }] }
---
# Its Service does not exist.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: orphan, namespace: metrics }
spec:
  ingressClassName: metrics
  rules:
  - host: orphan.metrics.test
    http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: missing, port: { number: 80 } } } }] }
---
# An annotation that protects it and is not honoured closes it.
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: closed, namespace: metrics, annotations: { nginx.ingress.kubernetes.io/enable-modsecurity: "true" } }
spec:
  ingressClassName: metrics
  rules:
  - host: closed.metrics.test
    http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { name: http } } } }] }
"#;

/// Both services in the node's network, so that their pages are on loopback addresses.
const SERVICES: &str = r#"
apiVersion: v1
kind: ServiceAccount
metadata: { name: dns, namespace: metrics }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: ingress, namespace: metrics }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: metrics-dns }
rules:
- { apiGroups: [""], resources: [namespaces, services], verbs: [list, watch] }
- { apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: metrics-ingress }
rules:
- { apiGroups: [networking.k8s.io], resources: [ingressclasses, ingresses], verbs: [list, watch] }
- { apiGroups: [""], resources: [configmaps, secrets, services], verbs: [list, watch] }
- { apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: metrics-dns }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: metrics-dns }
subjects: [{ kind: ServiceAccount, name: dns, namespace: metrics }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: metrics-ingress }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: metrics-ingress }
subjects: [{ kind: ServiceAccount, name: ingress, namespace: metrics }]
---
apiVersion: v1
kind: Pod
metadata: { name: dns, namespace: metrics }
spec:
  serviceAccountName: dns
  hostNetwork: true
  containers:
  - name: dns
    image: IMAGE
    args: [-conf, /etc/coredns/Corefile]
    readinessProbe: { httpGet: { host: 127.0.0.1, port: 8091, path: /ready }, periodSeconds: 1 }
    volumeMounts: [{ name: corefile, mountPath: /etc/coredns }]
  volumes: [{ name: corefile, hostPath: { path: "FOLDER" } }]
---
apiVersion: v1
kind: Pod
metadata: { name: ingress, namespace: metrics }
spec:
  serviceAccountName: ingress
  hostNetwork: true
  containers:
  - name: ingress
    image: IMAGE
    args:
    - /nginx-ingress-controller
    - --enable-metrics
    - --healthz-host=127.0.0.1
    - --controller-class=tests/metrics
    - --ingress-class=metrics
    env:
    - { name: POD_NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
    - { name: POD_NAMESPACE, valueFrom: { fieldRef: { fieldPath: metadata.namespace } } }
    readinessProbe: { httpGet: { host: 127.0.0.1, port: 10254, path: /healthz }, periodSeconds: 1 }
"#;

/// The DNS server, an upstream that answers, and one that does not.
const COREFILE: &str = "
.:1053 {
    errors
    health 127.0.0.1:8090
    ready 127.0.0.1:8091
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus 127.0.0.1:9153
    forward . 127.0.0.1:1054
    cache 30
    reload 2s 1s
    loadbalance
}
.:1054 {
    whoami
}
# Its upstream answers neither queries nor health checks.
broken.test:1054 {
    forward . 127.0.0.1:1055 {
        health_check 100ms
        max_fails 1
        failfast_all_unhealthy_upstreams
    }
}
";

/// An Ingress that comes and goes, so that the configuration changes.
const CHANGING: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: changing, namespace: metrics }
spec:
  ingressClassName: metrics
  rules:
  - host: changing.metrics.test
    http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { name: http } } } }] }
"#;

pub(crate) fn prometheus_answers_every_query_of_dashboards_and_alerts(node: &mut ClusterNode) {
    let certificate = CertificateAuthority::new("tests").issue(&["web.metrics.test"]);
    let quoted = |text: &str| format!("{text:?}");
    let objects = OBJECTS
        .replace("IMAGE", PODS)
        .replace("CERTIFICATE", &quoted(&certificate.certificate))
        .replace("KEY", &quoted(&certificate.key));
    node.apply(&objects);
    node.wait_for_rollout("metrics", "deployment/web");

    let corefile = node.folder().join("corefile");
    fs::create_dir_all(&corefile).expect("the scratch folder is writable");
    let write = |text: &str| {
        // Replaces the file at once, so that it is never read half written.
        fs::write(corefile.join("new"), text).expect("the scratch folder is writable");
        fs::rename(corefile.join("new"), corefile.join("Corefile")).expect("the scratch folder is writable");
    };
    write(COREFILE);
    let folder = corefile.to_string_lossy();
    node.apply(&SERVICES.replace("IMAGE", PORTOLAN).replace("FOLDER", &folder));
    for pod in ["pod/dns", "pod/ingress"] {
        node.wait_for("metrics", pod, "condition=Ready");
    }
    let targets = [
        ScrapeTarget { job: "kube-dns", address: local(DNS_METRICS), namespace: "kube-system" },
        ScrapeTarget { job: "ingress", address: local(INGRESS_METRICS), namespace: "ingress-nginx" },
    ];
    let prometheus = Prometheus::start(node.folder(), &targets);
    // Is reported as a problem, and counted as a failed reload.
    write(".:1053 {\n    no-such-plugin\n}\n");

    let mut open = monitoring::queries();
    let all = open.len();
    assert!(all > 200, "{all} queries are not all dashboards, alerts and the list");
    let mut round = 0;
    wait::until("every query to return series", LIMIT, || {
        traffic();
        round += 1;
        // Time stamps of changes have a resolution of a second.
        match round % 8 {
            1 => _ = node.apply(CHANGING),
            5 => _ = node.delete(CHANGING),
            _ => {}
        }
        let mut problems = Vec::new();
        open.retain(|query| match answered(&prometheus, query) {
            Ok(()) => false,
            Err(problem) => {
                problems.push(problem);
                true
            }
        });
        if problems.is_empty() { Ok(()) } else { Err(format!("\n  {}", problems.join("\n  "))) }
    });
    eprintln!("{all} queries returned series after {round} rounds of traffic");

    wait::until("every rule to be evaluated", LIMIT, || {
        let rules = prometheus.rules()?;
        assert_eq!(rules.len(), monitoring::alerts().len());
        match rules.iter().find(|rule| rule["health"] != "ok") {
            None => Ok(()),
            Some(rule) => Err(format!("{}: {} {}", rule["name"], rule["health"], rule["lastError"])),
        }
    });
    only_documented_metrics();
    drop(prometheus);
    // Later cases may use the ports.
    node.kubectl(&["delete", "pod", "-n", "metrics", "dns", "ingress", "--now"]);
    node.kubectl(&["delete", "namespace", "metrics", "--wait=false"]);
    node.kubectl(&["delete", "ingressclass", "metrics"]);
    node.kubectl(&["delete", "clusterrole,clusterrolebinding", "metrics-dns", "metrics-ingress"]);
}

/// One of everything that a panel distinguishes.
fn traffic() {
    let dns = DnsClient(([127, 0, 0, 1], 1053).into());
    for transport in [Transport::Udp, Transport::Tcp] {
        for (name, kind) in [
            ("web.metrics.svc.cluster.local.", RecordType::A),
            ("web.metrics.svc.cluster.local.", RecordType::AAAA),
            ("no-such-name.metrics.svc.cluster.local.", RecordType::A),
            ("www.example.org.", RecordType::A),
        ] {
            dns.query(transport, name, kind).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        // SERVFAIL; while the upstream still counts as healthy the reply may come too late.
        let _ = dns.query(transport, "www.broken.test.", RecordType::A);
        dns.query_with_dnssec(transport, "www.example.org.", RecordType::A).expect("a reply");
    }
    let get = |url: &str, headers: &[&str]| EDGE.get(url, headers).map(|response| response.status);
    assert_eq!(get("http://web.metrics.test/", &[]), Ok(308), "TLS is required");
    assert_eq!(get("https://web.metrics.test/", &[]), Ok(200));
    assert_eq!(get("https://web.metrics.test/", &["x-canary: always"]), Ok(200));
    assert_eq!(get("http://orphan.metrics.test/", &[]), Ok(503));
    assert_eq!(get("http://closed.metrics.test/", &[]), Ok(503));
    assert!(too_large().starts_with("HTTP/1.1 413"), "{}", too_large());
}

/// The response to a request whose body is over the limit.
fn too_large() -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", 80)).expect("the edge listens");
    let head = "POST / HTTP/1.1\r\nHost: orphan.metrics.test\r\nContent-Length: 9000000\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("the edge reads");
    let mut start = [0; 512];
    let length = stream.read(&mut start).expect("the edge answers");
    String::from_utf8_lossy(&start[..length]).into_owned()
}

fn answered(prometheus: &Prometheus, query: &MonitoringQuery) -> Result<(), String> {
    match prometheus.count(&query.expression) {
        Ok(0) => Err(format!("{}: no series: {}", query.origin, query.expression)),
        Ok(_) => Ok(()),
        Err(problem) => Err(format!("{}: {problem}: {}", query.origin, query.expression)),
    }
}

/// Both pages have no metric that the reference of metrics does not list.
fn only_documented_metrics() {
    let documented = monitoring::documented_metrics();
    for port in [DNS_METRICS, INGRESS_METRICS] {
        let (_, text) = page(port, "/metrics").expect("metrics are served");
        let shown: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        assert!(shown.len() > 30, "{port}: {shown:?}");
        for (name, kind) in shown {
            let known = documented.get(name).is_some_and(|documented| documented == kind);
            assert!(known, "{name} ({kind}) is not in docs/reference/metrics.md");
        }
    }
}

fn page(port: u16, path: &str) -> Result<(u16, String), String> {
    let response =
        http::get(([127, 0, 0, 1], port).into(), "localhost", path).map_err(|error| error.to_string())?;
    Ok((response.status, response.text()))
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
