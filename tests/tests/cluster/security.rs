//! Privileges, permissions and limits of Portolan's Pods.

use std::fs;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tests::node::{ClusterNode, POD_TIMEOUT};
use tests::{http, wait};

use crate::chart::{DEPLOYMENTS, NAMESPACE, ensure_ingress, ensure_installed};

/// CAP_NET_BIND_SERVICE as a bit.
pub(crate) const NET_BIND_SERVICE: u64 = 1 << 10;

/// The processes with the name `portolan` in the node's PID namespace.
pub(crate) fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id: &u32| {
        fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "portolan")
    })
    .collect()
}

/// A field of `/proc/ID/status`.
#[track_caller]
pub(crate) fn status_field(id: u32, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the process is running");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    line.unwrap_or_else(|| panic!("{name} in {status}")).to_owned()
}

pub(crate) fn pods_run_with_least_privilege(node: &mut ClusterNode) {
    ensure_installed(node);
    let processes = processes();
    assert!(processes.len() >= 4, "two Pods of each service: {processes:?}");
    for id in processes {
        let field = |name: &str| status_field(id, name);
        assert!(field("Uid").split('\t').all(|user| user != "0"), "not root: {}", field("Uid"));
        // 2 is SECCOMP_MODE_FILTER: the runtime's default profile.
        assert_eq!(field("Seccomp"), "2");
        let bounding = u64::from_str_radix(&field("CapBnd"), 16).expect("a hexadecimal number");
        assert_eq!(bounding & !NET_BIND_SERVICE, 0, "{bounding:x}");
        let mounts = fs::read_to_string(format!("/proc/{id}/mounts")).expect("the process is running");
        let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap_or_default();
        let options = root.split(' ').nth(3).unwrap_or_default();
        assert!(options.split(',').any(|option| option == "ro"), "a read-only root: {root}");
    }
}

pub(crate) fn a_forbidden_list_keeps_the_new_pod_from_serving(node: &mut ClusterNode) {
    let service = ensure_ingress(node);
    let role = node.read("", "clusterrole/portolan").expect("the chart makes it");
    let rules = role["rules"].as_array().expect("a role has rules");
    let without: Vec<&Value> = rules
        .iter()
        .filter(|rule| !rule["resources"].as_array().into_iter().flatten().any(|name| name == "ingresses"))
        .collect();
    assert!(without.len() < rules.len(), "{role}");
    let patch = |rules: &Value| {
        let patch = json!({ "rules": rules }).to_string();
        node.kubectl(&["patch", "clusterrole", "portolan", "--type=merge", "-p", &patch]);
    };
    patch(&json!(without));
    node.kubectl(&["rollout", "restart", "-n", NAMESPACE, DEPLOYMENTS[0]]);
    let words = ["ingresses", "forbidden"];
    wait::until("a new Pod to say what is forbidden", POD_TIMEOUT, || {
        let logs = node
            .pods(NAMESPACE, "app.kubernetes.io/component=controller")
            .into_iter()
            .map(|pod| node.try_kubectl(&["logs", "-n", NAMESPACE, &pod]).stdout);
        let logs: Vec<String> = logs.map(|log| String::from_utf8_lossy(&log).to_ascii_lowercase()).collect();
        let told =
            logs.iter().flat_map(|log| log.lines()).any(|line| words.iter().all(|word| line.contains(word)));
        if told { Ok(()) } else { Err(logs.join("\n")) }
    });
    let pods = node.field(NAMESPACE, DEPLOYMENTS[0], "{.status.updatedReplicas} {.status.readyReplicas}");
    assert_eq!(pods, "1 2", "the new Pod is not ready, the old ones are");
    let address = (service.parse::<Ipv4Addr>().expect("a ClusterIP"), 80).into();
    for _ in 0..20 {
        assert_eq!(http::get(address, "shop.example", "/").expect("an answer").status, 200);
    }
    patch(&role["rules"]);
    node.wait_for_rollout(NAMESPACE, DEPLOYMENTS[0]);
}

pub(crate) fn an_eviction_leaves_a_pod_of_each_service(node: &mut ClusterNode) {
    ensure_installed(node);
    for deployment in DEPLOYMENTS {
        let labels = node.field(NAMESPACE, deployment, "{.spec.selector.matchLabels}");
        let labels: Value = serde_json::from_str(&labels).expect("labels are a JSON object");
        let labels = labels.as_object().into_iter().flatten();
        let selector: Vec<String> =
            labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
        let pods = node.pods(NAMESPACE, &selector.join(","));
        assert_eq!(pods.len(), 2, "{pods:?}");
        let evict = |pod: &str| {
            let body = json!({ "apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": { "name": pod, "namespace": NAMESPACE } });
            let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction");
            node.plane.api.post(&path, &body)
        };
        let codes: Vec<u16> = pods.iter().map(|pod| evict(pod).status).collect();
        // 429: the budget allows no further disruption.
        assert_eq!(codes, [201, 429], "{deployment}");
        node.wait_for_rollout(NAMESPACE, deployment);
    }
}
