//! The objects of the cluster as JSON, as an API server sends them.

use std::fmt::Write;
use std::net::Ipv4Addr;

use crate::dns::service::Service;

/// Endpoints of each Service.
pub(crate) const ENDPOINTS: usize = 10;

const PER_NAMESPACE: usize = 200;
const HEADLESS_EVERY: usize = 10;
const MANAGED_FIELDS: &str = r#""managedFields":[{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"2026-01-01T00:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:addressType":{},"f:endpoints":{},"f:metadata":{"f:annotations":{".":{},"f:endpoints.kubernetes.io/last-change-trigger-time":{}},"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:endpointslice.kubernetes.io/managed-by":{},"f:kubernetes.io/service-name":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"b3b5c1c2-7a7e-4b4e-9d58-0d4c2a9f1e11\"}":{}}},"f:ports":{}}}]"#;

/// The last Service of the list.
pub(crate) fn last(services: usize) -> Service {
    // The last one that has a cluster IP.
    let number = (0..services).rev().find(|number| !number.is_multiple_of(HEADLESS_EVERY)).unwrap_or(0);
    service(&format!("svc-{number}"), &team(number), cluster_ip(number))
}

/// The headless Service that changes, with its only address.
pub(crate) fn changing(address: Ipv4Addr) -> Service {
    service("changing", &team(0), address)
}

fn service(name: &str, namespace: &str, address: Ipv4Addr) -> Service {
    Service { name: name.to_owned(), namespace: namespace.to_owned(), address, port: 80 }
}

/// The number of Namespaces for these Services.
pub(crate) fn namespaces(services: usize) -> usize {
    services.div_ceil(PER_NAMESPACE)
}

pub(crate) fn put_namespace(text: &mut String, number: usize) {
    let name = team(number * PER_NAMESPACE);
    let _ = write!(
        text,
        r#"{{"kind":"Namespace","apiVersion":"v1","metadata":{{"name":"{name}","uid":"{}","resourceVersion":"{number}","labels":{{"kubernetes.io/metadata.name":"{name}"}}}},"spec":{{"finalizers":["kubernetes"]}},"status":{{"phase":"Active"}}}}"#,
        uid(number)
    );
}

pub(crate) fn put_service(text: &mut String, number: usize) {
    let address = match number.is_multiple_of(HEADLESS_EVERY) {
        true => "None".to_owned(),
        false => cluster_ip(number).to_string(),
    };
    put_named_service(text, &format!("svc-{number}"), number, &address);
}

pub(crate) fn put_changing_service(text: &mut String) {
    put_named_service(text, "changing", 0, "None");
}

fn put_named_service(text: &mut String, name: &str, number: usize, address: &str) {
    let namespace = team(number);
    let _ = write!(
        text,
        r#"{{"kind":"Service","apiVersion":"v1","metadata":{{"name":"{name}","namespace":"{namespace}","uid":"{}","resourceVersion":"{number}","creationTimestamp":"2026-01-01T00:00:00Z","labels":{{"app":"{name}","team":"{namespace}"}},{MANAGED_FIELDS}}},"spec":{{"ports":[{{"name":"http","protocol":"TCP","port":80,"targetPort":8080}}],"selector":{{"app":"{name}"}},"clusterIP":"{address}","clusterIPs":["{address}"],"type":"ClusterIP","sessionAffinity":"None","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","internalTrafficPolicy":"Cluster"}},"status":{{"loadBalancer":{{}}}}}}"#,
        uid(number)
    );
}

pub(crate) fn put_slice(text: &mut String, number: usize) {
    let first = u32::from(Ipv4Addr::new(10, 128, 0, 0)) + (number * ENDPOINTS) as u32;
    let addresses = (first..first + ENDPOINTS as u32).map(Ipv4Addr::from);
    put_named_slice(text, &format!("svc-{number}"), number, addresses);
}

pub(crate) fn put_changing_slice(text: &mut String, address: Ipv4Addr) {
    put_named_slice(text, "changing", 0, [address].into_iter());
}

fn put_named_slice(text: &mut String, name: &str, number: usize, addresses: impl Iterator<Item = Ipv4Addr>) {
    let (namespace, uid) = (team(number), uid(number));
    let _ = write!(
        text,
        r#"{{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{{"name":"{name}-x7k2p","generateName":"{name}-","namespace":"{namespace}","uid":"{uid}","resourceVersion":"{number}","generation":3,"creationTimestamp":"2026-01-01T00:00:00Z","labels":{{"app":"{name}","endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"{name}"}},"annotations":{{"endpoints.kubernetes.io/last-change-trigger-time":"2026-01-01T00:00:00Z"}},"ownerReferences":[{{"apiVersion":"v1","kind":"Service","name":"{name}","uid":"{uid}","controller":true,"blockOwnerDeletion":true}}],{MANAGED_FIELDS}}},"addressType":"IPv4","endpoints":["#
    );
    for (at, address) in addresses.enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _ = write!(
            text,
            r#"{comma}{{"addresses":["{address}"],"conditions":{{"ready":true,"serving":true,"terminating":false}},"targetRef":{{"kind":"Pod","namespace":"{namespace}","name":"{name}-7d4b9c6f5-x2c{at:02}","uid":"{uid}"}},"nodeName":"node-{}","zone":"zone-{}"}}"#,
            (number + at) % 500,
            at % 3
        );
    }
    let _ = write!(text, r#"],"ports":[{{"name":"http","protocol":"TCP","port":8080}}]}}"#);
}

fn team(number: usize) -> String {
    format!("team-{}", number / PER_NAMESPACE)
}

fn cluster_ip(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(172, 16, 0, 1)) + number as u32)
}

fn uid(number: usize) -> String {
    format!("b3b5c1c2-7a7e-4b4e-9d58-{number:012x}")
}
