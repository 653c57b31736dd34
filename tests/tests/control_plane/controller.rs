//! What the controller writes: the Lease of the leader, the status of Ingresses, Events.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::stage::{Portolan, SOON, Stage};
use tests::wait;

use crate::ingress_traffic::prepare;
use crate::manifests::{annotated, ingress, workload};

/// Starts `portolan ingress` as a Pod of this name, on ports from `port` on.
#[track_caller]
fn replica(stage: &Stage, namespace: &str, name: &str, port: u16, flags: &[&str]) -> Portolan {
    let kubeconfig = stage.plane.kubeconfig("portolan", stage.plane.server.address().port());
    let ports =
        [("http", 0), ("https", 1), ("healthz", 2)].map(|(what, n)| format!("--{what}-port={}", port + n));
    let mut words = vec![
        "ingress",
        "--kubeconfig",
        kubeconfig.to_str().expect("UTF-8"),
        "--post-shutdown-grace-period=0",
    ];
    words.extend(ports.iter().map(String::as_str));
    words.extend(flags);
    let mut portolan = stage.run_with(&words, &[], &[("POD_NAME", name), ("POD_NAMESPACE", namespace)]);
    portolan.wait_for_page(port + 2, "/healthz");
    portolan
}

/// Runs kubectl as the administrator.
#[track_caller]
fn kubectl(stage: &Stage, words: &[&str]) -> String {
    let kubeconfig = stage.plane.kubeconfig("admin", 6443);
    let output = stage.plane.kubectl(&[&["--kubeconfig", &kubeconfig.to_string_lossy()], words].concat());
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn addresses(stage: &Stage, namespace: &str, name: &str) -> Value {
    let ingress = stage.plane.api.read("Ingress", namespace, name).expect("the Ingress exists");
    ingress["status"]["loadBalancer"]["ingress"].clone()
}

#[track_caller]
fn wait_for_addresses(stage: &Stage, namespace: &str, name: &str, limit: Duration, wanted: &Value) {
    wait::until(&format!("{wanted} in the status of {name}"), limit, || {
        let found = addresses(stage, namespace, name);
        let is_empty = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
        if found == *wanted || is_empty(&found) && is_empty(wanted) { Ok(()) } else { Err(found.to_string()) }
    });
}

fn holder(stage: &Stage, namespace: &str, name: &str) -> String {
    let lease = stage.plane.api.read("Lease", namespace, name).unwrap_or_default();
    lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned()
}

#[track_caller]
fn wait_for_holder(stage: &Stage, namespace: &str, lease: &str, limit: Duration, wanted: &str) {
    wait::until(&format!("{wanted} to hold the Lease"), limit, || match holder(stage, namespace, lease) {
        found if found == wanted => Ok(()),
        found => Err(found),
    });
}

pub(crate) fn addresses_are_written_kept_and_removed_by_the_last_pod(stage: &mut Stage) {
    prepare(stage, "status");
    let api = &stage.plane.api;
    api.apply(&workload("status", "web", &["10.244.1.131"]));
    api.apply(&ingress("status", "before", "before.status.test", "/", "web"));
    let other = ingress("status", "other", "other.status.test", "/", "web");
    api.apply(&other.replace("ingressClassName: nginx", "ingressClassName: other"));
    let service = "
apiVersion: v1
kind: Service
metadata: { name: lb, namespace: status }
spec: { type: LoadBalancer, externalIPs: [192.0.2.9], ports: [{ port: 80 }] }
status: { loadBalancer: { ingress: [{ ip: 192.0.2.8 }, { hostname: lb.example }] } }
";
    api.apply(service);
    let flags = ["--publish-service=status/lb", "--status-update-interval=5"];
    let portolan = replica(stage, "status", "edge-1", 8180, &flags);
    let all = json!([{"ip": "192.0.2.8", "ipMode": "VIP"}, {"ip": "192.0.2.9", "ipMode": "VIP"}, {"hostname": "lb.example"}]);
    let plain = |addresses: &Value| addresses.to_string().replace(",\"ipMode\":\"VIP\"", "");
    wait::until("the addresses", SOON, || match addresses(stage, "status", "before") {
        found if plain(&found) == plain(&all) => Ok(()),
        found => Err(found.to_string()),
    });
    let shown = kubectl(stage, &["get", "ingress", "before", "-n", "status"]);
    assert!(shown.contains("192.0.2.8,192.0.2.9,lb.example"), "{shown}");
    // A new one has them at once, and not at the next interval.
    let created = Instant::now();
    api.apply(&ingress("status", "after", "after.status.test", "/", "web"));
    wait::until("the addresses", SOON, || match addresses(stage, "status", "after") {
        Value::Null => Err("none".to_owned()),
        _ => Ok(()),
    });
    println!("    from the creation of an Ingress to its status: {:.1?}", created.elapsed());
    assert_eq!(addresses(stage, "status", "other"), Value::Null, "of another class");
    // What another program writes is replaced, and a changed Service followed.
    api.merge("Service", "status", "lb", "{spec: {externalIPs: [192.0.2.10]}}");
    wait::until("the new addresses", SOON, || match addresses(stage, "status", "before").to_string() {
        found if found.contains("192.0.2.10") && !found.contains("192.0.2.9\"") => Ok(()),
        found => Err(found),
    });
    assert!(portolan.stop().success());
    for name in ["before", "after"] {
        wait_for_addresses(stage, "status", name, SOON, &Value::Null);
    }
    assert_eq!(holder(stage, "status", "ingress-controller-leader"), "", "the lease is released");
}

pub(crate) fn another_replica_follows_a_leader_that_ends(stage: &mut Stage) {
    prepare(stage, "failover");
    let api = &stage.plane.api;
    api.apply(&workload("failover", "web", &["10.244.1.132"]));
    api.apply(&ingress("failover", "web", "failover.test", "/", "web"));
    for name in ["edge-1", "edge-2", "edge-3"] {
        api.apply(&crate::manifests::pod("failover", name, "edge", "10.244.1.133", true, ""));
    }
    let flags = ["--publish-status-address=192.0.2.21", "--election-id=shared", "--election-ttl=8s"];
    let first = replica(stage, "failover", "edge-1", 8180, &flags);
    wait_for_holder(stage, "failover", "shared", SOON, "edge-1");
    let address = |ip: &str| json!([{"ip": ip}]);
    wait_for_addresses(stage, "failover", "web", SOON, &address("192.0.2.21"));
    let others = ["--publish-status-address=192.0.2.22", "--election-id=shared", "--election-ttl=8s"];
    let second = replica(stage, "failover", "edge-2", 8280, &others);
    second.wait_for_log(&["edge-1 is the leader"]);
    assert_eq!(addresses(stage, "failover", "web"), address("192.0.2.21"), "only the leader writes");

    // Killed: the lease has to expire.
    let killed = Instant::now();
    first.kill();
    wait_for_holder(stage, "failover", "shared", Duration::from_secs(40), "edge-2");
    println!("    from the end of a leader to the next, with a lease of 8 s: {:.1?}", killed.elapsed());
    assert!(killed.elapsed() > Duration::from_secs(3), "the lease had not expired: {:?}", killed.elapsed());
    wait_for_addresses(stage, "failover", "web", SOON, &address("192.0.2.22"));

    // Stopped: it is released, and the addresses stay, because other Pods exist.
    let third = replica(stage, "failover", "edge-3", 8180, &others);
    third.wait_for_log(&["edge-2 is the leader"]);
    let stopped = Instant::now();
    assert!(second.stop().success());
    wait_for_holder(stage, "failover", "shared", Duration::from_secs(40), "edge-3");
    println!("    from SIGTERM of a leader to the next: {:.1?}", stopped.elapsed());
    assert_eq!(addresses(stage, "failover", "web"), address("192.0.2.22"));
    assert!(third.stop().success());
    for name in ["edge-1", "edge-2", "edge-3"] {
        api.delete("Pod", "failover", name);
    }
}

pub(crate) fn events_say_what_is_served_and_what_is_not(stage: &mut Stage) {
    prepare(stage, "events");
    let api = &stage.plane.api;
    api.apply(&workload("events", "web", &["10.244.1.134"]));
    let portolan = replica(stage, "events", "edge-1", 8180, &[]);
    wait_for_holder(stage, "events", "ingress-controller-leader", SOON, "edge-1");
    let plain = ingress("events", "web", "events.test", "/", "web");
    let annotations =
        "nginx.ingress.kubernetes.io/auth-type: basic, nginx.ingress.kubernetes.io/auth-secret: missing";
    api.apply(&annotated(&plain, annotations));
    let described = wait::until("both Events", SOON, || {
        let text = kubectl(stage, &["describe", "ingress", "web", "-n", "events"]);
        let has = |words: &str| text.contains(words);
        if has("Scheduled for sync") && has("AnnotationParsingFailed") { Ok(text) } else { Err(text) }
    });
    assert!(
        described.contains("nginx.ingress.kubernetes.io/auth-secret: Secret events/missing does not exist"),
        "{described}"
    );
    assert!(described.contains("nginx-ingress-controller"), "{described}");
    // A version that is served again is counted in the same Event.
    api.apply(&plain);
    wait::until("a count", SOON, || {
        let events = api.list("Event", "events");
        let sync = events.iter().find(|event| event["reason"] == "Sync" && event["count"].as_u64() > Some(1));
        sync.map(|_| ()).ok_or_else(|| format!("{events:?}"))
    });
    assert!(portolan.stop().success());
}

/// The API server asks the webhook, with the certificate that the leader has made.
pub(crate) fn the_api_server_refuses_what_the_webhook_refuses(stage: &mut Stage) {
    prepare(stage, "webhook");
    let api = &stage.plane.api;
    api.apply(&ingress("webhook", "first", "hook.test", "/", "web"));
    api.apply(
        "
apiVersion: v1
kind: Service
metadata: { name: hook, namespace: webhook }
spec: { selector: { app: edge }, ports: [{ port: 8444 }] }
",
    );
    let flags = ["--validating-webhook=:8444", "--validating-webhook-configuration=controller-webhook"];
    let portolan = replica(stage, "webhook", "edge-1", 8180, &flags);
    api.apply(
        "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: { name: controller-webhook }
webhooks:
- name: validate.nginx.ingress.kubernetes.io
  rules: [{ apiGroups: [networking.k8s.io], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [ingresses] }]
  failurePolicy: Fail
  sideEffects: None
  admissionReviewVersions: [v1]
  namespaceSelector: { matchLabels: { kubernetes.io/metadata.name: webhook } }
  clientConfig: { service: { name: hook, namespace: webhook, path: /networking/v1/ingresses, port: 8444 } }
",
    );
    let admitted = wait::until("the webhook to be trusted", Duration::from_secs(40), || {
        let response = api.try_apply(&annotated(
            &ingress("webhook", "second", "second.hook.test", "/", "web"),
            "nginx.ingress.kubernetes.io/rewrite-traget: /x",
        ));
        if response.status == 201 { Ok(response) } else { Err(response.text()) }
    });
    let warning = admitted.header("warning").unwrap_or_default();
    assert!(warning.contains("did you mean rewrite-target?"), "{warning}");
    let secret = api.read("Secret", "webhook", "controller-webhook").expect("the certificate is kept");
    assert_eq!(secret["type"], "kubernetes.io/tls");

    for (manifest, wanted) in [
        (
            ingress("webhook", "other", "hook.test", "/", "web"),
            "host \\\"hook.test\\\" and path \\\"/\\\" are already defined in Ingress webhook/first",
        ),
        (
            annotated(
                &ingress("webhook", "other", "other.hook.test", "/", "web"),
                "nginx.ingress.kubernetes.io/configuration-snippet: return 200",
            ),
            "nginx.ingress.kubernetes.io/configuration-snippet: raw nginx text is not allowed",
        ),
    ] {
        let response = api.try_apply(&manifest);
        assert_eq!(response.status, 400, "{}", response.text());
        assert!(response.text().contains(wanted), "{}", response.text());
        assert!(api.read("Ingress", "webhook", "other").is_none());
    }
    // An Ingress may be changed where it is not at fault.
    assert_eq!(api.try_apply(&ingress("webhook", "first", "hook.test", "/", "other")).status, 200);
    api.delete("ValidatingWebhookConfiguration", "", "controller-webhook");
    assert!(portolan.stop().success());
}
