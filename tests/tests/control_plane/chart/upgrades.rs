//! Upgrades of a release with other values, and the adoption of a Service that is there.

use serde_json::{Value, json};
use tests::stage::Stage;

use super::{chart, helm, helm_output, kubectl, prepare};

/// Values that people change on a running release, in the order in which they are applied to one release, and what is there afterwards:
/// an object, the path of a field, its value.
const CHANGES: &[(&str, &str, &str, &str)] = &[
    ("controller.replicaCount=2", "Deployment upgraded-portolan-controller", "/spec/replicas", "2"),
    (
        "controller.revisionHistoryLimit=0",
        "Deployment upgraded-portolan-controller",
        "/spec/revisionHistoryLimit",
        "0",
    ),
    ("dns.enabled=true", "Service kube-dns", "/spec/selector/k8s-app", "\"kube-dns\""),
    (
        "controller.metrics.enabled=true",
        "Service upgraded-portolan-controller-metrics",
        "/spec/ports/0/port",
        "10254",
    ),
    (
        "controller.service.type=NodePort",
        "Service upgraded-portolan-controller",
        "/spec/type",
        "\"NodePort\"",
    ),
    (
        "controller.service.type=ClusterIP",
        "Service upgraded-portolan-controller",
        "/spec/type",
        "\"ClusterIP\"",
    ),
    (
        "controller.kind=DaemonSet",
        "DaemonSet upgraded-portolan-controller",
        "/spec/updateStrategy/rollingUpdate/maxUnavailable",
        "0",
    ),
    (
        "controller.hostNetwork=true",
        "DaemonSet upgraded-portolan-controller",
        "/spec/template/spec/dnsPolicy",
        "\"ClusterFirstWithHostNet\"",
    ),
    (
        "controller.podLabels.team=web",
        "DaemonSet upgraded-portolan-controller",
        "/spec/template/metadata/labels/team",
        "\"web\"",
    ),
    (
        "dns.kind=DaemonSet",
        "DaemonSet upgraded-dns",
        "/spec/template/metadata/labels/k8s-app",
        "\"kube-dns\"",
    ),
];

pub(crate) fn values_that_people_change_take_effect_in_an_upgrade(stage: &mut Stage) {
    prepare(stage, "chart-upgrades");
    let class = "controller.ingressClassResource.name=chart-upgrades";
    let chart = chart();
    helm_output(stage, &["install", "upgraded", &chart, "-n", "chart-upgrades", "--set", class]);
    for (set, object, path, wanted) in CHANGES {
        helm_output(
            stage,
            &[
                "upgrade",
                "upgraded",
                &chart,
                "-n",
                "chart-upgrades",
                "--reuse-values",
                "--history-max=0",
                "--set",
                set,
            ],
        );
        let (kind, name) = object.split_once(' ').expect("a kind and a name");
        let object = stage.plane.api.read(kind, "chart-upgrades", name);
        let object = object.unwrap_or_else(|| panic!("{set}: there is no {kind} {name}"));
        let found = object.pointer(path).map(Value::to_string);
        assert_eq!(found.as_deref(), Some(*wanted), "{set}: {path} of {kind} {name}");
    }
    assert_eq!(stage.plane.api.list("Deployment", "chart-upgrades").len(), 0, "both became DaemonSets");
    // A rollback reverts all of it.
    helm_output(stage, &["rollback", "upgraded", "1", "-n", "chart-upgrades"]);
    assert!(stage.plane.api.read("Deployment", "chart-upgrades", "upgraded-portolan-controller").is_some());
    assert_eq!(stage.plane.api.list("DaemonSet", "chart-upgrades").len(), 0);
    helm_output(stage, &["uninstall", "upgraded", "-n", "chart-upgrades"]);
}

/// Kubernetes would refuse it in the middle of the upgrade, with the name of a field that is not one of the chart.
pub(crate) fn a_change_that_kubernetes_does_not_allow_is_refused_with_its_key(stage: &mut Stage) {
    prepare(stage, "chart-selector");
    let chart = chart();
    let base = "controller.ingressClassResource.name=chart-selector,dns.enabled=true,fullnameOverride=edge";
    helm_output(stage, &["install", "selected", &chart, "-n", "chart-selector", "--set", base]);
    for (set, keys) in [
        (
            "nameOverride=proxy",
            &[
                "nameOverride: changes the selector of Deployment chart-selector/edge-controller",
                "dns.nameOverride",
            ][..],
        ),
        (
            "dns.k8sAppLabelOverride=names",
            &[
                "dns.k8sAppLabelOverride",
                "Deployment chart-selector/selected-dns",
                "delete the Deployment first",
            ],
        ),
        (
            "controller.ingressClassResource.controllerValue=example.com/edge",
            &[
                "controller.ingressClassResource.controllerValue",
                "IngressClass chart-selector from k8s.io/ingress-nginx",
            ],
        ),
    ] {
        let refused = helm(
            stage,
            &["upgrade", "selected", &chart, "-n", "chart-selector", "--reuse-values", "--set", set],
        );
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success(), "{set} is accepted");
        keys.iter().for_each(|key| assert!(message.contains(key), "{set}: {key:?} is missing: {message}"));
    }
    helm_output(stage, &["uninstall", "selected", "-n", "chart-selector"]);
}

/// A Service whose selector does not select the new Pods, such as that of the coredns chart.
pub(crate) fn the_service_of_another_dns_server_is_changed_when_pods_are_ready(stage: &mut Stage) {
    prepare(stage, "chart-dns-adopt");
    stage.plane.api.apply(
        "
apiVersion: v1
kind: Service
metadata: { name: kube-dns, namespace: chart-dns-adopt }
spec:
  selector: { k8s-app: coredns, app.kubernetes.io/instance: coredns }
  ports: [{ name: dns, port: 53, protocol: UDP }]
",
    );
    let selector = |stage: &Stage| {
        let service = stage.plane.api.read("Service", "chart-dns-adopt", "kube-dns");
        service.expect("it is there")["spec"]["selector"].clone()
    };
    let before = selector(stage);
    let (chart, alone) = (chart(), "controller.enabled=false,dns.enabled=true");
    let install = |create: &str| {
        let set = format!("{alone},dns.service.create={create}");
        let place = ["replacing", &chart, "-n", "chart-dns-adopt", "--set", &set];
        helm(stage, &[&["upgrade", "--install", "--take-ownership"], &place[..]].concat())
    };
    let refused = install("true");
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{message}");
    for words in
        ["dns.service.create", "Deployment chart-dns-adopt/replacing-dns", "dns.service.create=false first"]
    {
        assert!(message.contains(words), "{words:?} is missing: {message}");
    }
    assert!(install("false").status.success(), "the first step");
    assert!(!install("true").status.success(), "no Pod is ready yet");
    assert_eq!(selector(stage), before, "a refusal changes nothing");

    stage.plane.api.apply_status(
        &json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "replacing-dns", "namespace": "chart-dns-adopt" },
            "status": { "replicas": 1, "readyReplicas": 1, "availableReplicas": 1 },
        })
        .to_string(),
    );
    let changed = install("true");
    assert!(changed.status.success(), "{}", String::from_utf8_lossy(&changed.stderr));
    assert_eq!(selector(stage)["app.kubernetes.io/instance"], "replacing");
    helm_output(stage, &["uninstall", "replacing", "-n", "chart-dns-adopt"]);
}

/// The load balancer's address is a property of the Service.
pub(crate) fn an_existing_service_is_adopted_when_pods_are_ready(stage: &mut Stage) {
    prepare(stage, "chart-adopt");
    stage.plane.api.apply(
        "
apiVersion: v1
kind: Service
metadata:
  name: old-entry
  namespace: chart-adopt
  labels: { app: old-proxy }
  annotations: { example.com/balancer: shared }
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  selector: { app: old-proxy }
  ports:
  - { name: web, port: 80, targetPort: http }
  - { name: secure-web, port: 443, targetPort: https }
",
    );
    let service =
        |stage: &Stage| stage.plane.api.read("Service", "chart-adopt", "old-entry").expect("it is there");
    let before = service(stage);
    let chart = chart();
    let without = "controller.ingressClassResource.enabled=false,controller.service.external.enabled=false";
    helm_output(stage, &["install", "adopting", &chart, "-n", "chart-adopt", "--set", without]);
    let adopt = |name: &str| {
        let set = format!("controller.service.external.enabled=true,controller.service.adopt={name}");
        let words = [
            "upgrade",
            "adopting",
            &chart,
            "-n",
            "chart-adopt",
            "--reuse-values",
            "--take-ownership",
            "--set",
            &set,
        ];
        helm(stage, &words)
    };
    for (name, wanted) in [
        ("chart-adopt/old-entry", "no Pod of Deployment chart-adopt/adopting-portolan-controller is ready"),
        ("chart-adopt/missing", "there is no Service chart-adopt/missing"),
        ("default/kubernetes", "install the release in default"),
        ("old-entry", "/controller/service/adopt"),
    ] {
        let refused = adopt(name);
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && message.contains(wanted), "{name}: {message}");
    }
    assert_eq!(service(stage)["spec"], before["spec"], "a refusal changes nothing");

    stage.plane.api.apply_status(
        &json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "adopting-portolan-controller", "namespace": "chart-adopt" },
            "status": { "replicas": 1, "readyReplicas": 1, "availableReplicas": 1 },
        })
        .to_string(),
    );
    let adopted = adopt("chart-adopt/old-entry");
    let notes = String::from_utf8_lossy(&adopted.stdout).into_owned();
    assert!(adopted.status.success(), "{}", String::from_utf8_lossy(&adopted.stderr));
    let command = notes.lines().find(|line| line.contains("Undo takeover:")).expect("a command");
    assert!(command.contains(r#""value":{"app":"old-proxy"}"#), "{command}");
    let check = |stage: &Stage| {
        let now = service(stage);
        let mut spec = now["spec"].clone();
        assert_eq!(spec["selector"]["app.kubernetes.io/instance"], "adopting");
        assert_eq!(spec["selector"].get("app"), None, "the old Pods are not selected any more");
        spec["selector"] = before["spec"]["selector"].clone();
        assert_eq!(spec, before["spec"], "only the selector has changed");
        assert_eq!(now["metadata"]["labels"]["app"], "old-proxy");
        let annotations = &now["metadata"]["annotations"];
        assert_eq!(annotations["example.com/balancer"], "shared");
        assert_eq!(annotations["portolan.dev/selector-before"], r#"{"app":"old-proxy"}"#);
    };
    check(stage);
    // Another upgrade keeps it all, and the Service outlives the release.
    helm_output(
        stage,
        &[
            "upgrade",
            "adopting",
            &chart,
            "-n",
            "chart-adopt",
            "--reuse-values",
            "--set",
            "controller.replicaCount=2",
        ],
    );
    check(stage);
    helm_output(stage, &["uninstall", "adopting", "-n", "chart-adopt"]);
    check(stage);
    let patch = r#"[{"op":"replace","path":"/spec/selector","value":{"app":"old-proxy"}}]"#;
    kubectl(stage, &["-n", "chart-adopt", "patch", "service", "old-entry", "--type=json", "-p", patch]);
    assert_eq!(service(stage)["spec"], before["spec"]);
}
