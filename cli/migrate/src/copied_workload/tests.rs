use super::*;
use crate::objects::selects;

fn kubeadm() -> Workload {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "coredns", "namespace": "kube-system", "uid": "u", "resourceVersion": "7",
            "labels": { "k8s-app": "kube-dns", "objectset.rio.cattle.io/hash": "abc" } },
        "spec": {
            "replicas": 2,
            "selector": { "matchLabels": { "k8s-app": "kube-dns" } },
            "template": {
                "metadata": { "labels": { "k8s-app": "kube-dns" } },
                "spec": {
                    "serviceAccountName": "coredns",
                    "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{
                        "labelSelector": { "matchExpressions": [{ "key": "k8s-app", "operator": "In", "values": ["kube-dns"] }] },
                        "topologyKey": "kubernetes.io/hostname" }] } },
                    "topologySpreadConstraints": [{ "labelSelector": { "matchLabels": { "k8s-app": "kube-dns" } } }],
                    "containers": [
                        { "name": "exporter", "image": "exporter:1" },
                        { "name": "coredns", "image": "registry.k8s.io/coredns/coredns:v1.12.1", "args": ["-conf", "/etc/coredns/Corefile"] },
                    ],
                },
            },
        },
        "status": { "readyReplicas": 2 },
    });
    Workload { resource: ResourceKind::Deployment, object }
}

fn selector() -> LabelMap {
    strings(&json!({ "k8s-app": "kube-dns" }))
}

#[test]
fn the_copy_differs_in_name_image_and_one_label() {
    let copy = copy(&kubeadm(), MigratedService::Dns, &selector(), "portolan:1", 2);
    assert_eq!(name(&copy), "portolan-dns");
    assert!(copy["metadata"].get("uid").is_none() && copy.get("status").is_none());
    assert!(
        !labels(&copy).contains_key("objectset.rio.cattle.io/hash"),
        "a deploy controller would delete it"
    );
    let pod = &copy["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "exporter:1");
    assert_eq!(pod["containers"][1]["image"], "portolan:1");
    assert_eq!(pod["containers"][1]["args"], json!(["-conf", "/etc/coredns/Corefile"]));
    assert_eq!(pod["serviceAccountName"], "coredns");
    assert_eq!(copy["metadata"]["annotations"][REPLACES_ANNOTATION], "Deployment/coredns");
}

#[test]
fn neither_the_service_nor_the_existing_workload_selects_the_copy() {
    let copy = copy(&kubeadm(), MigratedService::Dns, &selector(), "portolan:1", 2);
    let pods = template_labels(&copy);
    assert!(!selects(&selector(), &pods));
    assert!(selects(&strings(&copy["spec"]["selector"]["matchLabels"]), &pods));
    let own = copy_selector(&copy, &selector());
    assert_eq!(own, strings(&json!({ "k8s-app": "portolan-dns" })));
    assert!(selects(&own, &pods) && !selects(&own, &template_labels(&kubeadm().object)));
}

#[test]
fn anti_affinity_keeps_the_copies_apart_from_each_other() {
    let copy = copy(&kubeadm(), MigratedService::Dns, &selector(), "portolan:1", 2);
    let pod = &copy["spec"]["template"]["spec"];
    let anti = &pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(anti["labelSelector"]["matchExpressions"][0]["values"], json!(["portolan-dns"]));
    assert_eq!(
        pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
        json!({ "k8s-app": "portolan-dns" })
    );
}

#[test]
fn a_daemon_set_with_host_ports_is_tried_without_them() {
    let object = json!({
        "metadata": { "name": "rke2-ingress-nginx-controller", "namespace": "kube-system" },
        "spec": {
            "updateStrategy": { "type": "RollingUpdate" },
            "selector": { "matchLabels": { "app.kubernetes.io/name": "rke2-ingress-nginx", "app.kubernetes.io/component": "controller" } },
            "template": {
                "metadata": { "labels": { "app.kubernetes.io/name": "rke2-ingress-nginx", "app.kubernetes.io/component": "controller" } },
                "spec": { "hostNetwork": true, "containers": [{
                    "name": "rke2-ingress-nginx-controller", "image": "rancher/nginx-ingress-controller:v1",
                    "ports": [{ "name": "http", "containerPort": 80, "hostPort": 80 }] }] },
            },
        },
        "status": { "desiredNumberScheduled": 3 },
    });
    let set = Workload { resource: ResourceKind::DaemonSet, object };
    assert!(set.uses_node_ports() && !kubeadm().uses_node_ports());
    assert_eq!((set.replicas(), kubeadm().replicas()), (3, 2));
    let selector = template_labels(&set.object);
    let trial = copy(&set, MigratedService::Ingress, &selector, "portolan:1", 1);
    assert!(trial["spec"].get("updateStrategy").is_none());
    let pod = &trial["spec"]["template"]["spec"];
    assert!(pod.get("hostNetwork").is_none() && pod["containers"][0]["ports"][0].get("hostPort").is_none());
    assert_eq!(pod["containers"][0]["image"], "portolan:1");
    assert!(!selects(&selector, &template_labels(&trial)));
}

#[test]
fn selectors_without_a_common_label_are_both_left() {
    let workload = json!({ "spec": { "selector": { "matchLabels": { "a": "1" } } } });
    assert_eq!(distinguishing_labels(&workload, &strings(&json!({ "b": "1" }))), ["b", "a"]);
    assert_eq!(distinguishing_labels(&workload, &strings(&json!({ "a": "1", "b": "1" }))), ["a"]);
}
