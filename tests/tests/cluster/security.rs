//! Privileges, permissions and limits of Portolan's Pods.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tests::node::{Node, POD_TIMEOUT};
use tests::{http, wait};

use crate::chart::{DEPLOYMENTS, NAMESPACE, ensure_ingress, ensure_installed};

/// CAP_NET_BIND_SERVICE as a bit.
const NET_BIND_SERVICE: u64 = 1 << 10;

/// The processes with the name `portolan` in the node's PID namespace.
pub(crate) fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    ids.filter(|id: &u32| {
        fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "portolan")
    })
    .collect()
}

pub(crate) fn pods_run_with_least_privilege(node: &mut Node) {
    ensure_installed(node);
    let processes = processes();
    assert!(processes.len() >= 4, "two Pods of each service: {processes:?}");
    for id in processes {
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("the process is running");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.unwrap_or_else(|| panic!("{name} in {status}"))
        };
        assert!(field("Uid").split('\t').all(|user| user != "0"), "not root: {}", field("Uid"));
        // 2 is SECCOMP_MODE_FILTER: the runtime's default profile.
        assert_eq!(field("Seccomp"), "2");
        let bounding = u64::from_str_radix(field("CapBnd"), 16).expect("a hexadecimal number");
        assert_eq!(bounding & !NET_BIND_SERVICE, 0, "{bounding:x}");
        let mounts = fs::read_to_string(format!("/proc/{id}/mounts")).expect("the process is running");
        let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap_or_default();
        let options = root.split(' ').nth(3).unwrap_or_default();
        assert!(options.split(',').any(|option| option == "ro"), "a read-only root: {root}");
    }
}

/// `verb group/resource` and the status code for each request of a service account.
///
/// A watch that begins with all objects (`sendInitialEvents`) counts as a list, too: older servers do not have it, and get a
/// list instead.
fn requests(node: &Node, account: &str) -> BTreeSet<(String, u64)> {
    let log = fs::read_to_string(node.folder().join("audit.log")).expect("the API server writes it");
    let user = format!("system:serviceaccount:{NAMESPACE}:{account}");
    let events = log.lines().filter(|line| line.contains(&user));
    let events = events.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let own = events.filter(|event| event["user"]["username"] == user.as_str());
    let requests = own.flat_map(|event| {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let code = event["responseStatus"]["code"].as_u64().unwrap_or_default();
        let streams = word(&event["requestURI"]).contains("sendInitialEvents=true");
        let verbs = [Some(word(&event["verb"])), streams.then(|| "list".to_owned())];
        let resource = format!("{}/{}", word(&object["apiGroup"]), word(&object["resource"]));
        verbs.into_iter().flatten().map(move |verb| (format!("{verb} {resource}"), code))
    });
    requests.collect()
}

/// The same for each permission that the chart's Roles and ClusterRoles give to the service account.
fn permissions(node: &Node, account: &str) -> BTreeSet<String> {
    let mut permissions = BTreeSet::new();
    for (kind, role_kind) in [("clusterrolebindings", "clusterrole"), ("rolebindings", "role")] {
        let text = node.kubectl(&["get", kind, "-A", "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("kubectl prints JSON");
        let subject = json!({ "kind": "ServiceAccount", "name": account, "namespace": NAMESPACE });
        for binding in list["items"].as_array().into_iter().flatten() {
            let is_subject = |given: &Value| {
                given["name"] == subject["name"] && given["namespace"] == subject["namespace"]
            };
            if !binding["subjects"].as_array().into_iter().flatten().any(is_subject) {
                continue;
            }
            let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
            let name = binding["roleRef"]["name"].as_str().unwrap_or_default();
            let role = node.read(namespace, &format!("{role_kind}/{name}")).expect("the role of a binding");
            let words = |value: &Value| -> Vec<String> {
                value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|word| word.as_str().map(str::to_owned))
                    .collect()
            };
            for rule in role["rules"].as_array().into_iter().flatten() {
                for group in words(&rule["apiGroups"]) {
                    for resource in words(&rule["resources"]) {
                        for verb in words(&rule["verbs"]) {
                            permissions.insert(format!("{verb} {group}/{resource}"));
                        }
                    }
                }
            }
        }
    }
    permissions
}

pub(crate) fn each_permission_is_used_and_none_is_missing(node: &mut Node) {
    ensure_ingress(node);
    for deployment in DEPLOYMENTS {
        let account = node.field(NAMESPACE, deployment, "{.spec.template.spec.serviceAccountName}");
        let requests = requests(node, &account);
        let refused: Vec<_> = requests.iter().filter(|(_, code)| *code == 403).collect();
        assert!(refused.is_empty(), "{account} lacks permissions: {refused:?}");
        let used: BTreeSet<String> = requests.into_iter().map(|(name, _)| name).collect();
        let given = permissions(node, &account);
        let unused: Vec<_> = given.difference(&used).collect();
        assert!(unused.is_empty(), "{account} has permissions without use: {unused:?}; used: {used:?}");
        assert!(!given.is_empty(), "{account} has permissions");
    }
}

pub(crate) fn a_forbidden_list_keeps_the_new_pod_from_serving(node: &mut Node) {
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

pub(crate) fn an_eviction_leaves_a_pod_of_each_service(node: &mut Node) {
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
