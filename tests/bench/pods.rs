//! Both services in Pods of a real node, as the chart installs them: the time from the start of the process until it is ready, and its
//! memory, idle and under load, in an empty cluster and in a large one.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use serde_json::json;
use tests::dns::{DnsClient, Transport};
use tests::http::{self, Connection};
use tests::node::{self, ClusterNode};
use tests::{isolation, pod_images, programs};

use crate::objects;
use crate::process::Memory;
use crate::table::{Table, mebibytes};

/// Time until memory is read: allocators return freed memory late.
const IDLE: Duration = Duration::from_secs(10);

const LOAD: Duration = Duration::from_secs(10);

/// How long a Pod may take to be replaced and to be ready.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Connections of a load, each with one request after the other.
const CLIENTS: usize = 16;

/// kube-proxy ignores Services with this label: rules for all of them would take the node minutes.
const NO_PROXY: &str = "service.kubernetes.io/service-proxy-name";

/// Values that the node needs: one Pod each, and no load balancer. Requests and limits are the chart's.
const VALUES: [&str; 5] = [
    "image.tag=dev",
    "dns.enabled=true",
    "dns.replicaCount=1",
    "dns.service.clusterIP=10.96.0.10",
    "controller.service.type=ClusterIP",
];

const BACKEND: &str = "
apiVersion: v1
kind: Service
metadata: { name: web, namespace: default }
spec: { selector: { run: web }, ports: [{ name: http, port: 80, targetPort: 8080 }] }
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web, namespace: default }
spec:
  ingressClassName: nginx
  rules:
  - host: shop.example
    http: { paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { name: http } } } }] }
";

/// A Deployment of the chart.
struct Service {
    name: &'static str,
    deployment: &'static str,
    component: &'static str,
    /// Port and path of the page that answers 200 when the service is ready.
    ready: (u16, &'static str),
    /// One lookup or request. The arguments are the Pod's address and the number of the exchange.
    exchange: fn(&mut Option<Connection>, IpAddr, usize),
}

const SERVICES: [Service; 2] = [
    Service {
        name: "DNS",
        deployment: "portolan-dns",
        component: "dns",
        ready: (8181, "/ready"),
        exchange: lookup,
    },
    Service {
        name: "ingress",
        deployment: "portolan-controller",
        component: "controller",
        ready: (10254, "/healthz"),
        exchange: request,
    },
];

/// Measures, and prints a Markdown table. Needs root and the Debian packages of the tests on a node.
pub(crate) fn measure() -> Result<ExitCode, String> {
    let prepare = |folder: &Path| {
        node::check_packages()?;
        programs::cluster()?;
        programs::helm()?;
        pod_images::write_all(&folder.join("images"))
    };
    isolation::run(prepare, |folder| match in_namespaces(folder) {
        Ok(table) => {
            println!("{table}");
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("bench: {problem}");
            ExitCode::FAILURE
        }
    })
}

fn in_namespaces(folder: &Path) -> Result<Table, String> {
    let node = ClusterNode::start(folder)?;
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/portolan");
    let chart = chart.to_string_lossy();
    let mut install = vec!["install", "portolan", &chart, "-n", "kube-system", "--wait", "--timeout", "80s"];
    VALUES.iter().for_each(|value| install.extend(["--set", value]));
    node.helm(&install);
    node.kubectl(&["run", "web", "--image", pod_images::PODS, "--", "serve"]);
    node.wait_for("default", "pod/web", "condition=Ready");
    node.apply(BACKEND);

    let mut table = Table::new(
        "Pods with the chart's default resources",
        &[
            "service",
            "cluster",
            "ready after",
            "RSS idle",
            "peak RSS under load",
            "answers",
            "requests",
            "limits",
        ],
    );
    for service in &SERVICES {
        table.row(row(&node, service, "empty")?);
    }
    let start = Instant::now();
    objects::create(&node.plane.api, &json!({ NO_PROXY: "none" }));
    let (services, endpoints) = (objects::SERVICES, objects::SERVICES * objects::ENDPOINTS);
    table.note(format!("{services} Services and {endpoints} endpoints, created in {:.0?}", start.elapsed()));
    for service in &SERVICES {
        table.row(row(&node, service, "large")?);
    }
    table.note(format!(
        "load: {CLIENTS} connections for {LOAD:?}; lookups of a cluster name and of names that do not exist by turns, or POST requests \
         with 64 KiB"
    ));
    Ok(table)
}

fn row(node: &ClusterNode, service: &Service, cluster: &str) -> Result<Vec<String>, String> {
    let before = processes();
    let selector = format!("app.kubernetes.io/component={}", service.component);
    node.kubectl(&["delete", "pod", "-n", "kube-system", "-l", &selector, "--wait=false"]);
    let (id, address) = until("the process of the new Pod", || {
        let id = processes().into_iter().find(|id| !before.contains(id))?;
        Some((id, address_of(id)?))
    })?;
    until("the new Pod to be ready", || {
        let (port, path) = service.ready;
        let page = http::get(SocketAddr::new(address, port), "localhost", path).ok()?;
        (page.status == 200).then_some(())
    })?;
    let ready = age(id)?;
    node.wait_for_rollout("kube-system", &format!("deployment/{}", service.deployment));
    node.wait_for_only("kube-system", &selector, 1);
    std::thread::sleep(IDLE);
    let idle = Memory::of(id);
    Memory::reset_peak(id)?;
    let answers = load(|connection, at| (service.exchange)(connection, address, at));
    let loaded = Memory::of(id);
    let resources = |which: &str| {
        let path = format!("{{.spec.template.spec.containers[0].resources.{which}}}");
        node.field("kube-system", &format!("deployment/{}", service.deployment), &path).replace('"', "")
    };
    Ok(vec![
        service.name.to_owned(),
        cluster.to_owned(),
        format!("{:.2} s", ready.as_secs_f64()),
        mebibytes(idle.rss),
        mebibytes(loaded.peak),
        answers.to_string(),
        resources("requests"),
        resources("limits"),
    ])
}

fn lookup(_: &mut Option<Connection>, pod: IpAddr, at: usize) {
    let name = match at % 2 {
        0 => "web.default.svc.cluster.local".to_owned(),
        // Each of them is another entry of the cache.
        _ => format!("none-{at}.example.com"),
    };
    let server = DnsClient(SocketAddr::new(pod, 53));
    server.query(Transport::Udp, &name, RecordType::A).expect("a reply");
}

fn request(connection: &mut Option<Connection>, pod: IpAddr, _: usize) {
    let body = [b'x'; 64 << 10];
    let open = connection
        .get_or_insert_with(|| Connection::plain(SocketAddr::new(pod, 80)).expect("the Pod answers"));
    let response = open.send("POST", "/", &[("host", "shop.example")], &body).expect("an answer");
    assert_eq!(response.status, 200, "{}", response.text());
    // After a thousand requests (`keep-alive-requests`).
    if response.header("connection") == Some("close") {
        *connection = None;
    }
}

/// Runs exchanges on all connections, and returns their number.
fn load(exchange: impl Fn(&mut Option<Connection>, usize) + Sync) -> usize {
    let (count, start) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut connection = None;
                while start.elapsed() < LOAD {
                    exchange(&mut connection, count.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
    });
    count.into_inner()
}

/// Polls until there is a value. Rarely enough not to slow down what it waits for.
fn until<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> Result<T, String> {
    let start = Instant::now();
    loop {
        if let Some(value) = value() {
            return Ok(value);
        }
        if start.elapsed() > TIMEOUT {
            return Err(format!("waited {TIMEOUT:?} for {what}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes of Portolan.
fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_portolan =
        |id: &u32| fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "portolan");
    ids.filter(is_portolan).collect()
}

/// The address of a process's Pod, from the routing table of its network.
fn address_of(id: u32) -> Option<IpAddr> {
    let routes = fs::read_to_string(format!("/proc/{id}/net/fib_trie")).ok()?;
    let mut leaf = None;
    for line in routes.lines() {
        if let Some(address) = line.trim().strip_prefix("|-- ") {
            leaf = address.parse::<IpAddr>().ok();
        } else if line.contains("/32 host LOCAL") && leaf.is_some_and(|address| !address.is_loopback()) {
            return leaf;
        }
    }
    None
}

/// How long a process has been running, within ten milliseconds (fields of /proc/PID/stat and /proc/uptime).
fn age(id: u32) -> Result<Duration, String> {
    let read = |path: String| fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"));
    let (stat, uptime) = (read(format!("/proc/{id}/stat"))?, read("/proc/uptime".to_owned())?);
    let start = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(19)?.parse::<f64>().ok());
    let now = uptime.split(' ').next().and_then(|seconds| seconds.parse::<f64>().ok());
    // A tick is 10 ms on Linux, whatever the kernel's own clock.
    start.zip(now).map(|(start, now)| Duration::from_secs_f64((now - start / 100.0).max(0.0))).ok_or(stat)
}
