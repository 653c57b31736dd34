//! external-dns: the records that it would make of the Ingresses, read as its source `ingress` reads them.

use std::collections::BTreeMap;

use serde_json::Value;
use tests::stage::{SOON, Stage};
use tests::wait;

use crate::ingress_traffic::prepare;
use crate::manifests::{annotated, ingress, workload};

/// Host names and targets: the hosts of rules and of `tls`, and the annotation `hostname`; the addresses of the status, or the
/// annotation `target` (external-dns 0.1x, `source/ingress.go`).
fn records(stage: &Stage, namespace: &str) -> BTreeMap<String, Vec<String>> {
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses");
    let list = stage.plane.api.get(&path).expect("a response");
    let list: Value = serde_json::from_slice(&list.body).expect("a list");
    let mut records = BTreeMap::new();
    for ingress in list["items"].as_array().expect("items") {
        let annotation = |name: &str| {
            let value =
                ingress.pointer(&format!("/metadata/annotations/external-dns.alpha.kubernetes.io~1{name}"));
            value
                .and_then(Value::as_str)
                .into_iter()
                .flat_map(|list| list.split(','))
                .map(|one| one.trim().to_owned())
        };
        let array = |pointer: &str| ingress.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let of_status = array("/status/loadBalancer/ingress");
        let of_status = of_status.flat_map(|one| [&one["ip"], &one["hostname"]]).filter_map(text);
        let mut targets: Vec<String> = annotation("target").collect();
        if targets.is_empty() {
            targets.extend(of_status);
        }
        let of_rules = array("/spec/rules").filter_map(|rule| text(&rule["host"]));
        let of_tls =
            array("/spec/tls").flat_map(|tls| tls["hosts"].as_array().into_iter().flatten()).filter_map(text);
        for host in of_rules.chain(of_tls).chain(annotation("hostname")) {
            if !targets.is_empty() {
                records.insert(host, targets.clone());
            }
        }
    }
    records
}

pub(crate) fn records_follow_the_status_and_stay_through_a_restart(stage: &mut Stage) {
    prepare(stage, "records");
    let api = &stage.plane.api;
    api.apply(&workload("records", "web", &["10.244.1.171"]));
    let shop = ingress("records", "shop", "shop.records.test", "/", "web");
    let shop =
        annotated(&shop, "external-dns.alpha.kubernetes.io/hostname: 'www.records.test, m.records.test'");
    api.apply(&format!("{shop}  tls: [{{ hosts: [tls.records.test] }}]\n"));
    let fixed = ingress("records", "fixed", "fixed.records.test", "/", "web");
    api.apply(&annotated(&fixed, "external-dns.alpha.kubernetes.io/target: lb.example"));
    let other = ingress("records", "other", "other.records.test", "/", "web");
    api.apply(&other.replace("ingressClassName: nginx", "ingressClassName: other"));
    let start = |address: &str| {
        let kubeconfig = stage.plane.kubeconfig("portolan", stage.plane.server.address().port());
        let address = format!("--publish-status-address={address}");
        let words = [
            "ingress",
            "--http-port=80",
            "--https-port=443",
            "--post-shutdown-grace-period=0",
            "--update-status-on-shutdown=false",
        ];
        let kubeconfig = kubeconfig.to_string_lossy().into_owned();
        let more = ["--kubeconfig", &kubeconfig, &address];
        let mut portolan =
            stage.run_with(&words, &more, &[("POD_NAME", "edge-1"), ("POD_NAMESPACE", "records")]);
        portolan.wait_for_page(10254, "/healthz");
        portolan
    };
    let wanted = |address: &str| {
        let hosts = ["shop", "www", "m", "tls"]
            .map(|host| (format!("{host}.records.test"), vec![address.to_owned()]));
        let fixed = ("fixed.records.test".to_owned(), vec!["lb.example".to_owned()]);
        hosts.into_iter().chain([fixed]).collect::<BTreeMap<_, _>>()
    };
    let has = |wanted: &BTreeMap<String, Vec<String>>| match records(stage, "records") {
        found if found == *wanted => Ok(()),
        found => Err(format!("{found:?}")),
    };
    let portolan = start("192.0.2.7");
    let first = wanted("192.0.2.7");
    wait::until("the records", SOON, || has(&first));
    // Each flap of the status would be one of public DNS.
    assert!(portolan.stop().success());
    has(&first).expect("the status outlives the controller");
    let portolan = start("192.0.2.7");
    wait::throughout("the records", std::time::Duration::from_secs(2), || has(&first));
    assert!(portolan.stop().success());
    let _portolan = start("192.0.2.8,2001:db8::8");
    let both = wanted("192.0.2.8");
    let both: BTreeMap<_, _> = both
        .into_iter()
        .map(|(host, mut targets)| {
            if host != "fixed.records.test" {
                targets.push("2001:db8::8".to_owned());
            }
            (host, targets)
        })
        .collect();
    wait::until("the records of the new addresses", SOON, || has(&both));
}
