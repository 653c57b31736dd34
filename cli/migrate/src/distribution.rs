//! Detects the Kubernetes distribution from facts of the cluster, and who maintains its DNS.

use serde_json::Value;

use crate::objects::{field_managers, items, labels, name};

/// A distribution, or a family of them that treats its DNS alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// kubeadm and what is made with it: kind, minikube, Cluster API.
    Kubeadm,
    /// K3s, k3d.
    K3s,
    /// RKE2.
    Rke2,
    /// Amazon EKS.
    Eks,
    /// Azure Kubernetes Service.
    Aks,
    /// Google Kubernetes Engine.
    Gke,
    /// Alibaba Cloud Container Service for Kubernetes.
    Ack,
    /// OpenShift.
    OpenShift,
    /// None of these.
    Other,
}

/// A distribution and what it was recognised by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detection {
    /// The distribution.
    pub distribution: Distribution,
    /// The fact, such as `node cp-1 has kubelet v1.33.1+k3s1`.
    pub evidence: String,
}

/// Every distribution with the word of the command line and its name.
const NAMES: [(Distribution, &str, &str); 9] = [
    (Distribution::Kubeadm, "kubeadm", "kubeadm"),
    (Distribution::K3s, "k3s", "K3s"),
    (Distribution::Rke2, "rke2", "RKE2"),
    (Distribution::Eks, "eks", "Amazon EKS"),
    (Distribution::Aks, "aks", "Azure AKS"),
    (Distribution::Gke, "gke", "Google GKE"),
    (Distribution::Ack, "ack", "Alibaba Cloud ACK"),
    (Distribution::OpenShift, "openshift", "OpenShift"),
    (Distribution::Other, "other", "no known distribution"),
];

impl Distribution {
    /// The words of the command line.
    pub fn words() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(_, word, _)| *word)
    }

    /// Reads a word of the command line.
    pub fn named(word: &str) -> Option<Self> {
        NAMES.iter().find(|(_, named, _)| *named == word).map(|(distribution, ..)| *distribution)
    }

    /// The word of the command line.
    pub fn word(self) -> &'static str {
        NAMES.iter().find(|(distribution, ..)| *distribution == self).map_or("other", |(_, word, _)| word)
    }

    /// The name for people.
    pub fn title(self) -> &'static str {
        NAMES.iter().find(|(distribution, ..)| *distribution == self).map_or("", |(.., title)| title)
    }
}

/// Signs of a distribution on a Node. OpenShift and RKE2 are before those that they may run on.
const NODE_SIGNS: [(Distribution, Sign); 16] = [
    (Distribution::OpenShift, Sign::Label("node.openshift.io/os_id")),
    (Distribution::Rke2, Sign::KubeletVersion("+rke2")),
    (Distribution::K3s, Sign::KubeletVersion("+k3s")),
    (Distribution::Eks, Sign::KubeletVersion("-eks-")),
    (Distribution::Eks, Sign::Label("eks.amazonaws.com/nodegroup")),
    (Distribution::Eks, Sign::Label("eks.amazonaws.com/compute-type")),
    (Distribution::Aks, Sign::Label("kubernetes.azure.com/cluster")),
    (Distribution::Aks, Sign::Label("kubernetes.azure.com/agentpool")),
    (Distribution::Gke, Sign::KubeletVersion("-gke.")),
    (Distribution::Gke, Sign::Label("cloud.google.com/gke-nodepool")),
    (Distribution::Ack, Sign::KubeletVersion("-aliyun.")),
    (Distribution::Ack, Sign::Label("alibabacloud.com/nodepool-id")),
    (Distribution::Ack, Sign::Label("ack.aliyun.com")),
    (Distribution::Ack, Sign::ProviderId("alicloud://")),
    (Distribution::Kubeadm, Sign::ProviderId("kind://")),
    (Distribution::Kubeadm, Sign::Annotation("kubeadm.alpha.kubernetes.io/cri-socket")),
];

/// A field of a Node.
#[derive(Clone, Copy)]
enum Sign {
    Label(&'static str),
    Annotation(&'static str),
    KubeletVersion(&'static str),
    ProviderId(&'static str),
}

impl Sign {
    fn find(self, node: &Value) -> Option<String> {
        let metadata = &node["metadata"];
        let named = |kind: &str, map: &Value, key: &str| {
            map.get(key).map(|value| format!("{kind} {key}={}", value.as_str().unwrap_or_default()))
        };
        match self {
            Self::Label(key) => named("label", &metadata["labels"], key),
            Self::Annotation(key) => named("annotation", &metadata["annotations"], key),
            Self::KubeletVersion(part) => {
                let version = node["status"]["nodeInfo"]["kubeletVersion"].as_str()?;
                version.contains(part).then(|| format!("kubelet {version}"))
            }
            Self::ProviderId(prefix) => {
                let id = node["spec"]["providerID"].as_str()?;
                id.starts_with(prefix).then(|| format!("providerID {id}"))
            }
        }
    }
}

/// Detects the distribution by its Nodes, then by the labels of the DNS workload or the ConfigMap of kubeadm.
pub(crate) fn detect(nodes: &[Value], workload: Option<&Value>, has_kubeadm_config: bool) -> Detection {
    for (distribution, sign) in NODE_SIGNS {
        let found = nodes.iter().find_map(|node| Some((node, sign.find(node)?)));
        if let Some((node, evidence)) = found {
            let evidence = format!("node {} has {evidence}", name(node));
            return Detection { distribution, evidence };
        }
    }
    if has_kubeadm_config {
        let evidence = "ConfigMap kube-system/kubeadm-config exists".to_owned();
        return Detection { distribution: Distribution::Kubeadm, evidence };
    }
    let labels = workload.map(labels).unwrap_or_default();
    for (distribution, label) in [
        (Distribution::Eks, "eks.amazonaws.com/component"),
        (Distribution::Aks, "kubernetes.azure.com/managedby"),
        (Distribution::K3s, "objectset.rio.cattle.io/hash"),
    ] {
        if let Some(value) = labels.get(label) {
            return Detection { distribution, evidence: format!("the workload has label {label}={value}") };
        }
    }
    Detection {
        distribution: Distribution::Other,
        evidence: "no sign of a known distribution on nodes or the workload".to_owned(),
    }
}

/// The operator that would write the objects back after a change, if there is one.
pub(crate) fn operator(distribution: Distribution, objects: &[&Value]) -> Option<String> {
    let manager = |wanted: &str| {
        objects.iter().copied().find(|object| field_managers(object).any(|manager| manager == wanted))
    };
    let reconciled = objects.iter().copied().find(|object| {
        labels(object).get("addonmanager.kubernetes.io/mode").is_some_and(|mode| mode == "Reconcile")
    });
    let describe = |object: &Value, sign: &str| format!("{} has {sign}", name(object));
    match distribution {
        Distribution::Eks => manager("eks").map(|object| describe(object, "fields managed by `eks`")),
        Distribution::Aks | Distribution::Gke => Some(reconciled.map_or_else(
            || format!("{} maintains the DNS of every cluster", distribution.title()),
            |object| describe(object, "label addonmanager.kubernetes.io/mode=Reconcile"),
        )),
        Distribution::OpenShift => Some("the DNS operator maintains it".to_owned()),
        _ => reconciled.map(|object| describe(object, "label addonmanager.kubernetes.io/mode=Reconcile")),
    }
}

/// Whether node-local caches exist whose Pods answer before the Service is asked.
pub(crate) fn node_local_cache(daemon_sets: &[Value]) -> Option<&str> {
    let is_cache = |set: &&Value| {
        let images =
            items(&set["spec"]["template"]["spec"]["containers"]).filter_map(|it| it["image"].as_str());
        images.clone().any(|image| image.contains("node-cache") || image.contains("nodelocaldns"))
            || ["node-local-dns", "nodelocaldns"].contains(&name(set))
    };
    daemon_sets.iter().find(is_cache).map(name)
}

#[cfg(test)]
mod tests;
