//! Programs of four resolvers look names up with their Pod's resolver settings as kubelet wrote them.

use tests::dns::DnsClient;
use tests::node::Node;
use tests::pod_images::{PODS, RESOLVERS};
use tests::stage::{DNS, SOON};

use crate::backends::{SHOP, ensure_web};
use crate::chart::ensure_installed;

/// Runs every resolver's program in a Pod and compares its lines with `expected` (`name = addresses in order`).
#[track_caller]
fn expect(node: &Node, expected: &[String]) {
    let names: Vec<&str> = expected.iter().filter_map(|line| line.split(" = ").next()).collect();
    let pods: Vec<String> = (0..RESOLVERS.len()).map(|at| format!("resolver-{at}")).collect();
    for (pod, image) in pods.iter().zip(RESOLVERS) {
        let run = ["run", "-n", SHOP, pod, "--image", image, "--restart=Never", "--"];
        node.kubectl(&[&run[..], &names].concat());
    }
    for (pod, image) in pods.iter().zip(RESOLVERS) {
        node.wait_for(SHOP, &format!("pod/{pod}"), "jsonpath={.status.phase}=Succeeded");
        let log = node.kubectl(&["logs", "-n", SHOP, pod]);
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines, expected.iter().map(String::as_str).collect::<Vec<_>>(), "{image}");
        node.kubectl(&["delete", "pod", "-n", SHOP, pod, "--wait=false"]);
    }
}

pub(crate) fn programs_of_four_resolvers_find_cluster_and_external_names(node: &mut Node) {
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
    DnsClient((DNS.parse::<std::net::Ipv4Addr>().expect("an address"), 53).into()).expect(
        SOON,
        &format!(
            "
db-1.db.{SHOP}.{suffix}         A   = {}
_http._tcp.web.{SHOP}.{suffix}  SRV = 0 100 80 web.{SHOP}.{suffix}.
_sql._tcp.db.{SHOP}.{suffix}    SRV = 0 50 8080 db-0.db.{SHOP}.{suffix}., 0 50 8080 db-1.db.{SHOP}.{suffix}.
",
            pods[1]
        ),
    );
    let queries = node.upstream.query_count();
    expect(
        node,
        &[
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
        ],
    );
    assert!(node.upstream.query_count() > queries, "external names come from the upstream");
    node.kubectl(&["delete", "-n", SHOP, "statefulset/db", "service/db", "service/out"]);
}
