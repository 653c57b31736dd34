//! The objects of a large cluster.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tests::api::ApiClient;

pub(crate) const SERVICES: usize = 10_000;
/// Endpoints of each Service.
pub(crate) const ENDPOINTS: usize = 10;
/// One in this many Services is headless, as in clusters that run databases.
const HEADLESS_EVERY: usize = 10;
const PER_NAMESPACE: usize = 200;

/// Connections that create objects.
const CONNECTIONS: usize = 8;

/// Creates all objects, which takes about a minute. The Services and EndpointSlices get `labels`, too.
pub(crate) fn create(api: &ApiClient, labels: &Value) {
    let labelled = |mut object: Value| {
        for (name, value) in labels.as_object().into_iter().flatten() {
            object["metadata"]["labels"][name] = value.clone();
        }
        object
    };
    let namespaces: Vec<_> = (0..SERVICES.div_ceil(PER_NAMESPACE)).map(namespace).collect();
    let services: Vec<_> = (0..SERVICES).map(service).map(labelled).collect();
    let slices: Vec<_> = (0..SERVICES).map(slice).map(labelled).collect();
    for objects in [namespaces, services, slices] {
        api.create_all(&objects, CONNECTIONS);
    }
}

/// Name and namespace of the Service that is created last, as a relative name.
pub(crate) fn last_service() -> String {
    format!("svc-{}.{}", SERVICES - 1, team(SERVICES - 1))
}

fn team(number: usize) -> String {
    format!("team-{}", number / PER_NAMESPACE)
}

fn namespace(number: usize) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": format!("team-{number}") } })
}

fn service(number: usize) -> Value {
    let (name, namespace) = (format!("svc-{number}"), team(number));
    if number.is_multiple_of(HEADLESS_EVERY) {
        return headless(&name, &namespace);
    }
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name, "team": namespace } },
        "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    })
}

pub(crate) fn headless(name: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": namespace, "labels": { "app": name } },
        "spec": { "clusterIP": "None", "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    })
}

fn slice(number: usize) -> Value {
    let first = u32::from(Ipv4Addr::new(10, 128, 0, 0)) + (number * ENDPOINTS) as u32;
    let addresses: Vec<String> =
        (first..first + ENDPOINTS as u32).map(|address| Ipv4Addr::from(address).to_string()).collect();
    endpoints(&format!("svc-{number}"), &team(number), &addresses)
}

pub(crate) fn endpoints(service: &str, namespace: &str, addresses: &[String]) -> Value {
    let endpoint = |address: &String| {
        let pod = format!("{service}-{}", address.replace('.', "-"));
        json!({
            "addresses": [address], "nodeName": "node-1",
            "conditions": { "ready": true, "serving": true, "terminating": false },
            "targetRef": { "kind": "Pod", "namespace": namespace, "name": pod },
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": service, "namespace": namespace, "labels": { "kubernetes.io/service-name": service },
        },
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": addresses.iter().map(endpoint).collect::<Vec<_>>(),
    })
}
