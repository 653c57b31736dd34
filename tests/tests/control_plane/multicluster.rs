//! Zones of `multicluster`, from ServiceImports and their CustomResourceDefinition.
//!
//! CoreDNS 1.15.0 passes the first case as `PORTOLAN_BINARY` and fails the others: without the definition, or without permission
//! to read ServiceImports, it is never ready and answers unknown names of all zones with SERVFAIL.

use std::time::Duration;

use tests::stage::{SOON, Stage};
use tests::wait;

use crate::access::permit_guest;
use crate::manifests;

/// The definition of the resource.
const DEFINITION: &str = include_str!("serviceimports.yaml");

const NAME: &str = "serviceimports.multicluster.x-k8s.io";

/// How long the creation of a missing resource may go unnoticed: it is polled every 30 s.
const IN_A_WHILE: Duration = Duration::from_secs(45);

const IMPORTS: &str = "
---
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: { name: web, namespace: set }
spec:
  type: ClusterSetIP
  ips: [10.97.0.1]
  ports: [{ name: http, port: 80, protocol: TCP }, { name: dns, port: 53, protocol: UDP }]
---
apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: { name: db, namespace: set }
spec: { type: Headless, ports: [{ name: sql, port: 5432, protocol: TCP }] }
";

/// A slice as controllers of the Multi-Cluster Services API copy it from another cluster.
fn imported(name: &str, import: &str, cluster: &str, endpoints: &str) -> String {
    format!(
        "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}
  namespace: set
  labels:
    endpointslice.kubernetes.io/managed-by: tests
    multicluster.kubernetes.io/service-name: {import}
    multicluster.kubernetes.io/source-cluster: {cluster}
addressType: IPv4
ports: [{{ name: sql, port: 5432, protocol: TCP }}]
endpoints: [{endpoints}]
"
    )
}

/// A Service of the same name as an import, the Corefile of both zones, and the slices of the imports.
fn prepare(stage: &Stage) -> String {
    let manifests = [
        manifests::namespace("set"),
        manifests::service("set", "web", "10.96.0.86"),
        imported(
            "db-east",
            "db",
            "east",
            "{ addresses: [10.1.1.1], hostname: db-0 }, { addresses: [10.1.1.2] }",
        ),
        imported("db-west", "db", "west", "{ addresses: [10.2.1.1], hostname: db-0 }"),
    ];
    stage.plane.api.apply(&manifests.concat());
    let zones = "cluster.local clusterset.local in-addr.arpa";
    stage.corefile("multicluster clusterset.local").replace("cluster.local in-addr.arpa ip6.arpa", zones)
}

/// Defines the resource and waits until the API server has it.
fn define(stage: &Stage) {
    stage.plane.api.apply(DEFINITION);
    served(stage, 200);
}

fn undefine(stage: &Stage) {
    stage.plane.api.delete("CustomResourceDefinition", "", NAME);
    served(stage, 404);
}

fn served(stage: &Stage, status: u16) {
    wait::until("the resource", SOON, || {
        match stage.plane.api.get("/apis/multicluster.x-k8s.io/v1alpha1/serviceimports") {
            Ok(response) if response.status == status => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

pub(crate) fn imports_answer_with_the_endpoints_of_all_clusters(stage: &mut Stage) {
    let corefile = prepare(stage);
    define(stage);
    stage.plane.api.apply(IMPORTS);
    let _dns = stage.dns(&corefile);
    let server = stage.resolver();
    server.expect(
        SOON,
        "
web.set.svc.cluster.local                 A    = 10.96.0.86
db.set.svc.cluster.local                  A    = NXDOMAIN
web.set.svc.clusterset.local              A    = 10.97.0.1
web.set.svc.clusterset.local              AAAA = NODATA
_dns._udp.web.set.svc.clusterset.local    SRV  = 0 100 53 web.set.svc.clusterset.local.
_dns._tcp.web.set.svc.clusterset.local    SRV  = NXDOMAIN
db.set.svc.clusterset.local               A    = 10.1.1.1, 10.1.1.2, 10.2.1.1
db-0.east.db.set.svc.clusterset.local     A    = 10.1.1.1
db-0.west.db.set.svc.clusterset.local     A    = 10.2.1.1
10-1-1-2.east.db.set.svc.clusterset.local A    = 10.1.1.2
10-1-1-2.west.db.set.svc.clusterset.local A    = NXDOMAIN
db-0.db.set.svc.clusterset.local          A    = NXDOMAIN
_sql._tcp.db.set.svc.clusterset.local     SRV  = 0 33 5432 10-1-1-2.east.db.set.svc.clusterset.local., 0 33 5432 db-0.east.db.set.svc.clusterset.local., 0 33 5432 db-0.west.db.set.svc.clusterset.local.
none.set.svc.clusterset.local             A    = NXDOMAIN
set.svc.clusterset.local                  A    = NODATA
1.0.97.10.in-addr.arpa                    PTR  = NXDOMAIN
",
    );
    stage.plane.api.merge("ServiceImport", "set", "web", "{ spec: { ips: [10.97.0.2] } }");
    stage.plane.api.delete("EndpointSlice", "set", "db-west");
    server.expect(
        SOON,
        "
web.set.svc.clusterset.local           A = 10.97.0.2
db.set.svc.clusterset.local            A = 10.1.1.1, 10.1.1.2
db-0.west.db.set.svc.clusterset.local  A = NXDOMAIN
",
    );
    stage.plane.api.delete("ServiceImport", "set", "db");
    server.expect(SOON, "db.set.svc.clusterset.local A = NXDOMAIN");
    undefine(stage);
}

pub(crate) fn without_the_import_definition_other_zones_are_served(stage: &mut Stage) {
    let corefile = prepare(stage);
    served(stage, 404);
    let dns = stage.dns(&corefile);
    let server = stage.resolver();
    let without = "
web.set.svc.cluster.local    A = 10.96.0.86
none.set.svc.cluster.local   A = NXDOMAIN
web.set.svc.clusterset.local A = NXDOMAIN
set.svc.clusterset.local     A = NODATA
";
    server.expect(SOON, without);
    let line = dns.wait_for_log(&["CustomResourceDefinition", NAME]);
    assert!(line.contains("404"), "{line}");

    define(stage);
    stage.plane.api.apply(IMPORTS);
    server.expect(
        IN_A_WHILE,
        "
web.set.svc.cluster.local    A = 10.96.0.86
web.set.svc.clusterset.local A = 10.97.0.1
db.set.svc.clusterset.local  A = 10.1.1.1, 10.1.1.2, 10.2.1.1
",
    );
    undefine(stage);
    server.expect(SOON, without);
    assert_eq!(dns.ready(), Ok(200));
    assert!(dns.stop().success(), "SIGTERM is a good end");
}

/// All zones except that of ServiceImports are served. Names of that zone are SERVFAIL, since their existence is unknown.
pub(crate) fn forbidden_imports_do_not_affect_other_zones(stage: &mut Stage) {
    let mine = stage.plane.kubeconfig("portolan", 6443);
    let guest = stage.plane.kubeconfig("guest", 6443);
    let corefile = prepare(stage).replace(&*mine.to_string_lossy(), &guest.to_string_lossy());
    define(stage);
    stage.plane.api.apply(IMPORTS);
    let allowed = [("", "namespaces, services"), ("discovery.k8s.io", "endpointslices")];
    permit_guest(stage, &allowed);
    let dns = stage.dns(&corefile);
    let server = stage.resolver();
    server.expect(
        SOON,
        "
web.set.svc.cluster.local    A = 10.96.0.86
none.set.svc.cluster.local   A = NXDOMAIN
web.set.svc.clusterset.local A = SERVFAIL
",
    );
    let line = dns.wait_for_log(&[NAME]);
    assert!(line.contains("list") || line.contains("watch"), "the verb is missing: {line}");

    permit_guest(stage, &[&allowed[..], &[("multicluster.x-k8s.io", "serviceimports")]].concat());
    server.expect(
        IN_A_WHILE,
        "
web.set.svc.clusterset.local  A = 10.97.0.1
none.set.svc.clusterset.local A = NXDOMAIN
",
    );
    undefine(stage);
}
