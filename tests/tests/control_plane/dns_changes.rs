//! DNS answers follow changes of the cluster.

use std::net::IpAddr;

use nix::sys::signal::Signal;
use tests::dns::DnsClient;
use tests::stage::{SOON, Stage};
use tests::wait;

use crate::manifests::{pod, pod_name};

pub(crate) fn a_service_is_created_changed_and_deleted(stage: &mut Stage) {
    let api = &stage.plane.api;
    api.apply("{apiVersion: v1, kind: Namespace, metadata: {name: changes}}");
    let _portolan = stage.dns(&stage.corefile(""));
    let server = stage.resolver();
    server.expect(SOON, "web.changes.svc.cluster.local A = NXDOMAIN");

    api.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: changes},
          spec: {clusterIP: 10.96.0.50, ports: [{name: http, port: 80}]}}",
    );
    server.expect(SOON, "web.changes.svc.cluster.local A = 10.96.0.50");

    api.merge("Service", "changes", "web", "{spec: {ports: [{name: https, port: 443}]}}");
    server.expect(
        SOON,
        "
_https._tcp.web.changes.svc.cluster.local SRV = 0 100 443 web.changes.svc.cluster.local.
_http._tcp.web.changes.svc.cluster.local  SRV = NXDOMAIN
",
    );

    api.delete("Service", "changes", "web");
    api.apply(
        "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: changes},
          spec: {clusterIP: 10.96.0.51, ports: [{port: 80}]}}",
    );
    server.expect(
        SOON,
        "
web.changes.svc.cluster.local A = 10.96.0.51
50.0.96.10.in-addr.arpa     PTR = NXDOMAIN
51.0.96.10.in-addr.arpa     PTR = web.changes.svc.cluster.local.
",
    );

    api.delete("Namespace", "", "changes");
    server.expect(
        SOON,
        "
web.changes.svc.cluster.local A = NXDOMAIN
changes.svc.cluster.local     A = NXDOMAIN
51.0.96.10.in-addr.arpa     PTR = NXDOMAIN
",
    );
}

pub(crate) fn a_pod_that_is_no_longer_ready_leaves_its_service(stage: &mut Stage) {
    let pod = |address: &str, ready: bool| pod("changes-ready", &pod_name(address), "db", address, ready, "");
    let api = &stage.plane.api;
    api.apply(
        "
apiVersion: v1
kind: Namespace
metadata: { name: changes-ready }
---
apiVersion: v1
kind: Service
metadata: { name: db, namespace: changes-ready }
spec: { clusterIP: None, selector: { app: db }, ports: [{ name: sql, port: 5432 }] }
",
    );
    api.apply(&pod("10.244.0.51", true));
    api.apply(&pod("10.244.0.52", true));
    let _portolan = stage.dns(&stage.corefile(""));
    let server = stage.resolver();
    server.expect(SOON, "db.changes-ready.svc.cluster.local A = 10.244.0.51, 10.244.0.52");

    api.apply(&pod("10.244.0.51", false));
    server.expect(
        SOON,
        "
db.changes-ready.svc.cluster.local             A = 10.244.0.52
10-244-0-51.db.changes-ready.svc.cluster.local A = NXDOMAIN
51.0.244.10.in-addr.arpa                     PTR = NXDOMAIN
",
    );
    api.delete("Pod", "changes-ready", &pod_name("10.244.0.52"));
    server.expect(SOON, "db.changes-ready.svc.cluster.local A = NXDOMAIN");
    api.apply(&pod("10.244.0.51", true));
    server.expect(SOON, "db.changes-ready.svc.cluster.local A = 10.244.0.51");
}

/// The trigger time that the controller annotates a slice with is here the creation of the Service.
pub(crate) fn a_change_of_endpoints_is_timed(stage: &mut Stage) {
    let api = &stage.plane.api;
    let service = |name: &str, address: &str| {
        format!(
            "
---
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: changes-timed }}
spec: {{ clusterIP: {address}, selector: {{ app: timed }}, ports: [{{ port: 80 }}] }}
"
        )
    };
    let services = service("web", "10.96.0.55") + &service("db", "None");
    api.apply(&("{apiVersion: v1, kind: Namespace, metadata: {name: changes-timed}}".to_owned() + &services));
    let corefile = stage.corefile("").replace("    ready\n", "    ready\n    prometheus 127.0.0.1:9153\n");
    let dns = stage.dns(&corefile);
    stage.resolver().expect(SOON, "web.changes-timed.svc.cluster.local A = 10.96.0.55");

    let made = api.read("Service", "changes-timed", "db").expect("it has been made");
    let made = made["metadata"]["creationTimestamp"].as_str().expect("a time").to_owned();
    let pod = pod("changes-timed", "timed", "timed", "10.244.0.55", true, "");
    api.apply(&pod.replace("status: 'True'", &format!("status: 'True', lastTransitionTime: '{made}'")));
    stage.resolver().expect(SOON, "db.changes-timed.svc.cluster.local A = 10.244.0.55");
    wait::until("both kinds of Service", SOON, || {
        let page = dns.dns_metrics();
        let counted = |kind| {
            let count = format!(
                "coredns_kubernetes_dns_programming_duration_seconds_count{{service_kind=\"{kind}\"}}"
            );
            page.lines().any(|line| line.starts_with(&count))
        };
        if counted("cluster_ip") && counted("headless_with_selector") { Ok(()) } else { Err(page) }
    });
    let page = dns.dns_metrics();
    for name in ["rest_client_requests_total{code=\"200\"", "rest_client_request_duration_seconds_count{"] {
        assert!(page.contains(&format!("coredns_kubernetes_{name}")), "{name} in {page}");
    }
}

/// `namespace_labels` and `labels` are sent to the API server as selectors, so this needs a real one.
pub(crate) fn selectors_hide_objects_that_do_not_match(stage: &mut Stage) {
    let api = &stage.plane.api;
    api.apply(
        "
apiVersion: v1
kind: Namespace
metadata: { name: changes-seen, labels: { dns: 'yes' } }
---
apiVersion: v1
kind: Namespace
metadata: { name: changes-unseen }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: changes-seen, labels: { public: 'yes' } }
spec: { clusterIP: 10.96.0.52, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: changes-unseen, labels: { public: 'yes' } }
spec: { clusterIP: 10.96.0.53, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: inner, namespace: changes-seen }
spec: { clusterIP: 10.96.0.54, ports: [{ port: 80 }] }
",
    );
    let both = stage.corefile("namespace_labels dns=yes\n        labels public=yes");
    let _portolan = stage.dns(&both);
    let server = stage.resolver();
    server.expect(
        SOON,
        "
web.changes-seen.svc.cluster.local    A = 10.96.0.52
inner.changes-seen.svc.cluster.local  A = NXDOMAIN
web.changes-unseen.svc.cluster.local  A = NXDOMAIN
changes-unseen.svc.cluster.local      A = NXDOMAIN
",
    );
    api.merge("Service", "changes-seen", "inner", "{metadata: {labels: {public: 'yes'}}}");
    api.merge("Namespace", "", "changes-unseen", "{metadata: {labels: {dns: 'yes'}}}");
    server.expect(
        SOON,
        "
inner.changes-seen.svc.cluster.local  A = 10.96.0.54
web.changes-unseen.svc.cluster.local  A = 10.96.0.53
",
    );
    api.merge("Service", "changes-seen", "inner", "{metadata: {labels: {public: 'no'}}}");
    server.expect(SOON, "inner.changes-seen.svc.cluster.local A = NXDOMAIN");
}

/// The addresses of `bind` and the wildcard address overlap: each reload opens listeners beside those that are still open.
pub(crate) fn listeners_follow_bind_at_a_reload(stage: &mut Stage) {
    let block = |bind: &str, address: &str| {
        format!(
            ".:53 {{\n    ready\n    {bind}\n    hosts /none {{\n        {address} name.test\n    }}\n}}\n"
        )
    };
    let everywhere = block("", "192.0.2.1");
    let bound = block("bind 10.96.0.10", "192.0.2.2") + &block("bind 10.244.9.1", "192.0.2.3");
    let clients =
        ["10.96.0.10", "10.244.9.1"].map(|ip| DnsClient((ip.parse::<IpAddr>().expect(ip), 53).into()));
    let dns = stage.dns(&everywhere);
    for (corefile, answers) in [
        (&everywhere, ["192.0.2.1", "192.0.2.1"]),
        (&bound, ["192.0.2.2", "192.0.2.3"]),
        (&everywhere, ["192.0.2.1", "192.0.2.1"]),
    ] {
        std::fs::write(stage.folder().join("Corefile"), corefile).expect("the folder is ours");
        dns.signal(Signal::SIGUSR1);
        for (client, answer) in clients.iter().zip(answers) {
            client.expect(SOON, &format!("name.test A = {answer}"));
        }
    }
    assert!(!dns.log().contains("reload failed"), "{}", dns.log());
    assert!(dns.stop().success());
}
