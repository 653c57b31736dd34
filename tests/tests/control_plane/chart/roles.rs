//! The permissions of the chart against the requests of the programs, as the API server's audit log has them.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use tests::credentials;
use tests::stage::{Portolan, SOON, Stage};
use tests::wait;

use super::{chart, helm_output, prepare};
use crate::access::resources;

/// Writes a kubeconfig with the token of a service account of the chart.
fn kubeconfig(stage: &Stage, namespace: &str, account: &str) -> String {
    let manifest =
        format!("\napiVersion: v1\nkind: Secret\nmetadata: {{ name: bound, namespace: {namespace} }}\n");
    stage.plane.api.apply(&manifest);
    let token = stage.plane.api.token(namespace, account, "bound");
    let authority = stage.plane.authority();
    let text = credentials::kubeconfig("https://127.0.0.1:6443", &authority.to_string_lossy(), &token);
    let path = stage.folder().join(format!("{namespace}-{account}.kubeconfig"));
    fs::write(&path, text).expect("the scratch folder is writable");
    path.to_string_lossy().into_owned()
}

/// What is written, and what is read for that: resources and verbs.
const WRITTEN: [(&str, &[&str]); 10] = [
    ("ingresses/status", &["update"]),
    ("events", &["create", "patch"]),
    ("leases", &["get", "update"]),
    ("leases", &["create"]),
    ("pods", &["get", "list"]),
    ("services", &["get"]),
    ("nodes", &["get"]),
    ("secrets", &["get", "update"]),
    ("secrets", &["create"]),
    ("validatingwebhookconfigurations", &["get", "patch"]),
];

/// The resources of the rules of a namespace's Roles and of a ClusterRole, `resource` or `namespace/resource`, which are listed and
/// watched. Fails if a rule allows more than that, and is not one of [`WRITTEN`].
fn allowed(stage: &Stage, release: &str, cluster_role: Option<&str>) -> BTreeSet<String> {
    let mut rules = Vec::new();
    for namespace in ["chart-roles", "chart-other"] {
        for role in stage.plane.api.list("Role", namespace) {
            if role["metadata"]["labels"]["app.kubernetes.io/instance"] == release {
                rules.push((format!("{namespace}/"), role["rules"].clone()));
            }
        }
    }
    if let Some(name) = cluster_role {
        let role = stage.plane.api.read("ClusterRole", "", name).expect("the chart makes it");
        rules.push((String::new(), role["rules"].clone()));
    }
    let mut allowed = BTreeSet::new();
    for (place, rules) in rules {
        for rule in rules.as_array().expect("rules") {
            let is_written = |(resource, verbs): &(&str, &[&str])| {
                rule["resources"] == serde_json::json!([resource])
                    && rule["verbs"] == serde_json::json!(verbs)
            };
            if WRITTEN.iter().any(is_written) {
                let named = ["services", "validatingwebhookconfigurations"];
                let is_named = named.iter().any(|name| rule["resources"][0] == *name)
                    || rule["verbs"] == serde_json::json!(["get", "update"]);
                assert_eq!(rule["resourceNames"].is_array(), is_named, "{rule}");
                continue;
            }
            // An Ingress is read again before its status is written.
            let verbs = match rule["resources"][0].as_str() {
                Some("ingresses") => serde_json::json!(["get", "list", "watch"]),
                _ => serde_json::json!(["list", "watch"]),
            };
            assert_eq!(rule["verbs"], verbs, "{rule}");
            let names = rule["resources"].as_array().expect("resources").iter();
            allowed.extend(names.map(|name| format!("{place}{}", name.as_str().unwrap_or_default())));
        }
    }
    allowed
}

/// Requests of a service account that the API server has answered: their resources, and `refused` ones by themselves.
fn requested(stage: &Stage, user: &str) -> (BTreeSet<String>, Vec<String>) {
    let lines = stage.plane.audit(user);
    let refused =
        lines.iter().filter(|line| line.ends_with(" 403") || line.ends_with(" 401")).cloned().collect();
    let asked = resources(&lines);
    (asked.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect(), refused)
}

/// Checks that the requests of a program need all of the chart's permissions and no other.
fn compare(stage: &Stage, user: &str, allowed: &BTreeSet<String>, what: &str) {
    let bare = |name: &String| name.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted: BTreeSet<String> = allowed.iter().map(bare).collect();
    // The audit log has a request when it ends, at the latest when the program has.
    wait::until(what, SOON, || {
        let (mut asked, refused) = requested(stage, user);
        let is_written = |name: &String| WRITTEN.iter().any(|(resource, _)| resource == name);
        asked.retain(|name| wanted.contains(name) || !is_written(name));
        assert!(refused.is_empty(), "{what}: missing permissions: {refused:?}");
        if asked == wanted { Ok(()) } else { Err(format!("allowed {wanted:?}, asked for {asked:?}")) }
    });
}

/// Runs what the Pods of `helm test` run, with 127.0.0.1 for the addresses of Services. Returns their number.
#[track_caller]
fn run_test_pods(stage: &Stage, release: &str) -> usize {
    let pods = tests::api::documents(&helm_output(stage, &["get", "hooks", release, "-n", "chart-roles"]));
    for pod in &pods {
        assert_eq!(pod["metadata"]["annotations"]["helm.sh/hook"], "test");
        let arguments = pod["spec"]["containers"][0]["args"].as_array().expect("arguments");
        let arguments: Vec<String> = arguments
            .iter()
            .filter_map(Value::as_str)
            .map(|word| match (word.find("$("), word.find("_SERVICE_HOST)")) {
                (Some(start), Some(end)) => {
                    word.replace(&word[start..end + "_SERVICE_HOST)".len()], "127.0.0.1")
                }
                _ => word.to_owned(),
            })
            .collect();
        let output = stage.output(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {message}");
    }
    pods.len()
}

/// Starts a program with the arguments of the chart's controller, with these replaced.
fn run_ingress(stage: &Stage, namespace: &str, release: &str, replaced: &[(&str, &str)]) -> Portolan {
    run_ingress_in(stage, namespace, release, replaced, &[("POD_NAMESPACE", namespace)])
}

/// The same with environment variables.
fn run_ingress_in(
    stage: &Stage,
    namespace: &str,
    release: &str,
    replaced: &[(&str, &str)],
    environment: &[(&str, &str)],
) -> Portolan {
    let name = format!("{release}-portolan-controller");
    let deployment = stage.plane.api.read("Deployment", namespace, &name).expect("it is installed");
    let arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone();
    let Value::Array(arguments) = arguments else { panic!("no arguments: {arguments}") };
    let in_process = |word: &Value| {
        let word =
            word.as_str().unwrap_or_default().trim_start_matches('/').replace("$(POD_NAMESPACE)", namespace);
        replaced.iter().fold(word, |word, (from, to)| word.replace(from, to))
    };
    let arguments: Vec<String> = arguments.iter().map(in_process).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let kubeconfig = kubeconfig(stage, namespace, &format!("{release}-portolan"));
    let more = ["--kubeconfig", &kubeconfig, "--shutdown-grace-period=0", "--post-shutdown-grace-period=0"];
    stage.run_with(&arguments, &more, environment)
}

/// A ready Pod with the labels of a release's controller.
fn ready_pod(stage: &Stage, namespace: &str, release: &str, suffix: &str, address: &str) -> String {
    let controller = format!("{release}-portolan-controller");
    let deployment = stage.plane.api.read("Deployment", namespace, &controller).expect("it is installed");
    let name = format!("{controller}-{suffix}");
    let pod = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "labels": deployment["spec"]["template"]["metadata"]["labels"],
        },
        "spec": { "nodeName": "node-1", "containers": [{ "name": "controller", "image": "portolan" }] },
        "status": { "phase": "Running", "podIP": address, "podIPs": [{ "ip": address }],
            "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    stage.plane.api.apply(&pod.to_string());
    wait::until("the Pod to be an endpoint of its Service", SOON, || {
        let slices = stage.plane.api.list("EndpointSlice", namespace);
        let is_there = slices.iter().any(|slice| slice.to_string().contains(&name));
        if is_there { Ok(()) } else { Err(format!("{slices:?}")) }
    });
    name
}

/// Two releases whose IngressClasses have one controller: each serves the Ingresses of both. The permissions for routes are enough to
/// notice it.
pub(crate) fn another_controller_of_a_class_is_reported(stage: &mut Stage) {
    prepare(stage, "chart-roles");
    prepare(stage, "chart-other");
    let install = |release: &str, namespace: &str, class: &str| {
        let set = format!(
            "controller.ingressClassResource.name={class},controller.ingressClassResource.controllerValue=example.com/shared"
        );
        helm_output(stage, &["install", release, &chart(), "-n", namespace, "--set", &set]);
    };
    install("first", "chart-other", "first-class");
    install("second", "chart-roles", "second-class");
    ready_pod(stage, "chart-other", "first", "7d9f8bcd45-x2k9z", "10.244.8.1");
    // Another replica, and this process, of an older ReplicaSet.
    ready_pod(stage, "chart-roles", "second", "7d9f8bcd45-b7tqw", "10.244.8.2");
    let own = ready_pod(stage, "chart-roles", "second", "6c5d4bf9z8-k9x2z", "10.244.8.3");

    let environment = [("POD_NAMESPACE", "chart-roles"), ("POD_NAME", &own)];
    let mut ingress = run_ingress_in(stage, "chart-roles", "second", &[], &environment);
    ingress.wait_for_page(10254, "/healthz");
    let log = ingress.wait_for_log(&[
        "IngressClass first-class",
        "another controller serves this class: chart-other/first-portolan-controller",
        "(portolan, instance first)",
    ]);
    assert!(
        !log.contains("IngressClass second-class"),
        "the Pods of its own workload are no other controller: {log}"
    );
    assert!(ingress.problems().contains("chart-other/first-portolan-controller"), "{}", ingress.problems());
    assert!(ingress.stop().success());
    let (_, refused) = requested(stage, "system:serviceaccount:chart-roles:second-portolan");
    assert_eq!(refused, [""; 0], "no further permission is needed");
    for (release, namespace) in [("first", "chart-other"), ("second", "chart-roles")] {
        helm_output(stage, &["uninstall", release, "-n", namespace]);
    }
    for (namespace, pod) in [
        ("chart-other", "first-portolan-controller-7d9f8bcd45-x2k9z"),
        ("chart-roles", "second-portolan-controller-7d9f8bcd45-b7tqw"),
        ("chart-roles", own.as_str()),
    ] {
        stage.plane.api.delete("Pod", namespace, pod);
    }
}

pub(crate) fn the_ingress_role_allows_what_is_asked_for_and_no_more(stage: &mut Stage) {
    prepare(stage, "chart-roles");
    prepare(stage, "chart-other");
    // Values, and whether there is a ClusterRole.
    let rows = [
        ("all", "controller.metrics.enabled=true", true),
        ("selected", "controller.scope.namespaceSelector=team=web", true),
        ("scoped", "controller.scope.enabled=true,controller.scope.namespace=chart-other", true),
        ("tls", "secrets.mode=tls", true),
        ("elsewhere", "controller.configMapNamespace=chart-other", true),
        ("checked", "controller.admissionWebhooks.enabled=true", true),
    ];
    for (release, set, has_cluster_role) in rows {
        let class = "controller.ingressClassResource.enabled=false";
        helm_output(
            stage,
            &["install", release, &chart(), "-n", "chart-roles", "--set", set, "--set", class],
        );
        let mut ingress = run_ingress(stage, "chart-roles", release, &[]);
        ingress.wait_for_page(10254, "/healthz");
        assert_eq!(run_test_pods(stage, release), 1, "{release}");
        assert!(ingress.stop().success(), "{release}");
        let role = format!("{release}-portolan");
        let allowed = allowed(stage, release, has_cluster_role.then_some(role.as_str()));
        assert!(allowed.iter().any(|name| name.ends_with("secrets")), "{release}: {allowed:?}");
        compare(stage, &format!("system:serviceaccount:chart-roles:{release}-portolan"), &allowed, release);
        helm_output(stage, &["uninstall", release, "-n", "chart-roles"]);
    }
}

/// Without any cluster-wide permission, the controller serves its namespace and says what it cannot read.
pub(crate) fn in_namespaced_mode_there_are_roles_only(stage: &mut Stage) {
    prepare(stage, "chart-roles");
    prepare(stage, "chart-other");
    let set = "controller.scope.enabled=true,rbac.scope=true,controller.watchIngressWithoutClass=true,controller.ingressClassResource.enabled=false";
    helm_output(stage, &["install", "own", &chart(), "-n", "chart-roles", "--set", set]);
    let cluster_wide =
        super::objects(stage, "own").into_iter().filter(|name| name.starts_with("clusterrole"));
    assert_eq!(cluster_wide.count(), 0);
    let mut ingress = run_ingress(stage, "chart-roles", "own", &[]);
    ingress.wait_for_page(10254, "/healthz");
    let log = ingress.wait_for_log(&["ingressclasses"]);
    assert!(log.contains("list") || log.contains("watch"), "the verb is missing: {log}");
    ingress.stop();
    let (asked, refused) = requested(stage, "system:serviceaccount:chart-roles:own-portolan");
    assert!(refused.iter().all(|line| line.contains("ingressclasses")), "{refused:?}");
    let allowed = allowed(stage, "own", None);
    for name in &asked {
        let is_written = WRITTEN.iter().any(|(resource, _)| resource == name);
        let known =
            name == "ingressclasses" || is_written || allowed.contains(&format!("chart-roles/{name}"));
        assert!(known, "{name} is not in {allowed:?}");
    }
    helm_output(stage, &["uninstall", "own", "-n", "chart-roles"]);
}

/// In combined mode, the roles of both services belong to one account, each kind is watched once, and what one service has seen the
/// other one has as well.
pub(crate) fn one_process_serves_both_with_one_watch_of_each_kind(stage: &mut Stage) {
    prepare(stage, "chart-roles");
    let plugins =
        "dns.servers[0].port=53,dns.servers[0].plugins[0].name=health,dns.servers[0].plugins[1].name=ready";
    let kubernetes = "dns.servers[0].plugins[2].name=kubernetes,dns.servers[0].plugins[2].parameters=cluster.local,dns.servers[0].plugins[3].name=prometheus";
    let set = "mode=combined,dns.enabled=true,controller.ingressClassResource.enabled=false,controller.metrics.enabled=true";
    helm_output(
        stage,
        &[
            "install",
            "pair",
            &chart(),
            "-n",
            "chart-roles",
            "--set",
            set,
            "--set",
            plugins,
            "--set",
            kubernetes,
        ],
    );
    let selects = |name: &str| {
        let service = stage.plane.api.read("Service", "chart-roles", name).expect("it is installed");
        service["spec"]["selector"].clone()
    };
    let deployment = stage.plane.api.read("Deployment", "chart-roles", "pair-portolan-controller");
    let labels = deployment.expect("it is installed")["spec"]["template"]["metadata"]["labels"].clone();
    for name in ["kube-dns", "pair-portolan-controller"] {
        for (label, value) in selects(name).as_object().expect("a selector") {
            assert_eq!(&labels[label], value, "{name} selects the Pods of both");
        }
    }
    assert_eq!(stage.plane.api.list("Deployment", "chart-roles").len(), 1);

    let config = stage.plane.api.read("ConfigMap", "chart-roles", "pair-dns").expect("it is installed");
    let path = stage.folder().join("combined.Corefile");
    fs::write(&path, config["data"]["Corefile"].as_str().expect("a Corefile"))
        .expect("the folder is writable");
    let corefile = ("etc/coredns/Corefile", path.to_string_lossy().trim_start_matches('/').to_owned());
    let mut both = run_ingress(stage, "chart-roles", "pair", &[(corefile.0, &corefile.1)]);
    both.wait_for_page(10254, "/healthz");
    both.wait_for_ready();
    assert_eq!(run_test_pods(stage, "pair"), 2);
    assert!(
        both.metrics().contains("nginx_ingress_controller_config_last_reload_successful"),
        "metrics of ingress"
    );
    assert!(both.metrics().contains("coredns_dns_requests_total"), "metrics of DNS");
    assert!(both.stop().success());

    let mut allowed = allowed(stage, "pair", Some("pair-portolan"));
    allowed.extend(self::allowed(stage, "pair", Some("pair-dns")));
    let user = "system:serviceaccount:chart-roles:pair-portolan";
    compare(stage, user, &allowed, "combined");
    let lines = stage.plane.audit(user);
    // A watch has two events, its begin and its end. Only ingress watches Secrets.
    let events =
        |resource: &str| lines.iter().filter(|line| line.starts_with(&format!("watch {resource} "))).count();
    for resource in ["services", "endpointslices", "namespaces"] {
        assert_eq!(events(resource), events("secrets"), "one watch of {resource}: {lines:?}");
    }
    helm_output(stage, &["uninstall", "pair", "-n", "chart-roles"]);
}

/// DNS never reads Secrets, and Pods only if the Corefile needs them.
pub(crate) fn the_dns_role_allows_what_is_asked_for_and_no_more(stage: &mut Stage) {
    prepare(stage, "chart-roles");
    let rows = [
        ("insecure", "pods insecure", "false", "endpointslices namespaces services"),
        ("verified", "pods verified", "false", "endpointslices namespaces pods services"),
        ("nodes", "pods insecure", "true", "endpointslices namespaces nodes services"),
    ];
    for (release, option, node_hosts, wanted) in rows {
        let plugins = "dns.servers[0].port=53,dns.servers[0].plugins[0].name=health,dns.servers[0].plugins[1].name=ready";
        let kubernetes = format!(
            "dns.servers[0].plugins[2].name=kubernetes,dns.servers[0].plugins[2].parameters=cluster.local,dns.servers[0].plugins[2].configBlock={option}"
        );
        let only = format!("controller.enabled=false,dns.enabled=true,dns.nodeHosts={node_hosts}");
        let sets = ["--set", &only, "--set", plugins, "--set", &kubernetes];
        helm_output(stage, &[&["install", release, &chart(), "-n", "chart-roles"], &sets[..]].concat());
        let name = format!("{release}-dns");
        let config = stage.plane.api.read("ConfigMap", "chart-roles", &name).expect("it is installed");
        let path = stage.folder().join("Corefile");
        fs::write(&path, config["data"]["Corefile"].as_str().expect("a Corefile"))
            .expect("the folder is writable");
        let kubeconfig = kubeconfig(stage, "chart-roles", &name);
        let mut dns =
            stage.run(&["coredns", "-conf", &path.to_string_lossy(), "--kubeconfig", &kubeconfig], &[]);
        dns.wait_for_ready();
        assert_eq!(run_test_pods(stage, release), 1, "{release}");
        assert!(dns.stop().success(), "{release}");
        let allowed = allowed(stage, release, Some(&name));
        assert_eq!(allowed.iter().cloned().collect::<Vec<_>>().join(" "), wanted, "{release}");
        compare(stage, &format!("system:serviceaccount:chart-roles:{name}"), &allowed, release);
        helm_output(stage, &["uninstall", release, "-n", "chart-roles"]);
    }
}
