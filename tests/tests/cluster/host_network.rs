//! The controller as a DaemonSet in the node's network: no sysctl of a Pod's network lets it bind ports below 1024.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use tests::control_plane::NODE;
use tests::http::{self, Connection, Trust};
use tests::node::{ClusterNode, POD_TIMEOUT};
use tests::wait;

use crate::backends::{SHOP, ensure_web};
use crate::chart;
use crate::security::{NET_BIND_SERVICE, processes, status_field};

/// The namespace and the name of the release.
const NAME: &str = "edge";

const DAEMON_SET: &str = "daemonset/edge-portolan-controller";

/// A class of its own, since another release may be installed.
const VALUES: [&str; 9] = [
    "image.tag=dev",
    "controller.kind=DaemonSet",
    "controller.hostNetwork=true",
    "controller.service.enabled=false",
    "controller.ingressClass=edge",
    "controller.ingressClassResource.name=edge",
    "controller.ingressClassResource.controllerValue=tests/edge",
    "controller.extraArgs.post-shutdown-grace-period=0",
    "tcp.700=shop/web:http",
];

const INGRESS: &str = "
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: edge, namespace: shop }
spec:
  ingressClassName: edge
  rules:
  - host: edge.example
    http:
      paths: [{ path: /, pathType: Prefix, backend: { service: { name: web, port: { name: http } } } }]
";

fn address(port: u16) -> SocketAddr {
    (NODE.parse::<Ipv4Addr>().expect("an address"), port).into()
}

pub(crate) fn a_daemon_set_binds_the_ports_of_its_node_without_root(node: &mut ClusterNode) {
    ensure_web(node);
    node.apply(INGRESS);
    let taken = TcpListener::bind(("0.0.0.0", 80)).expect("no program of the node has the port");
    let folder = chart::folder();
    let folder = folder.to_string_lossy();
    let mut install = vec!["install", NAME, &folder, "-n", NAME, "--create-namespace"];
    VALUES.iter().for_each(|value| install.extend(["--set", value]));
    node.helm(&install);

    let words = ["0.0.0.0:80: the address is in use", "--http-port", "controller.containerPort.http"];
    wait::until("the taken port to be named", POD_TIMEOUT, || {
        let log = node.try_kubectl(&["logs", "-n", NAME, DAEMON_SET]);
        let log = String::from_utf8_lossy(&log.stdout).into_owned();
        let told = log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        if told { Ok(()) } else { Err(log) }
    });
    drop(taken);
    // The kubelet starts it again.
    node.wait_for_rollout(NAME, DAEMON_SET);

    let response = http::get(address(80), "edge.example", "/").expect("the node's port answers");
    assert_eq!(response.status, 200, "{}", response.text());
    let mut secure = Connection::tls(address(443), "edge.example", &Trust::AnyCertificate)
        .expect("the node's port answers");
    let response = secure.send("GET", "/", &[("host", "edge.example")], b"").expect("an answer");
    assert_eq!(response.status, 200, "{}", response.text());

    let response = http::get(address(700), "any", "/").expect("the port of a TCP service answers");
    assert_eq!(response.status, 200, "{}", response.text());

    let network = |id: &str| fs::read_link(format!("/proc/{id}/ns/net")).ok();
    let own: Vec<u32> =
        processes().into_iter().filter(|id| network(&id.to_string()) == network("self")).collect();
    assert_eq!(own.len(), 1, "one Pod in the node's network: {own:?}");
    for id in own {
        assert_eq!(status_field(id, "Uid"), "65532\t65532\t65532\t65532");
        assert_eq!(status_field(id, "NoNewPrivs"), "1", "allowPrivilegeEscalation is false");
        for set in ["CapBnd", "CapPrm", "CapEff"] {
            let capabilities = u64::from_str_radix(&status_field(id, set), 16);
            assert_eq!(capabilities, Ok(NET_BIND_SERVICE), "{set}");
        }
    }

    node.helm(&["uninstall", NAME, "-n", NAME, "--wait", "--timeout", "80s"]);
    node.kubectl(&["delete", "ingress", "-n", SHOP, "edge"]);
    node.kubectl(&["delete", "namespace", NAME, "--wait=false"]);
}
