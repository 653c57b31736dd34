//! The logs of Portolan's Pods.

use tests::node::ClusterNode;

use crate::chart::{NAMESPACE, ensure_ingress};

/// What the log of each component has to say at the start: version, and addresses.
const START: [(&str, &[&str]); 2] = [
    (
        "controller",
        &[
            concat!("Portolan ", env!("CARGO_PKG_VERSION")),
            "admin listener on http://[::]:10254/",
            "serving HTTP on 0.0.0.0:80",
            "serving HTTPS on 0.0.0.0:443",
        ],
    ),
    (
        "dns",
        &[
            concat!("Portolan-", env!("CARGO_PKG_VERSION")),
            ".:53",
            "admin listener on http://[::]:8080/",
            "admin listener on http://[::]:8181/",
        ],
    ),
];

/// A warning of a DNS server whose first lists took longer than `startup_timeout` (5 s), which a loaded machine causes.
const SLOW_START: &str = "starting server with unsynced Kubernetes API";

/// Whether a line has the level of a warning or a higher one, in either format, or comes from a panic.
fn is_alarming(line: &str) -> bool {
    let klog = line.starts_with(['W', 'E', 'F']) && line[1..].starts_with(|ch: char| ch.is_ascii_digit());
    klog || ["[WARNING]", "[ERROR]", "[FATAL]", "panicked"].iter().any(|word| line.contains(word))
}

/// Panics if a Pod of the release has logged a warning, an error or a panic without any of the `expected` words. Returns the lines with
/// these words.
#[track_caller]
pub(crate) fn expect_quiet(node: &ClusterNode, expected: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (component, _) in START {
        for (pod, log) in logs(node, component) {
            let alarming = log.lines().filter(|line| is_alarming(line) && !line.contains(SLOW_START));
            let alarming = alarming.map(str::to_owned);
            let (known, surprises): (Vec<_>, Vec<_>) =
                alarming.partition(|line| expected.iter().any(|word| line.contains(word)));
            assert!(surprises.is_empty(), "{pod}:\n{}", surprises.join("\n"));
            found.extend(known);
        }
    }
    found
}

/// The names and whole logs of the Pods of a component.
fn logs(node: &ClusterNode, component: &str) -> Vec<(String, String)> {
    let selector = format!("app.kubernetes.io/instance=portolan,app.kubernetes.io/component={component}");
    let pods = node.pods(NAMESPACE, &selector);
    assert!(!pods.is_empty(), "no Pods with {selector}");
    let log = |pod: &str| node.kubectl(&["logs", "-n", NAMESPACE, pod]);
    pods.into_iter().map(|pod| (pod.clone(), log(&pod))).collect()
}

pub(crate) fn logs_have_version_and_addresses_and_no_warning(node: &mut ClusterNode) {
    ensure_ingress(node);
    for (component, lines) in START {
        for (pod, log) in logs(node, component) {
            for wanted in lines {
                assert!(log.contains(wanted), "{wanted:?} in the log of {pod}:\n{log}");
            }
        }
    }
    expect_quiet(node, &[]);
}
