//! The cache of a node: the chart's DaemonSet in the network of the node, and Pods whose resolv.conf names its address.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;

use tests::dns::DnsClient;
use tests::meter::Meter;
use tests::node::{ClusterNode, POD_TIMEOUT};
use tests::pod_images::RESOLVERS;
use tests::{http, wait};

use crate::backends::{SHOP, ensure_web};
use crate::chart;
use crate::resolvers;
use crate::security::processes;

/// The namespace and the name of the release.
const NAME: &str = "local";

const DAEMON_SET: &str = "daemonset/local-dns-node-cache";

/// The chart's default address, and the interface that has it.
const ADDRESS: &str = "169.254.20.10";
const INTERFACE: &str = "/sys/class/net/nodelocaldns";

/// Another release may be the cluster's DNS.
const VALUES: &str =
    "image.tag=dev,controller.enabled=false,dns.enabled=true,dns.replicaCount=1,dns.nodeCache.enabled=true";

/// What kubelet writes into the resolv.conf of a Pod if its `clusterDNS` is the address of the cache.
const SETTINGS: &str = r#"{"dnsPolicy":"None","dnsConfig":{"nameservers":["169.254.20.10"],"options":[{"name":"ndots","value":"5"}],
"searches":["shop.svc.cluster.local","svc.cluster.local","cluster.local"]}}"#;

fn address(port: u16) -> SocketAddr {
    SocketAddr::new(ADDRESS.parse::<IpAddr>().expect("an address"), port)
}

/// Whether the node has the address.
fn is_local() -> bool {
    UdpSocket::bind(address(0)).is_ok()
}

fn metrics(port: u16) -> String {
    let page =
        http::get(([127, 0, 0, 1], port).into(), "localhost", "/metrics").expect("the cache serves metrics");
    assert_eq!(page.status, 200, "{}", page.text());
    page.text()
}

/// The value of a series, the sum of all that begin with `series`.
fn value(page: &str, series: &str) -> f64 {
    let lines: Vec<&str> = page.lines().filter(|line| line.starts_with(series)).collect();
    assert!(!lines.is_empty(), "{series} in:\n{page}");
    lines.iter().filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// The process of the cache, in the network of the node.
fn process() -> u32 {
    let network = |id: &str| fs::read_link(format!("/proc/{id}/ns/net")).ok();
    let is_cache = |id: &u32| {
        let command = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
        command.split('\0').any(|arg| arg == "node-cache") && network(&id.to_string()) == network("self")
    };
    let own: Vec<u32> = processes().into_iter().filter(is_cache).collect();
    assert_eq!(own.len(), 1, "one cache in the node's network: {own:?}");
    own[0]
}

pub(crate) fn pods_resolve_through_the_cache_of_their_node(node: &mut ClusterNode) {
    ensure_web(node);
    assert!(!is_local() && !Path::new(INTERFACE).exists(), "the node has the address already");
    let folder = chart::folder();
    let folder = folder.to_string_lossy();
    let install = ["install", NAME, &folder, "-n", NAME, "--create-namespace", "--set", VALUES];
    node.helm(&[&install[..], &["--wait", "--timeout", "80s"]].concat());
    node.wait_for_rollout(NAME, DAEMON_SET);
    assert!(is_local());

    // Names of the cluster from its DNS Pods, others from the servers of the node.
    let queries = node.upstream.query_count();
    let web = node.field(SHOP, "service/web", "{.spec.clusterIP}");
    let names = vec![
        format!("web = {web}"),
        format!("web.{SHOP}.svc.cluster.local. = {web}"),
        "kubernetes.default = 10.96.0.1".to_owned(),
        "www.example.com = 192.0.2.8".to_owned(),
        format!("none.{SHOP} = not found"),
    ];
    resolvers::expect(node, SETTINGS, RESOLVERS.map(|_| names.clone()));
    assert!(node.upstream.query_count() > queries, "external names come from the upstream");

    let page = metrics(9253);
    assert!(value(&page, "coredns_cache_hits_total") > 0.0);
    assert!(value(&page, "coredns_forward_requests_total") > 0.0);
    assert_eq!(value(&metrics(9353), "coredns_nodecache_setup_errors_total"), 0.0);
    let health = http::get(address(8080), ADDRESS, "/health").expect("the health page answers");
    assert_eq!(health.status, 200, "{}", health.text());

    // A process that is killed leaves the address; the next one takes it.
    let killed = process();
    let kill = Command::new("kill").args(["-KILL", &killed.to_string()]).status();
    assert!(kill.expect("kill runs").success());
    let pod = node.pods(NAME, "app.kubernetes.io/component=node-cache").concat();
    wait::until("kubelet to start the cache again", POD_TIMEOUT, || {
        match node.field(NAME, &format!("pod/{pod}"), "{.status.containerStatuses[0].restartCount}").as_str()
        {
            "0" => Err("no restart".to_owned()),
            _ => Ok(()),
        }
    });
    assert!(is_local());
    let client = DnsClient(address(53));
    client.expect(
        POD_TIMEOUT,
        "kubernetes.default.svc.cluster.local A = 10.96.0.1\nwww.example.com A = 192.0.2.8",
    );

    let meter = Meter::of(node);
    let series = meter.lookups(ADDRESS, "kubernetes.default.svc.cluster.local.", "10.96.0.1");
    node.kubectl(&["rollout", "restart", "-n", NAME, DAEMON_SET]);
    node.wait_for_rollout(NAME, DAEMON_SET);
    let report = series.end();
    eprintln!("    lost while the cache is replaced: {}", report.sent - report.right);
    let series = [
        meter.lookups(ADDRESS, "kubernetes.default.svc.cluster.local.", "10.96.0.1"),
        meter.lookups(ADDRESS, "www.example.com.", "192.0.2.8"),
    ];
    let log = node.kubectl(&["logs", "-n", NAME, DAEMON_SET]);
    crate::migrate::no_loss(series, 1);
    let warnings: Vec<&str> =
        log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    assert!(warnings.iter().all(|line| line.contains("the kernel has no dummy interfaces")), "{warnings:?}");

    node.helm(&["uninstall", NAME, "-n", NAME, "--wait", "--timeout", "80s"]);
    wait::until("the address and the interface to be removed", POD_TIMEOUT, || {
        match (is_local(), Path::new(INTERFACE).exists()) {
            (false, false) => Ok(()),
            left => Err(format!("(address, interface) = {left:?}")),
        }
    });
    node.kubectl(&["delete", "namespace", NAME, "--wait=false"]);
}
