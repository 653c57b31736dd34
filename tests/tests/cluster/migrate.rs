//! `portolan migrate` on a real node, as a platform engineer runs it, with a lookup or request every ten milliseconds beside it.

use std::process::Command;
use std::time::Duration;

use tests::meter::{Meter, Series};
use tests::node::ClusterNode;
use tests::pod_images::PORTOLAN;
use tests::process::Process;
use tests::stage::DNS;
use tests::{programs, wait};

use crate::manifests::ensure_stock_dns;

/// How long a migration may take.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(180);

/// A name that lookups can fail at: it is answered by the node's name server.
const EXTERNAL: &str = "www.example.com";

/// Starts `portolan migrate` on the node.
fn start(node: &ClusterNode, service: &str, flags: &[&str]) -> Process {
    let mut command = Command::new(programs::portolan().expect("it was built before the node was started"));
    command
        .args(["migrate", service, "--image", PORTOLAN, "--kubeconfig"])
        .arg(node.kubeconfig())
        .args(flags);
    Process::start(&format!("migrate-{service}"), command, node.folder())
}

/// Waits for the end of a migration; returns its exit code and what it printed.
fn end(mut run: Process) -> (Option<i32>, String) {
    let status = wait::until("the end of the migration", MIGRATION_TIMEOUT, || {
        run.exit_status().ok_or_else(|| run.log())
    });
    (status.code(), run.log())
}

/// Runs `portolan migrate` and expects an exit code.
#[track_caller]
pub(crate) fn migrate(node: &ClusterNode, service: &str, flags: &[&str], code: i32) -> String {
    let (found, text) = end(start(node, service, flags));
    assert_eq!(found, Some(code), "{text}\n{}", node.explain("kube-system"));
    text
}

pub(crate) fn lookups(node: &ClusterNode) -> [Series; 2] {
    let meter = Meter::of(node);
    [
        meter.lookups(DNS, "kubernetes.default.svc.cluster.local.", "10.96.0.1"),
        meter.lookups(DNS, &format!("{EXTERNAL}."), "192.0.2.8"),
    ]
}

#[track_caller]
pub(crate) fn no_loss<const N: usize>(series: [Series; N], at_least: u64) {
    for series in series {
        series.end().expect_no_loss(at_least);
    }
}

/// Stock CoreDNS on a node of kubeadm.
pub(crate) fn ensure_kubeadm(node: &ClusterNode) {
    ensure_stock_dns(node);
    node.kubectl(&[
        "annotate",
        "--overwrite",
        "node",
        "node",
        "kubeadm.alpha.kubernetes.io/cri-socket=unix:///run/c.sock",
    ]);
}

/// The labels of the Pods that a Service selects, as kubectl takes them.
fn selector(node: &ClusterNode, namespace: &str, service: &str) -> String {
    let service = node.read(namespace, &format!("service/{service}")).expect("the Service exists");
    let labels = service["spec"]["selector"].as_object().expect("a selector").iter();
    let labels = labels.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    labels.collect::<Vec<_>>().join(",")
}

/// The image of the Pods that a Service selects, each once.
fn serving(node: &ClusterNode, namespace: &str, service: &str) -> Vec<String> {
    let selector = selector(node, namespace, service);
    let path = "jsonpath={.items[*].spec.containers[0].image}";
    let images = node.kubectl(&["get", "pods", "-n", namespace, "-l", &selector, "-o", path]);
    let mut images: Vec<_> = images.split_whitespace().map(str::to_owned).collect();
    images.dedup();
    images
}

/// Asserts that CoreDNS serves and nothing of a migration is left.
fn assert_given_back(node: &ClusterNode) {
    assert_eq!(serving(node, "kube-system", "kube-dns"), [tests::pod_images::COREDNS]);
    assert!(node.read("kube-system", "deployment/portolan-dns").is_none());
    let objects = node.kubectl(&["get", "-n", "kube-system", "service,deployment", "-o", "json"]);
    assert!(!objects.contains("portolan.dev/"), "{objects}");
    assert_eq!(node.pods("kube-system", "portolan.dev/migration-check"), [""; 0]);
}

pub(crate) fn dns_is_taken_over_and_given_back_without_a_lost_lookup(node: &mut ClusterNode) {
    ensure_kubeadm(node);
    let series = lookups(node);
    let text = migrate(node, "dns", &["--watch", "5s", "--external", EXTERNAL], 0);
    assert!(text.contains("all are the same") && text.contains("0 wrong"), "{text}");
    assert!(!text.contains("left out") && !text.contains("checks run in a Pod"), "{text}");
    assert_eq!(serving(node, "kube-system", "kube-dns"), [PORTOLAN]);
    assert_eq!(node.field("kube-system", "service/kube-dns", "{.spec.clusterIP}"), DNS);
    migrate(node, "dns", &["--finish"], 0);
    node.wait_for_only("kube-system", "k8s-app=kube-dns", 0);
    migrate(node, "dns", &["--rollback"], 0);
    assert_given_back(node);
    no_loss(series, 500);
}

pub(crate) fn dns_is_taken_over_by_an_image_change_with_checks_in_a_pod(node: &mut ClusterNode) {
    ensure_kubeadm(node);
    let flags = ["--strategy", "set-image", "--check-from", "pod", "--watch", "3s", "--external", EXTERNAL];
    let text = migrate(node, "dns", &flags, 0);
    assert!(text.contains("0 wrong"), "{text}");
    node.wait_for_only("kube-system", "k8s-app=kube-dns", 2);
    assert_eq!(serving(node, "kube-system", "kube-dns"), [PORTOLAN]);
    assert!(node.read("kube-system", "deployment/portolan-dns").is_none(), "the trial is deleted");
    assert_eq!(node.pods("kube-system", "portolan.dev/migration-check"), [""; 0]);
    migrate(node, "dns", &["--rollback"], 0);
    node.wait_for_only("kube-system", "k8s-app=kube-dns", 2);
    assert_given_back(node);
}

pub(crate) fn an_image_that_does_not_exist_is_rolled_back(node: &mut ClusterNode) {
    ensure_kubeadm(node);
    let series = lookups(node);
    for strategy in ["selector", "set-image"] {
        let text = migrate(node, "dns", &["--image", "portolan.test/none:1", "--strategy", strategy], 1);
        assert!(text.contains("portolan.test/none:1") && text.contains("ErrImage"), "{text}");
        assert_given_back(node);
    }
    no_loss(series, 100);
}

pub(crate) fn answers_that_stop_after_the_change_are_rolled_back(node: &mut ClusterNode) {
    ensure_kubeadm(node);
    let run = start(node, "dns", &["--watch", "100s"]);
    wait::until("the watch after the change", MIGRATION_TIMEOUT, || {
        run.log().contains("Continue the checks for 100 s\n  ").then_some(()).ok_or_else(|| run.log())
    });
    assert_eq!(serving(node, "kube-system", "kube-dns"), [PORTOLAN]);
    let selector = selector(node, "kube-system", "kube-dns");
    node.kubectl(&["scale", "-n", "kube-system", "deployment/portolan-dns", "--replicas=0"]);
    // Without the time in which they would still answer.
    node.kubectl(&["delete", "pods", "-n", "kube-system", "-l", &selector, "--now"]);
    let (code, text) = end(run);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("Service kube-dns answers `failed: no reply") && text.contains("rolled back"),
        "{text}"
    );
    assert_given_back(node);
}
