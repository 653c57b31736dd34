//! Bursts of thousands of objects.

use std::collections::BTreeSet;
use std::time::Instant;

use hickory_proto::rr::RecordType;
use serde_json::{Value, json};
use tests::api::documents;
use tests::backend::Backend;
use tests::dns::{DnsClient, Transport};
use tests::stage::{SOON, Stage};
use tests::wait;
use tests::web::EDGE;

use crate::manifests::{self, CLASS, ingress, service, slice};

const SERVICES: usize = 2_000;

/// How many connections a burst uses.
const CONNECTIONS: usize = 8;

const INGRESSES: usize = 300;

const NAMESPACE: &str = "burst";

/// Creates the Services of the burst that do not exist yet.
pub(crate) fn burst(stage: &Stage) {
    let api = &stage.plane.api;
    api.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}}}}}"));
    let left: BTreeSet<String> = wanted(stage).into_iter().map(|(name, _)| name).collect();
    let services: Vec<Value> = (0..SERVICES)
        .filter(|number| !left.contains(&full_name(&format!("s{number}"))))
        .map(|number| {
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": format!("s{number}"), "namespace": NAMESPACE },
                "spec": { "ports": [{ "name": "http", "port": 80 }] },
            })
        })
        .collect();
    api.create_all(&services, CONNECTIONS);
}

/// Name and cluster IP of every Service of the burst.
pub(crate) fn wanted(stage: &Stage) -> Vec<(String, String)> {
    let services = stage.plane.api.list("Service", NAMESPACE);
    let address = |service: &Value| service["spec"]["clusterIP"].as_str().map(str::to_owned);
    let name = |service: &Value| service["metadata"]["name"].as_str().map(str::to_owned);
    let pairs = services.iter().filter_map(|service| Some((full_name(&name(service)?), address(service)?)));
    pairs.collect()
}

fn full_name(service: &str) -> String {
    format!("{service}.{NAMESPACE}.svc.cluster.local")
}

/// Waits until each name has its address; names with a correct answer are not queried again.
#[track_caller]
pub(crate) fn all_answer(server: &DnsClient, wanted: &[(String, String)]) {
    let mut rest = wanted;
    wait::until("every Service's answer", SOON, || {
        while let [(name, address), others @ ..] = rest {
            let said = server.summary(Transport::Udp, name, RecordType::A);
            if said != *address {
                return Err(format!(
                    "{} of {} to go: {name} said {said:?}, not {address}",
                    rest.len(),
                    wanted.len()
                ));
            }
            rest = others;
        }
        Ok(())
    });
}

pub(crate) fn two_thousand_services_created_in_a_burst_are_all_answered(stage: &mut Stage) {
    let portolan = stage.dns(&stage.corefile(""));
    let server = stage.resolver();
    let start = Instant::now();
    burst(stage);
    let made = Instant::now();
    let wanted = wanted(stage);
    assert_eq!(wanted.len(), SERVICES);
    all_answer(&server, &wanted);
    println!("    {SERVICES} Services made in {:.1?}, asked for in {:.1?}", made - start, made.elapsed());

    portolan.kill();
    let started = Instant::now();
    let _again = stage.dns(&stage.corefile(""));
    println!("    started anew over them: ready after {:.0?}", started.elapsed());
    all_answer(&server, &wanted);
}

pub(crate) fn two_thousand_services_deleted_at_once_are_all_removed(stage: &mut Stage) {
    burst(stage);
    let wanted = wanted(stage);
    let _portolan = stage.dns(&stage.corefile(""));
    let server = stage.resolver();
    all_answer(&server, &wanted);

    stage.plane.api.delete_all("Service", NAMESPACE, CONNECTIONS);
    let gone: Vec<(String, String)> =
        wanted.into_iter().map(|(name, _)| (name, "NXDOMAIN".to_owned())).collect();
    all_answer(&server, &gone);
}

pub(crate) fn three_hundred_ingresses_created_in_a_burst_are_all_served(stage: &mut Stage) {
    let api = &stage.plane.api;
    let shared = [manifests::namespace("many"), CLASS.to_owned(), service("many", "web", "10.96.0.95")];
    api.apply(&(shared.concat() + &slice("many", "web", "10.244.5.1")));
    let _pod = Backend::start("a", "10.244.5.1:8080");
    let _portolan = stage.ingress("portolan", &[]);
    let name = |number: usize| format!("i{number}");
    let text = |number| ingress("many", &name(number), &format!("{}.many.test", name(number)), "/", "web");
    let objects: Vec<Value> = (0..INGRESSES).flat_map(|number| documents(&text(number))).collect();
    let start = Instant::now();
    api.create_all(&objects, CONNECTIONS);
    let made = start.elapsed();
    let table: String =
        (0..INGRESSES).map(|number| format!("http://i{number}.many.test/x = 200 a\n")).collect();
    EDGE.expect(SOON, &table);
    println!("    {INGRESSES} Ingresses made in {made:.1?}, all lead on after {:.1?}", start.elapsed());
    api.delete_all("Ingress", "many", CONNECTIONS);
    EDGE.expect(SOON, "http://i7.many.test/x = 404");
}
