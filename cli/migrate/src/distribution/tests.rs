use serde_json::json;

use super::*;

fn node(version: &str, labels: Value, provider: &str) -> Value {
    json!({
        "metadata": { "name": "n1", "labels": labels },
        "spec": { "providerID": provider },
        "status": { "nodeInfo": { "kubeletVersion": version } },
    })
}

#[test]
fn each_distribution_is_recognised_by_its_nodes() {
    let zone = json!({ "topology.kubernetes.io/zone": "a" });
    for (wanted, node) in [
        (
            Distribution::K3s,
            node("v1.35.1+k3s1", json!({ "node.kubernetes.io/instance-type": "k3s" }), "k3s://n1"),
        ),
        (Distribution::Rke2, node("v1.35.1+rke2r1", zone.clone(), "rke2://n1")),
        (
            Distribution::Eks,
            node("v1.35.2-eks-a1b2c3d", zone.clone(), "aws:///eu-central-1a/i-0123456789abcdef0"),
        ),
        (
            Distribution::Eks,
            node("v1.35.2", json!({ "eks.amazonaws.com/compute-type": "auto" }), "aws:///a/i-0"),
        ),
        (
            Distribution::Aks,
            node(
                "v1.35.0",
                json!({ "kubernetes.azure.com/cluster": "MC_rg_c_westeurope" }),
                "azure:///subscriptions/0/resourceGroups/mc/providers/x",
            ),
        ),
        (Distribution::Gke, node("v1.35.0-gke.1701", zone.clone(), "gce://project/europe-west1-b/n1")),
        (Distribution::Ack, node("v1.35.0-aliyun.1", zone.clone(), "cn-hangzhou.i-bp1abc")),
        (Distribution::OpenShift, node("v1.35.0", json!({ "node.openshift.io/os_id": "rhcos" }), "")),
        (Distribution::Kubeadm, node("v1.35.0", zone.clone(), "kind://docker/kind/kind-control-plane")),
        // Nodes that people made on AWS themselves are not EKS.
        (Distribution::Other, node("v1.35.0", zone.clone(), "aws:///eu-central-1a/i-0123456789abcdef0")),
    ] {
        let found = detect(std::slice::from_ref(&node), None, false);
        assert_eq!(found.distribution, wanted, "{node}: {}", found.evidence);
        assert!(wanted == Distribution::Other || found.evidence.contains("n1"), "{}", found.evidence);
    }
}

#[test]
fn kubeadm_is_recognised_by_its_annotation_or_its_config_map() {
    let mut annotated = node("v1.35.0", json!({}), "");
    annotated["metadata"]["annotations"] =
        json!({ "kubeadm.alpha.kubernetes.io/cri-socket": "unix:///run/containerd/containerd.sock" });
    assert_eq!(detect(&[annotated], None, false).distribution, Distribution::Kubeadm);
    assert_eq!(detect(&[], None, true).distribution, Distribution::Kubeadm);
}

#[test]
fn every_word_of_the_command_line_is_read_back() {
    for word in Distribution::words() {
        assert_eq!(Distribution::named(word).map(Distribution::word), Some(word));
    }
    assert_eq!(Distribution::named("minix"), None);
}

#[test]
fn an_operator_is_known_by_its_field_manager_or_its_label() {
    let plain = json!({ "metadata": { "name": "coredns", "managedFields": [{ "manager": "kubectl" }] } });
    let eks = json!({ "metadata": { "name": "coredns", "managedFields": [{ "manager": "kubectl" }, { "manager": "eks" }] } });
    let reconciled = json!({ "metadata": { "name": "kube-dns", "labels": { "addonmanager.kubernetes.io/mode": "Reconcile" } } });
    let kept = json!({ "metadata": { "name": "kube-dns", "labels": { "addonmanager.kubernetes.io/mode": "EnsureExists" } } });
    assert_eq!(operator(Distribution::Eks, &[&plain]), None);
    assert!(
        operator(Distribution::Eks, &[&plain, &eks])
            .is_some_and(|sign| sign.contains("coredns") && sign.contains("eks"))
    );
    assert_eq!(operator(Distribution::Kubeadm, &[&plain, &kept]), None);
    assert!(operator(Distribution::Other, &[&reconciled]).is_some());
    assert!(operator(Distribution::Aks, &[&plain]).is_some());
    assert!(operator(Distribution::Gke, &[&reconciled]).is_some_and(|sign| sign.contains("Reconcile")));
    assert!(operator(Distribution::OpenShift, &[]).is_some());
}

#[test]
fn a_node_local_cache_is_found_by_its_image_or_name() {
    let set = |name: &str, image: &str| json!({ "metadata": { "name": name }, "spec": { "template": { "spec": { "containers": [{ "image": image }] } } } });
    let sets =
        [set("kube-proxy", "kube-proxy:v1"), set("cache", "registry.k8s.io/dns/k8s-dns-node-cache:1.26")];
    assert_eq!(node_local_cache(&sets), Some("cache"));
    assert_eq!(node_local_cache(&sets[..1]), None);
    assert_eq!(node_local_cache(&[set("nodelocaldns", "mirror/dns:1")]), Some("nodelocaldns"));
}
