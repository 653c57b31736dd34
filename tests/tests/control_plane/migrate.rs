//! `portolan migrate` against a real API server. No kubelet runs: a case writes the status of Deployments and Pods itself, and
//! Portolan serves every address of the namespace, so it is both the old and the new server.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::kubeadm::COREFILE as KUBEADM;
use tests::stage::{DNS, Portolan, SOON, Stage};
use tests::wait;

use crate::manifests::{self, CLASS, ingress, slice};

/// How long a migration may take in these cases.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(60);

/// CoreDNS as a distribution installs it: ConfigMap, Service and Deployment with `labels`. Its Pods listen on `port`.
fn coredns(namespace: &str, corefile: &str, labels: &str, address: &str, port: u16) -> String {
    format!(
        "{}
---
apiVersion: v1
kind: ConfigMap
metadata: {{ name: coredns, namespace: {namespace} }}
data: {{ Corefile: {corefile:?} }}
---
apiVersion: v1
kind: Service
metadata: {{ name: kube-dns, namespace: {namespace}, labels: {{ k8s-app: kube-dns }} }}
spec:
  clusterIP: {address}
  selector: {{ k8s-app: kube-dns }}
  ports:
  - {{ name: dns, port: 53, protocol: UDP, targetPort: {port} }}
  - {{ name: dns-tcp, port: 53, protocol: TCP, targetPort: {port} }}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: coredns, namespace: {namespace}, labels: {{ k8s-app: kube-dns{labels} }} }}
spec:
  replicas: 1
  selector: {{ matchLabels: {{ k8s-app: kube-dns }} }}
  template:
    metadata: {{ labels: {{ k8s-app: kube-dns }} }}
    spec:
      serviceAccountName: coredns
      containers:
      - name: coredns
        image: registry.k8s.io/coredns/coredns:v1.12.1
        args: [-conf, /etc/coredns/Corefile]
        volumeMounts: [{{ name: config-volume, mountPath: /etc/coredns, readOnly: true }}]
      volumes:
      - name: config-volume
        configMap: {{ name: coredns, items: [{{ key: Corefile, path: Corefile }}] }}
",
        manifests::namespace(namespace)
    )
}

/// A Node with a kubelet version and more `metadata`.
fn node(version: &str, metadata: &str) -> String {
    format!(
        "
---
apiVersion: v1
kind: Node
metadata: {{ name: migrate, {metadata} }}
status: {{ nodeInfo: {{ kubeletVersion: '{version}', architecture: amd64, bootID: b, containerRuntimeVersion: c, kernelVersion: k,
  kubeProxyVersion: '', machineID: m, operatingSystem: linux, osImage: o, systemUUID: s }} }}
"
    )
}

/// Starts `portolan migrate` as `user`.
fn migrate(stage: &Stage, user: &str, service: &str, namespace: &str, flags: &[&str]) -> Portolan {
    let kubeconfig = stage.plane.kubeconfig(user, stage.plane.server.address().port());
    let kubeconfig = kubeconfig.to_string_lossy();
    let fixed =
        ["--namespace", namespace, "--kubeconfig", &kubeconfig, "--image", "portolan:test", "--watch", "1s"];
    stage.run(&["migrate", service], &[&fixed[..], flags].concat())
}

fn dry_run(stage: &Stage, namespace: &str, flags: &[&str]) -> (Option<i32>, String) {
    let flags = [&["--dry-run"], flags].concat();
    migrate(stage, "admin", "dns", namespace, &flags).wait_for_exit(SOON)
}

fn selector(stage: &Stage, namespace: &str, service: &str) -> Value {
    stage.plane.api.read("Service", namespace, service).expect("the Service exists")["spec"]["selector"]
        .clone()
}

pub(crate) fn each_distribution_is_named_with_its_plan_or_its_reason(stage: &mut Stage) {
    let api = &stage.plane.api;
    let unknown = KUBEADM.replace("    forward", "    route53 example.org.:Z1Z2Z3Z4DZ5Z6Z7\n    forward");
    let reconciled = ", addonmanager.kubernetes.io/mode: Reconcile";
    for (namespace, version, metadata, corefile, workload_labels, code, wanted) in [
        (
            "migrate-kubeadm",
            "v1.35.4",
            "annotations: { kubeadm.alpha.kubernetes.io/cri-socket: unix:///run/c.sock }",
            KUBEADM,
            "",
            0,
            &["Plan:", "--skip-phases=addon/coredns"][..],
        ),
        (
            "migrate-k3s",
            "v1.35.4+k3s1",
            "",
            unknown.as_str(),
            "",
            2,
            &[
                "K3s",
                "/etc/coredns/Corefile:",
                "route53",
                "ConfigMap migrate-k3s/coredns",
                "coredns.yaml.skip",
            ],
        ),
        ("migrate-k3s-plain", "v1.35.4+k3s1", "", KUBEADM, "", 0, &["K3s", "coredns.yaml.skip", "Plan:"]),
        (
            "migrate-aks",
            "v1.35.4",
            "labels: { kubernetes.azure.com/cluster: MC_x }",
            KUBEADM,
            reconciled,
            2,
            &["Azure AKS", "coredns-custom", "mode=Reconcile"],
        ),
        (
            "migrate-gke",
            "v1.35.4-gke.100",
            "",
            KUBEADM,
            reconciled,
            2,
            &["Google GKE", "kube-dns-autoscaler"],
        ),
        ("migrate-ack", "v1.35.4-aliyun.1", "", KUBEADM, "", 0, &["Alibaba Cloud ACK", "Plan:"]),
        (
            "migrate-unknown-plugin",
            "v1.35.4",
            "",
            &KUBEADM.replace("loadbalance", "nosuch"),
            "",
            2,
            &["Corefile:22", "nosuch"],
        ),
    ] {
        if api.read("Node", "", "migrate").is_some() {
            api.delete("Node", "", "migrate");
        }
        api.apply(&coredns(namespace, corefile, workload_labels, "10.96.0.201", 53));
        api.apply(&node(version, metadata));
        let before = api.read("Service", namespace, "kube-dns");
        let (found, text) = dry_run(stage, namespace, &[]);
        assert_eq!(found, Some(code), "{namespace}: {text}");
        for word in wanted {
            assert!(text.contains(word), "{namespace}: {word:?} is missing in\n{text}");
        }
        assert_eq!(text.contains("Plan:"), code == 0, "{text}");
        assert_eq!(api.read("Service", namespace, "kube-dns"), before, "a dry run changes nothing");
        assert_eq!(api.list("Deployment", namespace).len(), 1, "a dry run creates nothing");
        api.delete("Service", namespace, "kube-dns");
    }
    eks_is_refused_until_its_add_on_is_gone(stage);
    stage.plane.api.delete("Node", "", "migrate");
}

/// The add-on's operator applies its objects with the field manager `eks`.
fn eks_is_refused_until_its_add_on_is_gone(stage: &Stage) {
    let api = &stage.plane.api;
    api.delete("Node", "", "migrate");
    api.apply(&coredns("migrate-eks", KUBEADM, ", eks.amazonaws.com/component: coredns", "10.96.0.209", 53));
    api.apply(&node("v1.35.2-eks-a1b2c3d", "labels: { eks.amazonaws.com/nodegroup: workers }"));
    api.apply_as(
        "eks",
        "{apiVersion: v1, kind: Service, metadata: {name: kube-dns, namespace: migrate-eks, labels: {a: b}}}",
    );
    let (code, text) = dry_run(stage, "migrate-eks", &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("aws eks delete-addon") && text.contains("--preserve") && text.contains("`eks`"),
        "{text}"
    );
    let (code, text) = dry_run(stage, "migrate-eks", &["--unmanaged", "--output", "json"]);
    assert_eq!(code, Some(0), "{text}");
    let plan: Value = serde_json::from_str(&text).expect("the plan is JSON");
    assert!(
        plan["found"]["distribution"].as_str().is_some_and(|found| found.starts_with("Amazon EKS")),
        "{plan}"
    );
    let actions: Vec<_> =
        plan["steps"].as_array().into_iter().flatten().map(|step| step["action"].clone()).collect();
    let wanted = ["record", "create", "wait", "compare", "start-watch", "patch", "keep-watching"];
    assert_eq!(actions, wanted);
    assert_eq!(plan["steps"][5]["patch"]["spec"]["selector"], json!({ "k8s-app": "portolan-dns" }));
}

pub(crate) fn every_missing_permission_is_named_before_a_change(stage: &mut Stage) {
    stage.plane.api.apply(&coredns("migrate-rights", KUBEADM, "", "10.96.0.210", 53));
    let (code, text) = migrate(stage, "guest", "dns", "migrate-rights", &[]).wait_for_exit(SOON);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("permission missing: list deployments.apps in namespace migrate-rights"), "{text}");
    assert!(text.contains("permission missing: list nodes in the whole cluster"), "{text}");
}

/// Waits until the migration has created its Deployment, and then acts for the controllers and kubelet: one ready Pod at `address`.
fn run_copy(stage: &Stage, namespace: &str, service: &str, address: &str) {
    let api = &stage.plane.api;
    let name = format!("portolan-{service}");
    let copy = wait::until("the copy", SOON, || {
        api.read("Deployment", namespace, &name).ok_or_else(|| "none".to_owned())
    });
    let labels = &copy["spec"]["template"]["metadata"]["labels"];
    let containers = &copy["spec"]["template"]["spec"]["containers"];
    assert_eq!(containers[0]["image"], "portolan:test");
    let ports = if containers[0]["ports"].is_null() { json!([]) } else { containers[0]["ports"].clone() };
    api.apply(
        &json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "namespace": namespace, "labels": labels },
            "spec": { "nodeName": "node-1", "containers": [{ "name": "main", "image": "main", "ports": ports }] },
            "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
                "conditions": [{ "type": "Ready", "status": "True" }] },
        })
        .to_string(),
    );
    ready(stage, namespace, &name);
}

/// Writes the status of a Deployment whose only Pod is ready.
fn ready(stage: &Stage, namespace: &str, name: &str) {
    let generation =
        stage.plane.api.read("Deployment", namespace, name).expect("it exists")["metadata"]["generation"]
            .clone();
    let status = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": name, "namespace": namespace },
        "status": { "observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1 },
    });
    stage.plane.api.apply_status(&status.to_string());
}

/// Asserts that nothing of a migration is left.
fn assert_given_back(stage: &Stage, namespace: &str, service: &str, kind: &str, old: &Value) {
    let api = &stage.plane.api;
    let object = api.read("Service", namespace, service).expect("the Service exists");
    assert_eq!(&object["spec"]["selector"], old);
    assert!(!object.to_string().contains("before-"), "the annotation is removed: {object}");
    assert!(api.read("Deployment", namespace, &format!("portolan-{kind}")).is_none(), "the copy is deleted");
}

pub(crate) fn dns_is_taken_over_and_given_back(stage: &mut Stage) {
    let namespace = "migrate-dns";
    stage.plane.api.apply(&coredns(namespace, KUBEADM, "", DNS, 53));
    let old = selector(stage, namespace, "kube-dns");
    let server = stage.dns(&stage.corefile("ttl 30"));

    let run = migrate(stage, "admin", "dns", namespace, &["--external", "no-such.invalid"]);
    run_copy(stage, namespace, "dns", "10.244.7.1");
    let (code, text) = run.wait_for_exit(MIGRATION_TIMEOUT);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("all are the same") && text.contains("0 wrong"), "{text}");
    assert!(text.contains("no-such.invalid. A") && text.contains("left out"), "{text}");
    assert_eq!(selector(stage, namespace, "kube-dns"), json!({ "k8s-app": "portolan-dns" }));

    let (code, again) = migrate(stage, "admin", "dns", namespace, &[]).wait_for_exit(SOON);
    assert_eq!(code, Some(2), "a second run is refused: {again}");
    assert!(again.contains("--rollback"), "{again}");
    let (code, manifest) = migrate(stage, "admin", "dns", namespace, &["--manifest"]).wait_for_exit(SOON);
    assert_eq!(code, Some(0), "{manifest}");
    let list: Value = serde_json::from_str(&manifest).expect("the manifest is JSON, which is YAML");
    let kinds: Vec<_> =
        list["items"].as_array().into_iter().flatten().map(|object| object["kind"].clone()).collect();
    assert_eq!(kinds, ["ConfigMap", "Deployment", "Service"]);
    assert_eq!(list["items"][2]["spec"]["clusterIP"], DNS);

    let (code, text) = migrate(stage, "admin", "dns", namespace, &["--finish"]).wait_for_exit(SOON);
    assert_eq!(code, Some(0), "{text}");
    let replicas = |stage: &Stage| {
        stage.plane.api.read("Deployment", namespace, "coredns").expect("it exists")["spec"]["replicas"]
            .clone()
    };
    assert_eq!(replicas(stage), 0);

    let run = migrate(stage, "admin", "dns", namespace, &["--rollback"]);
    wait::until("the old Pods to be started", SOON, || {
        if replicas(stage) == 1 { Ok(()) } else { Err("no".to_owned()) }
    });
    assert_eq!(
        selector(stage, namespace, "kube-dns"),
        json!({ "k8s-app": "portolan-dns" }),
        "they are not ready yet"
    );
    ready(stage, namespace, "coredns");
    let (code, text) = run.wait_for_exit(MIGRATION_TIMEOUT);
    assert_eq!(code, Some(0), "{text}");
    assert_given_back(stage, namespace, "kube-dns", "dns", &old);
    let (code, text) = migrate(stage, "admin", "dns", namespace, &["--rollback"]).wait_for_exit(SOON);
    assert_eq!(code, Some(2), "nothing is left to roll back: {text}");
    stage.plane.api.delete("Service", namespace, "kube-dns");
    assert!(server.stop().success());
}

/// The objects of K3s: its Corefile has `hosts` and imports, and its Pods mount two ConfigMaps, of which `coredns-custom` is optional.
fn k3s_coredns(namespace: &str) -> String {
    let corefile = KUBEADM
        .replace(
            "    prometheus",
            "    hosts /etc/coredns/NodeHosts {
        ttl 60
        reload 15s
        fallthrough
    }
    prometheus",
        )
        .replace("    loadbalance", "    loadbalance\n    import /etc/coredns/custom/*.override")
        + "import /etc/coredns/custom/*.server\n";
    coredns(namespace, &corefile, "", DNS, 53)
        .replace("data: { Corefile:", "data: { NodeHosts: '10.0.0.21 server-1', Corefile:")
        .replace(
            "readOnly: true }]",
            "readOnly: true }, { name: custom-config-volume, mountPath: /etc/coredns/custom, readOnly: true }]",
        )
        .replace("[{ key: Corefile, path: Corefile }]", "[{ key: Corefile, path: Corefile }, { key: NodeHosts, path: NodeHosts }]")
        + "      - name: custom-config-volume
        configMap: { name: coredns-custom, optional: true }
"
}

pub(crate) fn dns_of_k3s_is_taken_over_with_its_hosts_and_imports(stage: &mut Stage) {
    let namespace = "migrate-k3s-files";
    stage.plane.api.apply(&k3s_coredns(namespace));
    stage.plane.api.apply(&node("v1.35.4+k3s1", ""));
    let old = selector(stage, namespace, "kube-dns");
    let server = stage.dns(&stage.corefile("ttl 30"));

    let run = migrate(stage, "admin", "dns", namespace, &["--external", "no-such.invalid"]);
    run_copy(stage, namespace, "dns", "10.244.7.6");
    let (code, text) = run.wait_for_exit(MIGRATION_TIMEOUT);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("K3s") && text.contains("all are the same"), "{text}");
    assert!(!text.contains("No files matching"), "{text}");
    let copy = stage.plane.api.read("Deployment", namespace, "portolan-dns").expect("the copy exists");
    let volumes = &copy["spec"]["template"]["spec"]["volumes"];
    assert_eq!(volumes[0]["configMap"]["items"][1]["key"], "NodeHosts");
    assert_eq!(volumes[1]["configMap"]["optional"], true);

    // A file of `coredns-custom` that is not valid stops the next migration, with its name.
    let (code, text) =
        migrate(stage, "admin", "dns", namespace, &["--rollback"]).wait_for_exit(MIGRATION_TIMEOUT);
    assert_eq!(code, Some(0), "{text}");
    assert_given_back(stage, namespace, "kube-dns", "dns", &old);
    stage.plane.api.apply(&format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: coredns-custom, namespace: {namespace} }}\ndata: {{ log.override: nosuch }}\n"
    ));
    let (code, text) = dry_run(stage, namespace, &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("/etc/coredns/custom/log.override:1") && text.contains("coredns-custom"), "{text}");
    stage.plane.api.delete("Service", namespace, "kube-dns");
    stage.plane.api.delete("Node", "", "migrate");
    assert!(server.stop().success());
}

/// Answers every query with NXDOMAIN until it is dropped.
struct WrongServer(Arc<AtomicBool>);

impl WrongServer {
    fn start(address: &str) -> WrongServer {
        let socket = UdpSocket::bind(address).expect("the address is local");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a valid timeout");
        let stopped = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stopped);
        std::thread::spawn(move || {
            let mut packet = [0; 512];
            while !seen.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut packet) else { continue };
                // QR and RCODE of RFC 1035 section 4.1.1.
                packet[2] |= 0x80;
                packet[3] = (packet[3] & 0xf0) | 3;
                let _ = socket.send_to(&packet[..length], client);
            }
        });
        WrongServer(stopped)
    }
}

impl Drop for WrongServer {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn a_wrong_answer_leaves_everything_as_it_was(stage: &mut Stage) {
    let namespace = "migrate-wrong";
    stage.plane.api.apply(&coredns(namespace, KUBEADM, "", DNS, 5353));
    let old = selector(stage, namespace, "kube-dns");
    let server = stage.dns(&stage.corefile("ttl 30"));
    let _wrong = WrongServer::start("10.244.7.2:5353");
    let run = migrate(stage, "admin", "dns", namespace, &[]);
    run_copy(stage, namespace, "dns", "10.244.7.2");
    let (code, text) = run.wait_for_exit(MIGRATION_TIMEOUT);
    assert_eq!(code, Some(1), "{text}");
    // Ten of the names are printed; other cases have left names, too.
    let differs =
        ".svc.cluster.local. A: Pod portolan-dns answers `NXDOMAIN`, before the migration it was `NOERROR";
    assert!(text.contains(differs), "{text}");
    assert!(text.contains("rolled back"), "{text}");
    assert_given_back(stage, namespace, "kube-dns", "dns", &old);
    stage.plane.api.delete("Service", namespace, "kube-dns");
    assert!(server.stop().success());
}

/// Interrupts a migration that waits for its Pods, and expects a rollback.
fn interrupted(stage: &mut Stage, namespace: &str, interrupt: impl FnOnce(&mut Stage, &Portolan)) {
    stage.plane.api.apply(&coredns(namespace, KUBEADM, "", DNS, 53));
    let old = selector(stage, namespace, "kube-dns");
    let server = stage.dns(&stage.corefile("ttl 30"));
    let run = migrate(stage, "admin", "dns", namespace, &[]);
    run.wait_for_log(&["waiting for Deployment", "portolan-dns"]);
    interrupt(stage, &run);
    let (code, text) = run.wait_for_exit(MIGRATION_TIMEOUT);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("Rolling back") && text.contains("rolled back"), "{text}");
    assert_given_back(stage, namespace, "kube-dns", "dns", &old);
    stage.plane.api.delete("Service", namespace, "kube-dns");
    assert!(server.stop().success());
}

pub(crate) fn an_interrupted_migration_is_rolled_back(stage: &mut Stage) {
    interrupted(stage, "migrate-signal", |_stage, run| run.signal(Signal::SIGINT));
}

pub(crate) fn a_migration_is_rolled_back_once_the_api_server_answers_again(stage: &mut Stage) {
    interrupted(stage, "migrate-outage", |stage, run| {
        stage.plane.server.stop();
        run.wait_for_log(&["repeating for at most"]);
        stage.plane.ensure_running();
    });
}

/// The Deployment and the Service of ingress-nginx.
const INGRESS_NGINX: &str = "ingress-nginx-controller";

/// `--finish`: the last Pod of ingress-nginx would remove its address from the status of Ingresses, so the flag that forbids this is set
/// and in effect before the Deployment is scaled to zero.
fn finish_keeps_the_status(stage: &Stage, namespace: &str) {
    let read = || stage.plane.api.read("Deployment", namespace, INGRESS_NGINX).expect("it exists");
    let run = migrate(stage, "admin", "ingress", namespace, &["--finish"]);
    run.wait_for_log(&["waiting for Deployment", INGRESS_NGINX]);
    let object = read();
    let arguments = &object["spec"]["template"]["spec"]["containers"][0]["args"];
    assert_eq!(arguments[3], "--update-status-on-shutdown=false", "{arguments}");
    assert_eq!(object["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    assert_eq!(object["spec"]["replicas"], 1, "Pods with the flag are not ready yet");
    ready(stage, namespace, INGRESS_NGINX);
    let (code, text) = run.wait_for_exit(MIGRATION_TIMEOUT);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("would remove addresses from the status of Ingresses"), "{text}");
    assert_eq!(read()["spec"]["replicas"], 0);
}

pub(crate) fn ingress_is_taken_over_and_given_back(stage: &mut Stage) {
    let namespace = "migrate-ingress";
    let labels = "app.kubernetes.io/name: ingress-nginx, app.kubernetes.io/component: controller";
    let workload = format!(
        "
---
apiVersion: v1
kind: Service
metadata: {{ name: ingress-nginx-controller, namespace: {namespace} }}
spec:
  clusterIP: 10.96.0.220
  selector: {{ {labels} }}
  ports:
  - {{ name: http, port: 80, targetPort: http }}
  - {{ name: https, port: 443, targetPort: https }}
---
apiVersion: v1
kind: Service
metadata: {{ name: ingress-nginx-controller-admission, namespace: {namespace} }}
spec:
  selector: {{ {labels} }}
  ports: [{{ name: https-webhook, port: 443, targetPort: webhook }}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{ name: migrate-ingress-admission }}
webhooks:
- name: validate.nginx.ingress.kubernetes.io
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  clientConfig: {{ service: {{ namespace: {namespace}, name: ingress-nginx-controller-admission, path: /networking/v1/ingresses }} }}
  # No rule: it would refuse the Ingresses of other cases.
  rules: []
---
apiVersion: apps/v1
kind: Deployment
metadata: {{ name: ingress-nginx-controller, namespace: {namespace} }}
spec:
  replicas: 1
  selector: {{ matchLabels: {{ {labels} }} }}
  template:
    metadata: {{ labels: {{ {labels} }} }}
    spec:
      containers:
      - name: controller
        image: registry.k8s.io/ingress-nginx/controller:v1.15.1
        args: [/nginx-ingress-controller, --controller-class=k8s.io/ingress-nginx, --ingress-class=nginx]
        ports: [{{ name: http, containerPort: 80 }}, {{ name: https, containerPort: 443 }}, {{ name: webhook, containerPort: 8443 }}]
"
    );
    let manifests = [
        manifests::namespace(namespace),
        CLASS.to_owned(),
        manifests::service(namespace, "web", "10.96.0.221"),
        slice(namespace, "web", "10.244.7.4"),
        ingress(namespace, "web", "migrate.test", "/", "web"),
        workload,
    ];
    stage.plane.api.apply(&manifests.concat());
    let old = selector(stage, namespace, "ingress-nginx-controller");
    let proxy = stage.ingress("portolan", &[]);
    let policy = |stage: &Stage| {
        let webhook = stage.plane.api.read("ValidatingWebhookConfiguration", "", "migrate-ingress-admission");
        webhook.expect("it exists")["webhooks"][0]["failurePolicy"].clone()
    };

    let run = migrate(stage, "admin", "ingress", namespace, &[]);
    run_copy(stage, namespace, "ingress", "10.244.7.3");
    let (code, text) = run.wait_for_exit(MIGRATION_TIMEOUT);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(" of class nginx") && text.contains("all are the same"), "{text}");
    let now = selector(stage, namespace, "ingress-nginx-controller");
    assert_eq!(now["app.kubernetes.io/name"], "portolan-ingress");
    assert_eq!(
        selector(stage, namespace, "ingress-nginx-controller-admission"),
        old,
        "the webhook stays where it is"
    );
    assert_eq!(policy(stage), "Ignore");

    finish_keeps_the_status(stage, namespace);
    let run = migrate(stage, "admin", "ingress", namespace, &["--rollback"]);
    wait::until("the old Pods to be started", SOON, || {
        let object = stage.plane.api.read("Deployment", namespace, INGRESS_NGINX).expect("it exists");
        if object["spec"]["replicas"] == 1 { Ok(()) } else { Err("no".to_owned()) }
    });
    ready(stage, namespace, INGRESS_NGINX);
    let (code, text) = run.wait_for_exit(MIGRATION_TIMEOUT);
    assert_eq!(code, Some(0), "{text}");
    let object = stage.plane.api.read("Deployment", namespace, INGRESS_NGINX).expect("it exists");
    let restored = object["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(!restored.contains("update-status-on-shutdown"), "{restored}");
    assert_given_back(stage, namespace, "ingress-nginx-controller", "ingress", &old);
    assert_eq!(policy(stage), "Fail");
    stage.plane.api.delete("ValidatingWebhookConfiguration", "", "migrate-ingress-admission");
    assert!(proxy.stop().success());
}
