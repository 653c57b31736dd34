//! What DNS says follows what the cluster becomes.

use tests::stage::{SOON, Stage};

use crate::manifests::{pod, pod_name};

pub(crate) fn a_service_comes_changes_and_goes(stage: &mut Stage) {
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

/// `namespace_labels` and `labels` are asked of the API server: only it can tell what they leave out.
pub(crate) fn selectors_leave_out_what_they_do_not_match(stage: &mut Stage) {
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
