//! Programs of four resolvers look names up with their Pod's resolver settings as kubelet wrote them.

use tests::dns::DnsClient;
use tests::node::ClusterNode;
use tests::pod_images::{MUSL, PODS, PYTHON, RESOLVERS};
use tests::stage::{DNS, SOON};

use crate::backends::{SHOP, ensure_web};
use crate::chart::ensure_installed;

/// Runs the programs of resolvers in Pods and compares the lines of each with its own expected ones (`name = answers in order`). `spec`
/// is a part of the Pods' specs in JSON.
#[track_caller]
pub(crate) fn expect(node: &ClusterNode, spec: &str, expected: [Vec<String>; RESOLVERS.len()]) {
    let spec = format!("--overrides={{\"apiVersion\":\"v1\",\"spec\":{spec}}}");
    let pods: Vec<String> = (0..RESOLVERS.len()).map(|at| format!("resolver-{at}")).collect();
    for ((pod, image), expected) in pods.iter().zip(RESOLVERS).zip(&expected) {
        let names: Vec<&str> = expected.iter().filter_map(|line| line.split(" = ").next()).collect();
        let run = ["run", "-n", SHOP, pod, "--image", image, "--restart=Never", &spec, "--"];
        node.kubectl(&[&run[..], &names].concat());
    }
    for ((pod, image), expected) in pods.iter().zip(RESOLVERS).zip(expected) {
        node.wait_for(SHOP, &format!("pod/{pod}"), "jsonpath={.status.phase}=Succeeded");
        let log = node.kubectl(&["logs", "-n", SHOP, pod]);
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines, expected, "{image}");
    }
    // A later case uses the names again.
    node.kubectl(
        &[&["delete", "pod", "-n", SHOP, "--now"], &pods.iter().map(String::as_str).collect::<Vec<_>>()[..]]
            .concat(),
    );
}

pub(crate) fn programs_of_four_resolvers_find_addresses_and_services(node: &mut ClusterNode) {
    ensure_installed(node);
    ensure_web(node);
    node.apply(&format!(
        "
apiVersion: v1
kind: Service
metadata: {{ name: out, namespace: {SHOP} }}
spec: {{ type: ExternalName, externalName: www.example.com }}
---
apiVersion: v1
kind: Service
metadata: {{ name: db, namespace: {SHOP} }}
spec: {{ clusterIP: None, selector: {{ app: db }}, ports: [{{ name: sql, port: 8080 }}] }}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{ name: db, namespace: {SHOP} }}
spec:
  serviceName: db
  replicas: 2
  podManagementPolicy: Parallel
  selector: {{ matchLabels: {{ app: db }} }}
  template:
    metadata: {{ labels: {{ app: db }} }}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {{ name: db, image: {PODS}, args: [serve], readinessProbe: {{ tcpSocket: {{ port: 8080 }}, periodSeconds: 1 }} }}
"
    ));
    node.wait_for_rollout(SHOP, "statefulset/db");
    let web = node.field(SHOP, "service/web", "{.spec.clusterIP}");
    let pods = [0, 1].map(|at| node.field(SHOP, &format!("pod/db-{at}"), "{.status.podIP}"));
    let mut both = pods.clone();
    both.sort();
    let both = both.join(" ");

    let suffix = "svc.cluster.local";
    DnsClient((DNS.parse::<std::net::Ipv4Addr>().expect("an address"), 53).into())
        .expect(SOON, &format!("db-1.db.{SHOP}.{suffix} A = {}", pods[1]));
    let queries = node.upstream.query_count();
    let addresses = [
        format!("web = {web}"),
        format!("web.{SHOP} = {web}"),
        format!("web.{SHOP}.{suffix} = {web}"),
        format!("web.{SHOP}.{suffix}. = {web}"),
        "kubernetes.default = 10.96.0.1".to_owned(),
        format!("db = {both}"),
        format!("db-0.db = {}", pods[0]),
        "out = 192.0.2.8".to_owned(),
        "www.example.com = 192.0.2.8".to_owned(),
        // As many dots as ndots says: looked up as it is first.
        "api.v1.eu.staging.example.com = 192.0.2.9".to_owned(),
        format!("none.{SHOP} = not found"),
    ];
    let web = format!("0,100,80,web.{SHOP}.{suffix}.");
    let of_pod = |at| format!("0,50,8080,db-{at}.db.{SHOP}.{suffix}.");
    let db = format!("{} {}", of_pod(0), of_pod(1));
    let full = [
        format!("_http._tcp.web.{SHOP}.{suffix}. = {web}"),
        format!("_sql._tcp.db.{SHOP}.{suffix}. = {db}"),
        format!("_none._tcp.db.{SHOP}.{suffix}. = not found"),
    ];
    let short = [
        format!("_http._tcp.web = {web}"),
        format!("_sql._tcp.db = {db}"),
        format!("_sql._tcp.db.{SHOP} = {db}"),
        "_https._tcp.kubernetes.default = 0,100,443,kubernetes.default.svc.cluster.local.".to_owned(),
    ];
    expect(
        node,
        "{}",
        RESOLVERS.map(|image| {
            let services: Vec<&[String]> = match image {
                PYTHON => vec![],
                // musl applies the search domains only to addresses.
                MUSL => vec![&full],
                _ => vec![&full, &short],
            };
            [&addresses[..], &services.concat()].concat()
        }),
    );
    assert!(node.upstream.query_count() > queries, "external names come from the upstream");
    node.kubectl(&["delete", "-n", SHOP, "statefulset/db", "service/db", "service/out"]);
}
