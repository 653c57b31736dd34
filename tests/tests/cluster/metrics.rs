//! A real Prometheus that scrapes both services under traffic.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hickory_proto::rr::RecordType;
use nix::sys::signal::Signal;
use tests::credentials::CertificateAuthority;
use tests::dns::{DnsClient, Transport};
use tests::monitoring::{self, MonitoringQuery};
use tests::node::Node;
use tests::pod_images::PODS;
use tests::process::Process;
use tests::prometheus::{Prometheus, ScrapeTarget};
use tests::web::EDGE;
use tests::{http, programs, wait};

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

pub(crate) fn prometheus_answers_every_query_of_dashboards_and_alerts(node: &mut Node) {
    let certificate = CertificateAuthority::new("tests").issue(&["web.metrics.test"]);
    let quoted = |text: &str| format!("{text:?}");
    let objects = OBJECTS
        .replace("IMAGE", PODS)
        .replace("CERTIFICATE", &quoted(&certificate.certificate))
        .replace("KEY", &quoted(&certificate.key));
    node.apply(&objects);
    node.wait_for_rollout("metrics", "deployment/web");

    let [dns, _ingress] = services(node);
    let targets = [
        ScrapeTarget { job: "kube-dns", address: local(DNS_METRICS), namespace: "kube-system" },
        ScrapeTarget { job: "ingress", address: local(INGRESS_METRICS), namespace: "ingress-nginx" },
    ];
    let prometheus = Prometheus::start(node.folder(), &targets);
    // Is reported as a problem, and counted as a failed reload.
    std::fs::write(node.folder().join("metrics.Corefile"), ".:1053 {\n    no-such-plugin\n}\n")
        .expect("the scratch folder is writable");
    dns.signal(Signal::SIGUSR1);

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
    node.kubectl(&["delete", "namespace", "metrics", "--wait=false"]);
    node.kubectl(&["delete", "ingressclass", "metrics"]);
}

/// Starts `portolan dns` and `portolan ingress` beside the node's programs, and waits until both are ready.
fn services(node: &Node) -> [Process; 2] {
    let (kubeconfig, folder) = (node.kubeconfig(), node.folder());
    let corefile = format!(
        "
.:1053 {{
    errors
    health 127.0.0.1:8090
    ready 127.0.0.1:8091
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
    prometheus 127.0.0.1:{DNS_METRICS}
    forward . 127.0.0.1:1054
    cache 30
    reload
    loadbalance
}}
.:1054 {{
    whoami
}}
# Its upstream answers neither queries nor health checks.
broken.test:1054 {{
    prometheus 127.0.0.1:{DNS_METRICS}
    forward . 127.0.0.1:1055 {{
        health_check 100ms
        max_fails 1
        failfast_all_unhealthy_upstreams
    }}
}}
",
        kubeconfig.display()
    );
    let path = folder.join("metrics.Corefile");
    std::fs::write(&path, corefile).expect("the scratch folder is writable");
    let dns = start("dns", folder, &["-conf", &path.to_string_lossy()]);
    let ingress = start(
        "ingress",
        folder,
        &[
            "--kubeconfig",
            &kubeconfig.to_string_lossy(),
            "--enable-metrics",
            "--healthz-host=127.0.0.1",
            "--controller-class=tests/metrics",
            "--ingress-class=metrics",
            "--post-shutdown-grace-period=0",
        ],
    );
    for (port, path) in [(8091, "/ready"), (INGRESS_METRICS, "/healthz")] {
        wait::until(path, LIMIT, || match page(port, path) {
            Ok((200, _)) => Ok(()),
            Ok((status, text)) => Err(format!("{status} {text}")),
            Err(problem) => Err(problem),
        });
    }
    [dns, ingress]
}

fn start(command: &str, folder: &Path, flags: &[&str]) -> Process {
    let mut program = Command::new(programs::portolan().expect("it was built before the node started"));
    program.arg(command).args(flags);
    program.env("POD_NAME", format!("{command}-0")).env("POD_NAMESPACE", "ingress-nginx");
    Process::start(&format!("portolan-{command}"), program, folder)
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
