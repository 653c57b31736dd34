//! Real resolvers with a Pod's settings: search list, `ndots:5`, and the name server at the cluster address.

use std::process::Command;

use tests::control_plane::API_SERVER;
use tests::documentation;
use tests::namespace::ResolvConf;
use tests::stage::{DNS, SOON, Stage};
use tests::upstream::{UPSTREAM, Upstream};

fn pod_settings(stage: &Stage, namespace: &str) -> ResolvConf {
    let search = format!("search {namespace}.svc.cluster.local svc.cluster.local cluster.local example.test");
    ResolvConf::mount(&format!("{search}\nnameserver {DNS}\noptions ndots:5\n"), stage.folder())
}

fn prepare(stage: &Stage) {
    stage.plane.api.apply(
        "
apiVersion: v1
kind: Namespace
metadata: { name: resolvers }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: resolvers }
spec:
  ipFamilyPolicy: RequireDualStack
  clusterIP: 10.96.0.80
  clusterIPs: [10.96.0.80, 'fd00:10:96::80']
  ports: [{ name: http, port: 80 }]
---
apiVersion: v1
kind: Service
metadata: { name: other, namespace: resolvers }
spec: { clusterIP: 10.96.0.81, ports: [{ port: 80 }] }
",
    );
}

/// Sorted output of `getent <database> <key>`: addresses and names.
pub(crate) fn getent(database: &str, key: &str) -> String {
    let output =
        Command::new("getent").args([database, key]).output().expect("getent (Debian package libc-bin)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines.join(", ")
}

pub(crate) fn the_c_library_resolves_names_as_in_a_pod(stage: &mut Stage) {
    prepare(stage);
    let _upstream = Upstream::start(&[("www.example.test.", [192, 0, 2, 9])]);
    let corefile = stage.corefile("").replace("    errors", &format!("    errors\n    forward . {UPSTREAM}"));
    let _dns = stage.dns(&corefile);
    stage.resolver().expect(SOON, "web.resolvers.svc.cluster.local A = 10.96.0.80");
    let _settings = pod_settings(stage, "resolvers");
    for (database, key, wanted) in [
        (
            "ahostsv4",
            "web",
            "10.96.0.80 DGRAM, 10.96.0.80 RAW, 10.96.0.80 STREAM web.resolvers.svc.cluster.local",
        ),
        (
            "ahostsv6",
            "web",
            "fd00:10:96::80 DGRAM, fd00:10:96::80 RAW, fd00:10:96::80 STREAM web.resolvers.svc.cluster.local",
        ),
        ("hosts", "other.resolvers", "10.96.0.81 other.resolvers.svc.cluster.local"),
        ("hosts", "other.resolvers.svc", "10.96.0.81 other.resolvers.svc.cluster.local"),
        ("hosts", "other.resolvers.svc.cluster.local", "10.96.0.81 other.resolvers.svc.cluster.local"),
        ("hosts", "www.example.test", "192.0.2.9 www.example.test"),
        ("hosts", "www", "192.0.2.9 www.example.test"),
        ("hosts", "10.96.0.81", "10.96.0.81 other.resolvers.svc.cluster.local"),
        ("hosts", "none.resolvers", ""),
    ] {
        assert_eq!(getent(database, key), wanted, "getent {database} {key}");
    }
}

/// The first query of the search list is answered with what its last one would get.
pub(crate) fn the_c_library_takes_the_answer_that_ndots_gives_at_once(stage: &mut Stage) {
    prepare(stage);
    let _upstream = Upstream::start(&[("www.example.test.", [192, 0, 2, 9])]);
    let more = format!("    errors\n    prometheus :9153\n    forward . {UPSTREAM}");
    let corefile = stage.corefile("ndots").replace("    errors", &more);
    let dns = stage.dns(&corefile);
    stage.resolver().expect(SOON, "web.resolvers.svc.cluster.local A = 10.96.0.80");
    let _settings = pod_settings(stage, "resolvers");
    let address = "192.0.2.9";
    let external = format!("{address} DGRAM, {address} RAW, {address} STREAM www.example.test");
    for (database, key, wanted, answered) in [
        // A and AAAA; without `ndots` the library would send four queries of each type.
        ("ahosts", "www.example.test", &*external, 2),
        (
            "ahostsv4",
            "other.resolvers",
            "10.96.0.81 DGRAM, 10.96.0.81 RAW, 10.96.0.81 STREAM other.resolvers.svc.cluster.local",
            3,
        ),
        ("ahosts", "none.example.test", "", 3),
        ("ahostsv4", "none", "", 3),
    ] {
        assert_eq!(getent(database, key), wanted, "getent {database} {key}");
        let line = format!("portolan_kubernetes_ndots_total{{result=\"answered\"}} {answered}\n");
        let page = dns.dns_metrics();
        assert!(page.contains(&line), "after {key}: {page}");
    }
}

/// kubectl is linked without libc, so Go's resolver looks up the API server by its short name here.
pub(crate) fn the_go_resolver_finds_the_api_server(stage: &mut Stage) {
    let _dns = stage.dns(&stage.corefile(""));
    stage.resolver().expect(SOON, &format!("kubernetes.default.svc.cluster.local A = {API_SERVER}"));
    let _settings = pod_settings(stage, "default");
    let kubeconfig = stage.plane.kubeconfig("admin", 6443);
    let output = stage.plane.kubectl(&[
        "--kubeconfig",
        &kubeconfig.to_string_lossy(),
        "--server",
        "https://kubernetes.default:6443",
        "get",
        "--raw",
        "/readyz",
    ]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok", "{output:?}");
}

/// Lines of `resolve.mjs` for these names.
fn node(resolver: &str, names: &[&str]) -> Vec<String> {
    let script = documentation::checkout().join("tests/pods/resolve.mjs");
    let output = Command::new("node").arg(script).arg(resolver).args(names).output();
    let output = output.expect("node (Debian package nodejs)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

pub(crate) fn node_resolves_names_with_c_ares_and_with_the_c_library(stage: &mut Stage) {
    prepare(stage);
    let _upstream = Upstream::start(&[("www.example.test.", [192, 0, 2, 9])]);
    let corefile = stage.corefile("").replace("    errors", &format!("    errors\n    forward . {UPSTREAM}"));
    let _dns = stage.dns(&corefile);
    stage.resolver().expect(SOON, "web.resolvers.svc.cluster.local A = 10.96.0.80");
    let _settings = pod_settings(stage, "resolvers");
    for (resolver, expected) in [
        (
            "libc",
            &[
                "web = 10.96.0.80",
                "other.resolvers = 10.96.0.81",
                "other.resolvers.svc.cluster.local = 10.96.0.81",
                "www.example.test = 192.0.2.9",
                "www = 192.0.2.9",
                "none = not found",
            ][..],
        ),
        (
            "c-ares",
            &[
                "other.resolvers.svc.cluster.local = 10.96.0.81",
                "www.example.test = 192.0.2.9",
                "_http._tcp.web.resolvers.svc.cluster.local = 0,50,80,web.resolvers.svc.cluster.local.",
                "web = not found",
                "none.resolvers.svc.cluster.local = not found",
            ],
        ),
    ] {
        let names: Vec<&str> = expected.iter().filter_map(|line| line.split(" = ").next()).collect();
        assert_eq!(node(resolver, &names), expected, "{resolver}");
    }
}
