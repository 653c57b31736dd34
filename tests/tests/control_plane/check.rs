//! `portolan check` of a real API server.

use serde_json::Value;
use tests::stage::Stage;

use crate::access::permit_guest;
use crate::manifests::{self, CLASS, annotated, ingress};

/// A controller with its ConfigMap, and CoreDNS with a plugin that Portolan does not have.
const WORKLOADS: &str = "
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: controller, namespace: checked }
spec:
  replicas: 0
  selector: { matchLabels: { app: controller } }
  template:
    metadata: { labels: { app: controller } }
    spec:
      containers:
      - name: controller
        image: registry.k8s.io/ingress-nginx/controller:v1.15.1
        args:
        - /nginx-ingress-controller
        - --configmap=$(POD_NAMESPACE)/controller
        - --watch-namespace=checked
---
apiVersion: v1
kind: ConfigMap
metadata: { name: controller, namespace: checked }
data: { hsts: 'true', no-such-key: x }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: coredns, namespace: checked }
data: { Corefile: \".:53 {\\n errors\\n route53 example.org.:Z1\\n}\\n\" }
";

fn checked(stage: &Stage, user: &str) -> (Option<i32>, Value, String) {
    let kubeconfig = stage.plane.kubeconfig(user, stage.plane.server.address().port());
    let output = stage.output(&["check", "--kubeconfig", &kubeconfig.to_string_lossy(), "--json"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{messages}"));
    (output.status.code(), report, messages)
}

/// What becomes of an object, with the reasons of its settings.
fn outcome(report: &Value, kind: &str, name: &str) -> String {
    let objects = report["objects"].as_array().expect("objects");
    let found = objects.iter().find(|object| object["kind"] == kind && object["name"] == name);
    found.map_or_else(|| format!("no {kind} {name} in {report:#}"), |object| object["outcome"].to_string())
}

pub(crate) fn a_cluster_is_checked_with_the_flags_of_its_controller(stage: &mut Stage) {
    let api = &stage.plane.api;
    api.apply(&format!("{}{CLASS}{WORKLOADS}", manifests::namespace("checked")));
    api.apply(&ingress("checked", "same", "same.test", "/", "web"));
    let closed = "nginx.ingress.kubernetes.io/enable-modsecurity: 'true'";
    api.apply(&annotated(&ingress("checked", "closed", "closed.test", "/", "web"), closed));
    let before = api.list("Ingress", "checked");

    let (code, report, messages) = checked(stage, "admin");
    assert_eq!(code, Some(2), "{report:#}");
    for (kind, name, wanted) in [
        ("Ingress", "checked/same", "\"as-before\""),
        ("Ingress", "checked/closed", "\"closed\""),
        ("ConfigMap", "checked/controller", "\"differs\""),
        ("Deployment", "checked/controller", "\"as-before\""),
        ("Corefile", "checked/coredns", "\"refused\""),
    ] {
        assert_eq!(outcome(&report, kind, name), wanted, "{kind} {name}");
    }
    assert!(messages.contains("writes nothing"), "{messages}");
    assert_eq!(stage.plane.api.list("Ingress", "checked"), before, "a check changes nothing");
}

pub(crate) fn what_may_not_be_read_is_unknown(stage: &mut Stage) {
    permit_guest(stage, &[("networking.k8s.io", "ingresses, ingressclasses")]);
    let (_, report, _) = checked(stage, "guest");
    for kind in ["Secret", "ConfigMap", "Deployment", "DaemonSet"] {
        let name = format!("objects of the kind {kind}");
        assert_eq!(outcome(&report, "File", &name), "\"unknown\"", "{kind}");
    }
    let readable = [
        ("", "services"),
        ("discovery.k8s.io", "endpointslices"),
        ("networking.k8s.io", "ingresses, ingressclasses"),
    ];
    permit_guest(stage, &readable);
    let kubeconfig = stage.plane.kubeconfig("guest", stage.plane.server.address().port());
    let output =
        stage.output(&["explain", "--kubeconfig", &kubeconfig.to_string_lossy(), "https://same.test/"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for kind in ["Secret", "ConfigMap"] {
        assert!(told.contains(&format!("not known: {kind} cannot be listed")), "{kind} in {told}");
    }
}
