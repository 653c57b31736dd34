//! The cache on each node: its Pod's arguments and Corefile, run in the namespace of the control plane as if it were the node's.

use std::net::{IpAddr, UdpSocket};
use std::process::Command;

use serde_json::Value;
use tests::dns::DnsClient;
use tests::stage::{DNS, SOON, Stage};
use tests::wait;

use super::{chart, helm_output, prepare, repository};

/// The address of `ci/node-cache-values.yaml`.
const LOCAL: &str = "169.254.25.10";

/// Whether the address is one of this host.
fn is_local() -> bool {
    UdpSocket::bind((LOCAL, 0)).is_ok()
}

#[track_caller]
fn wait_until_local(wanted: bool) {
    wait::until("the address on the node", SOON, || match is_local() {
        found if found == wanted => Ok(()),
        found => Err(format!("{LOCAL} is an address of the node: {found}")),
    });
}

pub(crate) fn the_cache_of_a_node_answers_on_its_link_local_address(stage: &mut Stage) {
    let namespace = "chart-node-cache";
    prepare(stage, namespace);
    let values = repository().join("charts/portolan/ci/node-cache-values.yaml");
    let values = values.to_string_lossy();
    let set = format!(
        "dns.service.name=names,dns.nodeCache.upstreams={{{DNS}}},dns.nodeCache.extraArgs={{-syncinterval=1}}"
    );
    helm_output(stage, &["install", "local", &chart(), "-n", namespace, "-f", &values, "--set", &set]);
    let read = |kind: &str, name: &str| stage.plane.api.read(kind, namespace, name).expect("it is installed");

    let pod = read("DaemonSet", "local-dns-node-cache")["spec"]["template"]["spec"].clone();
    assert_eq!((&pod["hostNetwork"], &pod["dnsPolicy"]), (&Value::from(true), &Value::from("Default")));
    assert_eq!(pod["containers"][0]["securityContext"]["capabilities"]["add"][0], "NET_ADMIN");
    let account = read("ServiceAccount", "local-dns-node-cache");
    assert_eq!(account["automountServiceAccountToken"], false, "it needs no access to the API server");
    let selector = &read("Service", "local-dns-upstream")["spec"]["selector"];
    assert_eq!(selector, &read("Service", "names")["spec"]["selector"], "both lead to the same Pods");
    let corefile = stage.folder().join("node-cache.Corefile");
    let config = read("ConfigMap", "local-dns-node-cache");
    std::fs::write(&corefile, config["data"]["Corefile"].as_str().expect("a Corefile"))
        .expect("the folder is ours");

    // The DNS Pods, and a name outside of the cluster.
    let block = stage.corefile("ttl 30").replace(
        ".:53 {\n",
        &format!(".:53 {{\n    bind {DNS}\n    hosts /none {{\n        192.0.2.7 www.example.org\n        fallthrough\n    }}\n"),
    );
    let server = stage.dns(&block);
    assert!(!is_local(), "the address is not there yet");
    let arguments: Vec<String> = pod["containers"][0]["args"]
        .as_array()
        .expect("the container has arguments")
        .iter()
        .filter_map(Value::as_str)
        .map(|word| word.replace("/etc/coredns/Corefile", &corefile.to_string_lossy()))
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let cache = stage.run_with(&arguments, &[], &[("LOCAL_DNS_UPSTREAM_SERVICE_HOST", DNS)]);
    let client = DnsClient((LOCAL.parse::<IpAddr>().expect("an address"), 53).into());
    client.expect(
        SOON,
        "
kubernetes.default.svc.cluster.local A = 10.96.0.1
none.default.svc.cluster.local       A = NXDOMAIN
www.example.org                      A = 192.0.2.7
",
    );

    // Another program removes the address.
    let shown = Command::new("ip").args(["-o", "addr", "show", "to", LOCAL]).output().expect("ip runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let interface = shown.split_whitespace().nth(1).unwrap_or_else(|| panic!("no interface has it: {shown}"));
    let removed = Command::new("ip").args(["addr", "del", &format!("{LOCAL}/32"), "dev", interface]).status();
    assert!(removed.expect("ip runs").success());
    wait_until_local(true);
    client.expect(SOON, "kubernetes.default.svc.cluster.local A = 10.96.0.1");

    // Answers that are known outlive the DNS Pods.
    assert!(server.stop().success());
    client.expect(SOON, "kubernetes.default.svc.cluster.local A = 10.96.0.1");
    assert!(cache.stop().success());
    wait_until_local(false);
    helm_output(stage, &["uninstall", "local", "-n", namespace]);
}

pub(crate) fn what_a_cache_on_a_node_cannot_do_is_refused(stage: &mut Stage) {
    let corefile = stage.folder().join("node-cache.Corefile");
    let placeholder = "cluster.local {\n    bind 169.254.25.10\n    forward . __PILLAR__CLUSTER__DNS__\n}\n";
    std::fs::write(&corefile, placeholder).expect("the folder is ours");
    let conf = corefile.to_string_lossy().into_owned();
    for (flags, wanted) in [
        (&["-localip", "169.254.25.10,10.96.0.10"][..], "10.96.0.10 is not a link-local address"),
        (
            &["-localip", "169.254.25.10", "-setupiptables=true"],
            "-setupiptables=true: this program sets no packet filter rules",
        ),
        (&["-localip", "169.254.25.10"], "the variable KUBE_DNS_SERVICE_HOST is not set"),
    ] {
        let flags = [&["-conf", &conf], flags].concat();
        let (code, text) = stage.run(&["node-cache"], &flags).wait_for_exit(SOON);
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(wanted), "{wanted}\nin\n{text}");
    }
    assert!(!is_local());
}
