//! The Helm chart, installed by Helm on the real API server. No Pods run here; what the controllers may do is tested with
//! `portolan` processes that have the arguments and the permissions of the chart's Pods.

pub(crate) mod node_cache;
pub(crate) mod roles;
pub(crate) mod upgrades;
pub(crate) mod values;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::programs;
use tests::stage::{SOON, Stage};
use tests::wait;

use crate::manifests;

/// The kinds of the Prometheus operator and of KEDA.
const DEFINITIONS: [&str; 4] = [
    "crd/servicemonitors.monitoring.coreos.com",
    "crd/podmonitors.monitoring.coreos.com",
    "crd/prometheusrules.monitoring.coreos.com",
    "crd/scaledobjects.keda.sh",
];

/// Kinds that controllers make from the chart's objects, and whose deletion needs the garbage collector, which is not running.
const DERIVED: &[&str] = &["endpoints", "endpointslices.discovery.k8s.io"];

/// The folder of the repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are in a folder of the repository")
        .to_owned()
}

fn chart() -> String {
    repository().join("charts/portolan").to_string_lossy().into_owned()
}

/// The values files of `ci/`, one for each variant of the chart.
fn variants() -> Vec<PathBuf> {
    let folder = repository().join("charts/portolan/ci");
    let files =
        fs::read_dir(&folder).expect("the chart has variants").map(|entry| entry.expect("it reads").path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    files
}

/// Runs Helm as the administrator.
fn helm(stage: &Stage, words: &[&str]) -> Output {
    let binary = programs::helm().expect("it was built before the namespace was entered");
    let mut command = Command::new(binary);
    command.args(words).env("HOME", stage.folder()).env("KUBECONFIG", stage.plane.kubeconfig("admin", 6443));
    command.output().expect("Helm runs")
}

/// Runs Helm and returns its output, which must not be an error.
#[track_caller]
pub(crate) fn helm_output(stage: &Stage, words: &[&str]) -> String {
    let output = helm(stage, words);
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "helm {}: {text}{errors}", words.join(" "));
    text.into_owned()
}

/// Runs kubectl as the administrator and returns its output, which must not be an error.
#[track_caller]
fn kubectl(stage: &Stage, words: &[&str]) -> String {
    let kubeconfig = stage.plane.kubeconfig("admin", 6443);
    let output = stage.plane.kubectl(&[&["--kubeconfig", &kubeconfig.to_string_lossy()], words].concat());
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "kubectl {}: {text}{errors}", words.join(" "));
    text.into_owned()
}

/// The names of the objects of a release.
fn objects(stage: &Stage, release: &str) -> Vec<String> {
    let kinds = kubectl(stage, &["api-resources", "--verbs=list", "-o", "name"]);
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !DERIVED.contains(kind)).collect();
    let selector = format!("app.kubernetes.io/instance={release}");
    let found =
        kubectl(stage, &["get", &kinds.join(","), "-A", "-l", &selector, "-o", "name", "--ignore-not-found"]);
    found.lines().map(str::to_owned).collect()
}

/// Makes the definitions, with the schemas that users have, and a Kubernetes namespace.
fn prepare(stage: &Stage, namespace: &str) {
    let definitions = programs::definitions().expect("they were read before the namespace was entered");
    kubectl(stage, &["apply", "--server-side", "--filename", &definitions.to_string_lossy()]);
    kubectl(stage, &[&["wait", "--for=condition=Established", "--timeout=60s"], &DEFINITIONS[..]].concat());
    stage.plane.api.apply(&manifests::namespace(namespace));
}

pub(crate) fn the_api_server_accepts_every_variant(stage: &mut Stage) {
    prepare(stage, "chart-variants");
    for file in variants() {
        let values = file.to_string_lossy();
        helm_output(stage, &["lint", "--strict", &chart(), "-f", &values]);
        let rendered =
            helm_output(stage, &["template", "variant", &chart(), "-n", "chart-variants", "-f", &values]);
        let manifest = stage.folder().join("variant.yaml");
        fs::write(&manifest, rendered).expect("the scratch folder is writable");
        let manifest = manifest.to_string_lossy();
        let words = ["apply", "--server-side", "--dry-run=server", "-n", "chart-variants", "-f", &manifest];
        let applied = kubectl(stage, &words);
        assert!(applied.lines().count() > 4, "{values}: {applied}");
        // What it looks up is there only with a server.
        helm_output(
            stage,
            &["install", "variant", &chart(), "-n", "chart-variants", "-f", &values, "--dry-run=server"],
        );
    }
}

pub(crate) fn a_release_is_upgraded_rolled_back_and_removed_without_leftovers(stage: &mut Stage) {
    prepare(stage, "chart-release");
    let (chart, all) = (chart(), repository().join("charts/portolan/ci/monitoring-values.yaml"));
    let all = all.to_string_lossy();
    let class = "controller.ingressClassResource.name=chart-release";
    let replicas = || {
        let deployment = stage.plane.api.read("Deployment", "chart-release", "edge-portolan-controller");
        deployment.expect("it is installed")["spec"]["replicas"].clone()
    };
    helm_output(stage, &["install", "edge", &chart, "-n", "chart-release", "-f", &all, "--set", class]);
    let installed = objects(stage, "edge");
    for name in [
        "deployment.apps/edge-portolan-controller",
        "service/kube-dns",
        "ingressclass.networking.k8s.io/chart-release",
    ] {
        assert!(installed.iter().any(|object| object == name), "{name} in {installed:?}");
    }
    assert_eq!(replicas(), 1);
    let address =
        |stage: &Stage| stage.plane.api.read("Service", "chart-release", "kube-dns").expect("it is there");
    let before = address(stage)["spec"]["clusterIP"].clone();

    let more = ["--set", class, "--set", "controller.replicaCount=3"];
    helm_output(
        stage,
        &[&["upgrade", "edge", &chart, "-n", "chart-release", "-f", &all], &more[..]].concat(),
    );
    assert_eq!(replicas(), 3);
    assert!(
        objects(stage, "edge")
            .iter()
            .any(|name| name.contains("poddisruptionbudget") && name.contains("controller"))
    );
    assert_eq!(address(stage)["spec"]["clusterIP"], before);

    helm_output(stage, &["rollback", "edge", "1", "-n", "chart-release"]);
    assert_eq!(replicas(), 1);
    assert_eq!(objects(stage, "edge"), installed);

    helm_output(stage, &["uninstall", "edge", "-n", "chart-release"]);
    assert_eq!(objects(stage, "edge"), Vec::<String>::new());
    assert_eq!(stage.plane.api.list("Secret", "chart-release").len(), 0, "the history of the release");
}

/// The address of the cluster's DNS is in the resolv.conf of every Pod.
pub(crate) fn the_service_of_the_cluster_dns_keeps_address_ports_and_selector(stage: &mut Stage) {
    prepare(stage, "chart-dns");
    stage.plane.api.apply(
        "
apiVersion: v1
kind: Service
metadata: { name: kube-dns, namespace: chart-dns, labels: { k8s-app: kube-dns } }
spec:
  clusterIP: 10.96.0.253
  selector: { k8s-app: kube-dns }
  ports:
  - { name: dns, port: 53, protocol: UDP }
  - { name: dns-tcp, port: 53, protocol: TCP }
  - { name: metrics, port: 9153, protocol: TCP }
",
    );
    let (chart, alone) = (chart(), "controller.enabled=false,dns.enabled=true");
    let install = ["install", "names", &chart, "-n", "chart-dns", "--set", alone];
    let refused = helm(stage, &install);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && message.contains("kube-dns"),
        "a Service of others is not taken silently: {message}"
    );
    let other = helm(stage, &[&install[..], &["--set", "dns.service.clusterIP=10.96.0.254"]].concat());
    let message = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(
        message.contains("dns.service.clusterIP: 10.96.0.254") && message.contains("10.96.0.253"),
        "{message}"
    );

    let notes = helm_output(stage, &[&install[..], &["--take-ownership"]].concat());
    assert!(
        notes.contains("with the address 10.96.0.253") && notes.contains("stays when the release"),
        "{notes}"
    );
    let service =
        |stage: &Stage| stage.plane.api.read("Service", "chart-dns", "kube-dns").expect("it is there");
    let check = |stage: &Stage| {
        let spec = &service(stage)["spec"];
        assert_eq!(spec["clusterIP"], "10.96.0.253");
        let ports = spec["ports"].as_array().expect("ports").iter();
        let ports: Vec<String> = ports
            .map(|port| format!("{} {} {}", port["name"], port["protocol"], port["port"]).replace('"', ""))
            .collect();
        assert_eq!(ports, ["dns UDP 53", "dns-tcp TCP 53", "metrics TCP 9153"]);
        assert_eq!(
            spec["selector"],
            serde_json::json!({ "k8s-app": "kube-dns" }),
            "old and new Pods answer together"
        );
    };
    check(stage);
    let deployment = stage.plane.api.read("Deployment", "chart-dns", "names-dns").expect("it is installed");
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"]["k8s-app"], "kube-dns");

    helm_output(
        stage,
        &["upgrade", "names", &chart, "-n", "chart-dns", "--set", alone, "--set", "dns.replicaCount=3"],
    );
    check(stage);
    helm_output(stage, &["uninstall", "names", "-n", "chart-dns"]);
    check(stage);
    assert_eq!(objects(stage, "names"), ["service/kube-dns"]);
}

pub(crate) fn an_ingress_class_of_another_owner_stays_as_it_is(stage: &mut Stage) {
    prepare(stage, "chart-class");
    stage.plane.api.apply(
        "
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: { name: chart-class }
spec: { controller: example.com/other }
",
    );
    let set = "controller.ingressClassResource.name=chart-class,controller.ingressClassResource.aliases={chart-alias}";
    let notes = helm_output(stage, &["install", "class", &chart(), "-n", "chart-class", "--set", set]);
    assert!(notes.contains("chart-class exists already (controller example.com/other)"), "{notes}");
    let class = |name| stage.plane.api.read("IngressClass", "", name).expect("it is there");
    assert_eq!(class("chart-class")["spec"]["controller"], "example.com/other");
    assert_eq!(class("chart-alias")["spec"]["controller"], "k8s.io/ingress-nginx");
    helm_output(stage, &["uninstall", "class", "-n", "chart-class"]);
    assert_eq!(class("chart-class")["spec"]["controller"], "example.com/other");
}

/// The commands of docs/install.md for a cluster that has a DNS server.
pub(crate) fn the_kustomize_base_of_dns_is_reverted(stage: &mut Stage) {
    stage.plane.api.apply(
        "
apiVersion: v1
kind: Service
metadata: { name: kube-dns, namespace: kube-system }
spec:
  selector: { k8s-app: kube-dns }
  ports:
  - { name: dns, port: 53, protocol: UDP }
  - { name: dns-tcp, port: 53, protocol: TCP }
",
    );
    let service =
        |stage: &Stage| stage.plane.api.read("Service", "kube-system", "kube-dns").expect("it is there");
    let before = service(stage);
    let here = ["--namespace", "kube-system"];
    let get = ["get", "service", "kube-dns", "--output", "jsonpath={.spec.selector}"];
    let selector = kubectl(stage, &[&here[..], &get].concat());
    let base = repository().join("config/kustomize/dns");
    let apply = ["apply", "--server-side", "--force-conflicts", "--kustomize"];
    kubectl(stage, &[&apply[..], &[&base.to_string_lossy()]].concat());
    let applied = service(stage);
    assert_eq!(applied["spec"]["selector"]["app.kubernetes.io/name"], "portolan");
    assert_eq!(applied["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    assert_eq!(applied["spec"]["ports"].as_array().map(Vec::len), Some(2), "{applied}");

    let patch = format!("[{{\"op\": \"replace\", \"path\": \"/spec/selector\", \"value\": {selector}}}]");
    let words = ["patch", "service", "kube-dns", "--type", "json", "--patch", &patch];
    kubectl(stage, &[&here[..], &words].concat());
    let kinds = "deployment,configmap,serviceaccount,poddisruptionbudget";
    let own = "app.kubernetes.io/instance=portolan,app.kubernetes.io/component=dns";
    kubectl(stage, &[&here[..], &["delete", kinds, "--selector", own]].concat());
    kubectl(stage, &["delete", "clusterrole,clusterrolebinding", "portolan-dns"]);
    let reverted = service(stage);
    assert_eq!(reverted["spec"]["selector"], before["spec"]["selector"]);
    assert_eq!(reverted["spec"]["clusterIP"], before["spec"]["clusterIP"]);
    let left = kubectl(stage, &["get", kinds, "-A", "-l", own, "-o", "name", "--ignore-not-found"]);
    assert_eq!(left, "");
    stage.plane.api.delete("Service", "kube-system", "kube-dns");
}

pub(crate) fn the_kustomize_bases_are_what_the_chart_makes(stage: &mut Stage) {
    let out = stage.folder().join("kustomize");
    let mut script = Command::new(repository().join("charts/kustomize.sh"));
    script.arg(&out).env("HELM", programs::helm().expect("it is built")).env("HOME", stage.folder());
    let output = script.output().expect("the script runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bases = repository().join("config/kustomize");
    for base in ["dns", "ingress"] {
        for file in ["kustomization.yaml", "rbac.yaml", "objects.yaml"] {
            let read = |folder: &Path| fs::read_to_string(folder.join(base).join(file)).expect("it reads");
            assert!(
                read(&out) == read(&bases),
                "config/kustomize/{base}/{file} differs; run charts/kustomize.sh"
            );
        }
    }
    // The case of the documentation deletes it without waiting.
    wait::until("the namespace to be deleted or kept", SOON, || {
        match stage.plane.api.read("Namespace", "", "portolan") {
            Some(namespace) if !namespace["metadata"]["deletionTimestamp"].is_null() => {
                Err("it is being deleted".to_owned())
            }
            _ => Ok(()),
        }
    });
    stage.plane.api.apply(&manifests::namespace("portolan"));
    for base in ["dns", "ingress"] {
        let folder = bases.join(base);
        let folder = folder.to_string_lossy();
        // Another case owns the ClusterRole of this name.
        kubectl(stage, &["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", &folder]);
    }
}
