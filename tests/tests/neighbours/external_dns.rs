//! external-dns with its source `ingress`, its plan and its provider in memory.

use std::collections::BTreeSet;
use std::time::Duration;

use tests::manifests::{annotated, ingress, workload};
use tests::process::Process;
use tests::programs::Neighbour;
use tests::stage::{Portolan, SOON, Stage};
use tests::wait;

use crate::{prepare, start};

const NAMESPACE: &str = "records";

/// Starts Portolan so that it writes these addresses into the status of its Ingresses.
fn publish(stage: &Stage, addresses: &str) -> Portolan {
    let kubeconfig = stage.plane.kubeconfig("portolan", stage.plane.server.address().port());
    let kubeconfig = kubeconfig.to_string_lossy();
    let words = ["ingress", "--http-port=80", "--https-port=443", "--post-shutdown-grace-period=0"];
    let addresses = format!("--publish-status-address={addresses}");
    let more = ["--update-status-on-shutdown=false", "--kubeconfig", &kubeconfig, &addresses];
    let environment = [("POD_NAME", "edge-1"), ("POD_NAMESPACE", NAMESPACE)];
    let mut portolan = stage.run_with(&words, &more, &environment);
    portolan.wait_for_page(10254, "/healthz");
    portolan
}

/// The changes of records that external-dns has made.
fn changes(external_dns: &Process) -> BTreeSet<String> {
    let log = external_dns.log();
    let is_change = |line: &&str| ["create ", "update ", "delete "].iter().any(|word| line.starts_with(word));
    log.lines().filter(is_change).map(str::to_owned).collect()
}

pub(crate) fn records_follow_the_status_of_the_ingresses(stage: &mut Stage) {
    let neighbour = Neighbour::CERT_MANAGER_AND_EXTERNAL_DNS;
    prepare(stage, NAMESPACE, neighbour, "/apis/networking.k8s.io/v1/ingresses");
    let api = &stage.plane.api;
    api.apply(&workload(NAMESPACE, "web", &["10.244.1.171"]));
    let shop = ingress(NAMESPACE, "shop", "shop.records.test", "/", "web");
    let hostnames = "external-dns.alpha.kubernetes.io/hostname: www.records.test";
    api.apply(&format!("{}  tls: [{{ hosts: [tls.records.test] }}]\n", annotated(&shop, hostnames)));
    let fixed = ingress(NAMESPACE, "fixed", "fixed.records.test", "/", "web");
    api.apply(&annotated(&fixed, "external-dns.alpha.kubernetes.io/target: lb.example"));
    let other = ingress(NAMESPACE, "other", "other.records.test", "/", "web");
    api.apply(&other.replace("ingressClassName: nginx", "ingressClassName: other"));
    let arguments = [
        "external-dns",
        "--source=ingress",
        "--namespace=records",
        "--provider=inmemory",
        "--inmemory-zone=records.test",
        "--registry=noop",
        "--policy=sync",
        "--events",
    ];
    let external_dns = start(stage, "external-dns", neighbour, &arguments);
    let lines = |change: &str, kind: &str, address: &str| {
        ["shop", "www", "tls"].map(|host| format!("{change} {kind} {host}.records.test {address}"))
    };
    let mut wanted = BTreeSet::from(["create CNAME fixed.records.test lb.example".to_owned()]);
    let has = |wanted: &BTreeSet<String>| match changes(&external_dns) {
        found if found == *wanted => Ok(()),
        found => Err(format!("{found:#?}\n{}", external_dns.log())),
    };
    wait::until("the record with a target of its own", SOON, || has(&wanted));

    let portolan = publish(stage, "192.0.2.7");
    wanted.extend(lines("create", "A", "192.0.2.7"));
    wait::until("the records", SOON, || has(&wanted));
    // A status that is removed and written again would be a change of public DNS each time.
    assert!(portolan.stop().success());
    let portolan = publish(stage, "192.0.2.7");
    wait::throughout("the records", Duration::from_secs(2), || has(&wanted));
    assert!(portolan.stop().success());

    let _portolan = publish(stage, "192.0.2.8,2001:db8::8");
    wanted.extend(lines("update", "A", "192.0.2.8"));
    wanted.extend(lines("create", "AAAA", "2001:db8::8"));
    wait::until("the records of the new addresses", SOON, || has(&wanted));
    api.delete("Ingress", NAMESPACE, "shop");
    wanted.extend(lines("delete", "A", "192.0.2.8"));
    wanted.extend(lines("delete", "AAAA", "2001:db8::8"));
    wait::until("the end of the records", SOON, || has(&wanted));
    for line in changes(&external_dns) {
        println!("    {line}");
    }
}
