//! What two replicas of the controller write and refuse: addresses of Ingresses, another leader after the end of one, and the admission webhook
//! through the API server.

use std::fs;
use std::process::Output;
use std::time::Instant;

use tests::node::{ClusterNode, POD_TIMEOUT};
use tests::wait;

use crate::backends::{SHOP, ensure_web};
use crate::chart;

/// The namespace and the name of the release.
const NAME: &str = "hook";

const DEPLOYMENT: &str = "deployment/hook-portolan-controller";
const LEASE: &str = "lease/hook-portolan-leader";
const DENIED: &str = "admission webhook \"validate.nginx.ingress.kubernetes.io\" denied the request";
const WEBHOOK: &str = "validatingwebhookconfiguration/hook-portolan-admission";

/// A class of its own, since another release may be installed.
const VALUES: [&str; 9] = [
    "image.tag=dev",
    "controller.replicaCount=2",
    "controller.service.type=ClusterIP",
    "controller.ingressClass=hook",
    "controller.ingressClassResource.name=hook",
    "controller.ingressClassResource.controllerValue=tests/hook",
    "controller.admissionWebhooks.enabled=true",
    "controller.admissionWebhooks.failurePolicy=Fail",
    "controller.electionTTL=9s",
];

fn ingress(name: &str, annotation: &str) -> String {
    format!(
        "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{ name: {name}, namespace: {SHOP}, annotations: {{ {annotation} }} }}
spec:
  ingressClassName: hook
  rules:
  - host: hook.example
    http:
      paths: [{{ path: /, pathType: Prefix, backend: {{ service: {{ name: web, port: {{ name: http }} }} }} }}]
"
    )
}

/// `kubectl apply` of a manifest, which may be refused, with more arguments.
fn try_apply(node: &ClusterNode, manifest: &str, arguments: &[&str]) -> Output {
    let path = node.folder().join("hook.yaml");
    fs::write(&path, manifest).expect("the folder is writable");
    node.try_kubectl(&[&["apply", "-f", &path.to_string_lossy()], arguments].concat())
}

fn install(node: &ClusterNode) {
    ensure_web(node);
    let folder = chart::folder();
    let folder = folder.to_string_lossy();
    let mut words =
        vec!["install", NAME, &folder, "-n", NAME, "--create-namespace", "--wait", "--timeout", "80s"];
    VALUES.iter().for_each(|value| words.extend(["--set", value]));
    node.helm(&words);
    node.wait_for_rollout(NAME, DEPLOYMENT);
    wait::until("the certificate authority of the webhook", POD_TIMEOUT, || {
        match node.field("", WEBHOOK, "{.webhooks[0].clientConfig.caBundle}") {
            bundle if bundle.is_empty() => Err("none".to_owned()),
            _ => Ok(()),
        }
    });
}

fn holder(node: &ClusterNode) -> String {
    node.field(NAME, LEASE, "{.spec.holderIdentity}")
}

pub(crate) fn replicas_refuse_bad_ingresses_write_addresses_and_replace_their_leader(node: &mut ClusterNode) {
    install(node);
    // Until kube-proxy has followed the endpoints of the Service, the API server cannot ask and refuses everything.
    wait::until("the webhook to admit an Ingress", POD_TIMEOUT, || {
        let output = try_apply(node, &ingress("hook", ""), &[]);
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    });
    let other_path = "host \"hook.example\" and path \"/\" are already defined in Ingress shop/hook";
    let bad_alias = "nginx.ingress.kubernetes.io/server-alias: \"a b;\"";
    for (manifest, wanted) in
        [(ingress("twice", ""), other_path), (ingress("bad", bad_alias), "server-alias")]
    {
        // Each replica follows the API server by itself, so that one may not know the other Ingress yet.
        wait::until(wanted, POD_TIMEOUT, || {
            let output = try_apply(node, &manifest, &["--dry-run=server"]);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            let is_refused = !output.status.success() && told.contains(DENIED) && told.contains(wanted);
            if is_refused { Ok(()) } else { Err(told) }
        });
        let output = try_apply(node, &manifest, &[]);
        assert!(!output.status.success(), "{manifest} is admitted");
    }
    let stored = node.kubectl(&["get", "ingress", "-n", SHOP, "-o", "name"]);
    assert!(!stored.contains("twice") && !stored.contains("bad"), "{stored}");

    let service = node.field(NAME, "service/hook-portolan-controller", "{.spec.clusterIP}");
    wait::until("the address", POD_TIMEOUT, || {
        let shown = node.kubectl(&["get", "ingress", "hook", "-n", SHOP]);
        if shown.contains(&service) { Ok(()) } else { Err(shown) }
    });

    let leader = holder(node);
    assert!(node.pods(NAME, "").contains(&leader), "{leader} is a Pod");
    let killed = Instant::now();
    // The kubelet sends SIGTERM even so: the Lease is given back if the API server still accepts the token of the Pod, and expires otherwise.
    node.kubectl(&["delete", "pod", &leader, "-n", NAME, "--grace-period=0", "--force", "--wait=false"]);
    wait::until("another leader", POD_TIMEOUT, || match holder(node) {
        found if found != leader && !found.is_empty() => Ok(()),
        found => Err(found),
    });
    println!("    from the deletion of the leader's Pod to the next leader: {:.1?}", killed.elapsed());
    let shown = node.kubectl(&["get", "ingress", "hook", "-n", SHOP]);
    assert!(shown.contains(&service), "the address stays: {shown}");

    node.kubectl(&["delete", "ingress", "-n", SHOP, "hook"]);
    node.helm(&["uninstall", NAME, "-n", NAME, "--wait", "--timeout", "80s"]);
    node.kubectl(&["delete", "namespace", NAME, "--wait=false"]);
}
