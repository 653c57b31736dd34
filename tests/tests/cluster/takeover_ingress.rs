//! Our image in the Deployment of ingress-nginx's manifest, with its arguments, environment, security context, probes and ports, and
//! the way from there to a Deployment of Portolan and back.

use serde_json::Value;
use tests::meter::{Meter, Series};
use tests::node::ClusterNode;
use tests::pod_images::{BUSYBOX, PAUSE, PODS};

use crate::backends::{SHOP, ensure_web};
use crate::ingress::{address, ingress, wait_for_route};
use crate::manifests::{delete_ingress_nginx, ingress_nginx};
use crate::migrate::{migrate, no_loss};

/// The namespace of ingress-nginx.
const NAMESPACE: &str = "ingress-nginx";

/// Its Deployment.
const DEPLOYMENT: &str = "deployment/ingress-nginx-controller";

/// Its Service.
const SERVICE: &str = "service/ingress-nginx-controller";

/// The host of the route.
pub(crate) const HOST: &str = "stock.example";

/// Installs ingress-nginx's manifest and waits until a route is served. Returns the ClusterIP of the Service.
#[track_caller]
pub(crate) fn ensure_ingress_nginx(node: &ClusterNode, manifest: &str) -> String {
    ensure_web(node);
    // Left by a case that failed.
    if node.read(NAMESPACE, DEPLOYMENT).is_some() {
        delete_ingress_nginx(node);
    }
    node.apply(manifest);
    node.apply(&ingress("stock", HOST, "web", "", ""));
    node.wait_for_rollout(NAMESPACE, DEPLOYMENT);
    let service = node.field(NAMESPACE, SERVICE, "{.spec.clusterIP}");
    wait_for_route(address(&service, 80), HOST);
    service
}

/// Deletes what [`ensure_ingress_nginx`] made.
pub(crate) fn remove_ingress_nginx(node: &ClusterNode) {
    node.kubectl(&["delete", "ingress", "-n", SHOP, "stock", "--ignore-not-found"]);
    delete_ingress_nginx(node);
}

/// A request every ten milliseconds. The backend and the controller that fails (`tests/pods/fail.go`) answer with the request.
pub(crate) fn requests(node: &ClusterNode, service: &str, host: &str) -> Series {
    Meter::of(node).requests(&format!("http://{service}/"), host, &format!("GET%20{host}/%20by%20"))
}

/// What a migration may change: the specs of the Deployment and of the Service.
fn specs(node: &ClusterNode) -> [Value; 2] {
    [DEPLOYMENT, SERVICE].map(|object| node.read(NAMESPACE, object).expect("it is installed")["spec"].take())
}

/// Asserts that everything is as before a migration, and that requests are served.
#[track_caller]
fn expect_restored(node: &ClusterNode, service: &str, before: &[Value; 2]) {
    assert_eq!(specs(node), *before);
    assert!(node.read(NAMESPACE, "deployment/portolan-ingress").is_none());
    let objects = node.kubectl(&["get", "-n", NAMESPACE, "service,deployment", "-o", "json"]);
    assert!(!objects.contains("portolan.dev/"), "{objects}");
    let series = requests(node, service, HOST);
    // Ended Pods are the last that could be asked.
    node.wait_for_only(NAMESPACE, "", 1);
    no_loss([series], 1);
}

pub(crate) fn ingress_nginxs_manifest_runs_our_image_and_is_taken_over_without_a_lost_request(
    node: &mut ClusterNode,
) {
    let service = ensure_ingress_nginx(node, &ingress_nginx());
    let series = [requests(node, &service, HOST)];
    let text = migrate(node, "ingress", &["--watch", "5s"], 0);
    assert!(text.contains("of class nginx") && text.contains("all are the same"), "{text}");
    let selector = node.field(NAMESPACE, SERVICE, "{.spec.selector}");
    assert!(selector.contains("portolan-ingress"), "{selector}");
    let log = node.kubectl(&["logs", "--namespace", NAMESPACE, "deployment/portolan-ingress"]);
    let report = "another controller serves this class: ingress-nginx/ingress-nginx-controller (ingress-nginx, instance ingress-nginx)";
    assert!(log.contains(report), "until --finish there are two controllers: {log}");
    let text = migrate(node, "ingress", &["--finish"], 0);
    assert!(text.contains("gets the flag --update-status-on-shutdown=false"), "{text}");
    node.wait_for_only(NAMESPACE, "app.kubernetes.io/name=ingress-nginx", 0);
    migrate(node, "ingress", &["--rollback"], 0);
    let arguments = node.field(NAMESPACE, DEPLOYMENT, "{.spec.template.spec.containers[0].args}");
    assert!(!arguments.contains("update-status-on-shutdown"), "{arguments}");
    assert!(node.read(NAMESPACE, "deployment/portolan-ingress").is_none());
    no_loss(series, 500);
    remove_ingress_nginx(node);
}

pub(crate) fn an_ingress_pod_that_is_never_ready_gets_no_request(node: &mut ClusterNode) {
    let service = ensure_ingress_nginx(node, &ingress_nginx());
    let before = specs(node);
    let series = [requests(node, &service, HOST)];
    // A shell that does not know the arguments, and a program without a health page.
    for (image, limit, reason) in
        [(BUSYBOX, "90s", "CrashLoopBackOff"), (PAUSE, "15s", "not ready within 15 s: 0 of 1 Pods are ready")]
    {
        for strategy in ["selector", "set-image"] {
            let flags = ["--image", image, "--strategy", strategy, "--timeout", limit];
            let text = migrate(node, "ingress", &flags, 1);
            assert!(text.contains(reason) && text.contains("rolled back"), "{text}");
        }
    }
    no_loss(series, 1000);
    expect_restored(node, &service, &before);
    remove_ingress_nginx(node);
}

pub(crate) fn requests_that_fail_after_the_change_are_rolled_back(node: &mut ClusterNode) {
    // The failing program cannot bind ports below 1024. Without the grace period, ingress-nginx refuses connections from SIGTERM on, while
    // nodes still send some.
    let manifest = ingress_nginx()
        .replace("containerPort: 80,", "containerPort: 8080,")
        .replace("containerPort: 443,", "containerPort: 4443,")
        .replace(
            "- --ingress-class=nginx",
            "- --ingress-class=nginx\n        - --http-port=8080\n        - --https-port=4443\n        - --shutdown-grace-period=5",
        );
    let service = ensure_ingress_nginx(node, &manifest);
    node.apply(&ingress("steady", "steady.example", "web", "", ""));
    wait_for_route(address(&service, 80), "steady.example");
    let before = specs(node);
    for strategy in ["selector", "set-image"] {
        let (series, steady) = (requests(node, &service, HOST), requests(node, &service, "steady.example"));
        let flags = ["--image", PODS, "--strategy", strategy, "--watch", "60s"];
        let text = migrate(node, "ingress", &flags, 1);
        let reason = format!(
            "http://{HOST}/: Service ingress-nginx-controller answers `503`, before the migration it was `200`"
        );
        assert!(text.contains("all are the same"), "the checks before the change find nothing: {text}");
        assert!(text.contains(&reason) && text.contains("rolled back"), "{text}");
        let report = series.end();
        assert!(report.wrong > 0, "clients saw the failure, too: {report:?}");
        no_loss([steady], 500);
        expect_restored(node, &service, &before);
    }
    node.kubectl(&["delete", "ingress", "-n", SHOP, "steady"]);
    remove_ingress_nginx(node);
}
