//! Ports that another program has: the message names the address and what moves it.

use std::net::TcpListener;

use tests::stage::{SOON, Stage};

const COREFILE: &str = "
.:53 {
    health
    ready
    prometheus :9153
    whoami
}
";

pub(crate) fn a_taken_port_is_named_with_the_key_that_moves_it(stage: &mut Stage) {
    let corefile = stage.folder().join("Corefile-taken");
    std::fs::write(&corefile, COREFILE).expect("the scratch folder is writable");
    let corefile = corefile.to_string_lossy();
    let kubeconfig = stage.plane.kubeconfig("portolan", stage.plane.server.address().port());
    let kubeconfig = kubeconfig.to_string_lossy();
    let dns = ["dns", "-conf", &corefile];
    let ingress = ["ingress", "--kubeconfig", &kubeconfig];
    for (port, command, words) in [
        (53, dns, ["Corefile-taken:2 - ", "server block (chart: dns.servers[].port)"]),
        (8080, dns, ["Corefile-taken:3 - health: ", "(chart: dns.servers[].plugins[])"]),
        (8181, dns, ["Corefile-taken:4 - ready: ", "(chart: dns.servers[].plugins[])"]),
        (9153, dns, ["Corefile-taken:5 - prometheus: ", "(chart: dns.servers[].plugins[])"]),
        (80, ingress, ["--http-port", "(chart: controller.containerPort.http)"]),
        (443, ingress, ["--https-port", "(chart: controller.containerPort.https)"]),
        (10254, ingress, ["--healthz-port", "(chart: controller.metrics.port)"]),
    ] {
        let taken = TcpListener::bind(("0.0.0.0", port)).expect("no other case has the port");
        let (code, output) = stage.run(&command, &[]).wait_for_exit(SOON);
        drop(taken);
        assert_eq!(code, Some(1), "{port}: {output}");
        let line = output.lines().find(|line| line.contains("cannot listen on ")).unwrap_or_default();
        let address = format!(":{port}: the address is in use");
        for word in words.into_iter().chain([address.as_str()]) {
            assert!(line.contains(word), "{port}: {word:?} in {output}");
        }
    }
}
