//! The chart, installed by the real Helm.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::control_plane::NODE;
use tests::http;
use tests::node::ClusterNode;

use crate::backends::{SHOP, ensure_web};
use crate::manifests::remove_stock_dns;

/// The namespace of the release.
pub(crate) const NAMESPACE: &str = "kube-system";

/// The Deployments of the release.
pub(crate) const DEPLOYMENTS: [&str; 2] = ["deployment/portolan-controller", "deployment/portolan-dns"];

/// Values of the tests: a tag, both services, two Pods each, and no load balancer, since there is none here.
const VALUES: [&str; 6] = [
    "image.tag=dev",
    "dns.enabled=true",
    "dns.service.clusterIP=10.96.0.10",
    "controller.replicaCount=2",
    "controller.service.type=ClusterIP",
    "controller.metrics.enabled=true",
];

/// An Ingress for `web`.
const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: web, namespace: shop }
spec:
  ingressClassName: nginx
  rules:
  - host: shop.example
    http:
      paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { name: http } } } }]
";

/// Installs the chart unless it is installed, and waits until all its Pods are ready.
#[track_caller]
pub(crate) fn ensure_installed(node: &ClusterNode) {
    if !node.try_helm(&["status", "portolan", "-n", NAMESPACE]).status.success() {
        remove_stock_dns(node);
        helm(node, &["install"], &[]);
    }
    for deployment in DEPLOYMENTS {
        node.wait_for_rollout(NAMESPACE, deployment);
    }
}

/// Installs the chart and a backend with an Ingress. Returns the address of the controller's Service.
#[track_caller]
pub(crate) fn ensure_ingress(node: &ClusterNode) -> String {
    ensure_installed(node);
    ensure_web(node);
    node.apply(INGRESS);
    node.field(NAMESPACE, "service/portolan-controller", "{.spec.clusterIP}")
}

/// The memory limit in bytes that the chart's values give to the Pods of a section, `controller` or `dns`.
pub(crate) fn default_memory_limit(section: &str) -> u64 {
    let values = std::fs::read_to_string(folder().join("values.yaml")).expect("the chart has values");
    let values: Value = serde_saphyr::from_str(&values).expect("values are YAML");
    let limit = values[section]["resources"]["limits"]["memory"].as_str().expect("a limit");
    limit.strip_suffix("Mi").expect("a number of MiB").parse::<u64>().expect("a number") << 20
}

/// The folder of the chart.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/portolan")
}

/// Runs `helm install` or `helm upgrade` with the values of the tests and more.
#[track_caller]
fn helm(node: &ClusterNode, command: &[&str], more: &[&str]) -> String {
    let chart = folder();
    let chart = chart.to_string_lossy();
    let mut words = [command, &["portolan", &chart, "-n", NAMESPACE, "--wait", "--timeout", "80s"]].concat();
    for value in VALUES.iter().chain(more) {
        words.extend(["--set", value]);
    }
    node.helm(&words)
}

pub(crate) fn helm_installs_both_services(node: &mut ClusterNode) {
    ensure_installed(node);
    for deployment in DEPLOYMENTS {
        assert_eq!(node.field(NAMESPACE, deployment, "{.status.readyReplicas}"), "2", "{deployment}");
        let log = node.kubectl(&["logs", "-n", NAMESPACE, deployment]);
        assert!(log.lines().count() > 2, "{deployment} says what it does: {log:?}");
    }
    let tested = node.helm(&["test", "portolan", "-n", NAMESPACE, "--timeout", "80s"]);
    assert!(tested.contains("Succeeded"), "{tested}");
}

pub(crate) fn helm_upgrades_to_a_daemon_set_with_host_ports_and_rolls_back(node: &mut ClusterNode) {
    let service = ensure_ingress(node);
    helm(node, &["upgrade"], &["controller.kind=DaemonSet", "controller.hostPort.enabled=true"]);
    node.wait_for_rollout(NAMESPACE, "daemonset/portolan-controller");
    assert!(node.read(NAMESPACE, DEPLOYMENTS[0]).is_none(), "the Deployment is replaced");
    let address = |ip: &str| (ip.parse::<std::net::Ipv4Addr>().expect("an address"), 80).into();
    let response = http::get(address(NODE), "shop.example", "/").expect("the node's port answers");
    assert_eq!(response.status, 200, "{}", response.text());

    node.helm(&["rollback", "portolan", "-n", NAMESPACE, "--wait", "--timeout", "80s"]);
    node.wait_for_rollout(NAMESPACE, DEPLOYMENTS[0]);
    assert_eq!(node.field(NAMESPACE, DEPLOYMENTS[0], "{.spec.replicas}"), "2");
    let response = http::get(address(&service), "shop.example", "/").expect("the Service answers");
    assert_eq!(response.status, 200, "{}", response.text());
}

pub(crate) fn helm_uninstalls_everything(node: &mut ClusterNode) {
    ensure_installed(node);
    node.helm(&["uninstall", "portolan", "-n", NAMESPACE, "--wait", "--timeout", "80s"]);
    let kinds = node.kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
    // Events tell of the past, and endpoints follow their Service a moment later.
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("event")).collect();
    for selector in ["app.kubernetes.io/instance=portolan", "owner=helm"] {
        tests::wait::until("the objects of the release to be gone", tests::node::POD_TIMEOUT, || {
            let left = node.kubectl(&["get", &kinds.join(","), "-A", "-l", selector, "-o", "name"]);
            match left.trim() {
                "" => Ok(()),
                left => Err(left.to_owned()),
            }
        });
    }
    node.kubectl(&["delete", "namespace", SHOP, "--ignore-not-found"]);
}
