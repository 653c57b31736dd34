//! What a change among thousands of Ingresses builds again: hosts of the table, Services of the pools. Counted, not timed.

use std::collections::HashSet;
use std::sync::Arc;

use cluster::{ConfigMap, Secret};

use super::*;
use crate::Pools;
use crate::testing::{manifests, service};

/// Ingresses with a host and a Service each. Four more have what a change may have to follow.
fn crowd(ingresses: usize) -> TestCluster {
    let mut cluster = TestCluster::configured(
        "
metadata: {name: everywhere}
spec: {rules: [{paths: [[/, Prefix, web]]}]}
---
metadata: {name: aliased, annotations: {server-alias: alias.example}}
spec: {rules: [{host: aliased.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: guarded, annotations: {auth-type: basic, auth-secret: users}}
spec: {rules: [{host: guarded.example, paths: [[/, Prefix, web]]}]}
---
metadata: {name: headed, annotations: {custom-headers: headers}}
spec: {rules: [{host: headed.example, paths: [[/, Prefix, web]]}]}
",
    );
    let plain =
        &manifests("metadata: {name: x}\nspec: {rules: [{host: a.example, paths: [[/, Prefix, web]]}]}\n")[0];
    let ingresses = (0..ingresses).map(|number| {
        let mut ingress = plain.clone();
        ingress.key.name = format!("shop-{number}").into();
        ingress.rules[0].host = format!("shop-{number}.example").into();
        let name = format!("web-{number}").as_str().into();
        ingress.rules[0].paths[0].backend =
            cluster::Backend::Service(cluster::ServiceBackend { name, port: cluster::PortRef::Number(80) });
        Object::Ingress(Arc::new(ingress))
    });
    cluster.apply(ingresses);
    cluster.apply(slices("web-7", "10.0.0.1"));
    cluster.configure(&[("proxy-read-timeout", "30")]);
    cluster
}

fn slices(name: &str, addresses: &str) -> [Object; 2] {
    let (service, slice) = service(&format!("{name} 80 {addresses}"));
    [Object::Service(Arc::new(service)), Object::EndpointSlice(Arc::new(slice))]
}

/// The changed Ingress, as manifests have it.
fn changed(text: &str) -> Vec<Object> {
    manifests(text).into_iter().map(|ingress| Object::Ingress(Arc::new(ingress))).collect()
}

fn secret(name: &str) -> Vec<Object> {
    let (certificate, private_key) = <(Box<[u8]>, Box<[u8]>)>::default();
    let other = [("auth".into(), b"ann:$apr1$x$y".as_slice().into())].into();
    vec![Object::Secret(Arc::new(Secret { key: Key::new("default", name), certificate, private_key, other }))]
}

fn config_map(name: &str) -> Vec<Object> {
    let data = vec![("X-App".into(), "1".to_owned())];
    vec![Object::ConfigMap(Arc::new(ConfigMap { key: Key::new("default", name), data }))]
}

/// The names of the hosts that differ from those of another table; `*` is the catch-all.
fn rebuilt(before: &RouteTable, after: &RouteTable) -> Vec<String> {
    let is_kept = |name: &CompactString, host: &Arc<Host>| {
        before.hosts.get(name).is_some_and(|before| Arc::ptr_eq(before, host))
    };
    let hosts =
        after.hosts.iter().filter(|(name, host)| !is_kept(name, host)).map(|(name, _)| name.to_string());
    let catch_all = !Arc::ptr_eq(&before.catch_all, &after.catch_all);
    let mut names: Vec<_> = hosts.chain(catch_all.then(|| "*".to_owned())).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_change_among_20_000_ingresses_builds_only_what_it_affects() {
    let mut cluster = crowd(20_000);
    /// What changes, the objects, and the hosts and the pools that are built.
    type Row = (&'static str, Vec<Object>, &'static [&'static str], &'static [&'static str]);
    let rows: Vec<Row> = vec![
        (
            "an Ingress",
            changed(
                "metadata: {name: shop-7}\nspec: {rules: [{host: shop-7.example, paths: [[/, Prefix, web-7], [/a, Prefix, web-8]]}]}\n",
            ),
            &["shop-7.example"],
            &["web-7", "web-8"],
        ),
        (
            "an Ingress that moves to another host",
            changed(
                "metadata: {name: shop-9}\nspec: {rules: [{host: moved.example, paths: [[/, Prefix, web-9]]}]}\n",
            ),
            &["moved.example"],
            &["web-9"],
        ),
        (
            "an Ingress with an alias",
            changed(
                "metadata: {name: aliased, annotations: {server-alias: other.example}}\nspec: {rules: [{host: aliased.example, paths: [[/, Prefix, web]]}]}\n",
            ),
            &["aliased.example"],
            &["web"],
        ),
        (
            "an Ingress without a host",
            changed(
                "metadata: {name: everywhere}\nspec: {rules: [{paths: [[/, Prefix, web], [/a, Prefix, web]]}]}\n",
            ),
            &["*"],
            &["web"],
        ),
        ("endpoints", slices("web-7", "10.0.0.2").into(), &[], &["web-7"]),
        ("a Service without Ingresses", slices("none", "10.0.0.3").into(), &[], &[]),
        ("a Secret that an Ingress names", secret("users"), &["guarded.example"], &[]),
        ("a Secret that no Ingress names", secret("other"), &[], &[]),
        ("a ConfigMap that an Ingress names", config_map("headers"), &["headed.example"], &[]),
        ("a ConfigMap that no Ingress names", config_map("other"), &[], &[]),
    ];
    for (change, objects, hosts, services) in rows {
        let (table, pools) = (cluster.table.load_full(), cluster.pools.load_full());
        cluster.apply(objects);
        assert_eq!(rebuilt(&table, &cluster.table.load()), hosts, "hosts rebuilt by {change}");
        assert_eq!(Pools::rebuilt(&pools, &cluster.pools.load()), services, "Services rebuilt by {change}");
    }
}

#[test]
fn a_key_of_the_config_map_builds_what_has_it_as_its_default() {
    let mut cluster = crowd(300);
    let mut rebuilt_by = |data: &[(&str, &str)]| {
        let table = cluster.table.load_full();
        cluster.configure(data);
        rebuilt(&table, &cluster.table.load()).into_iter().collect::<HashSet<_>>().len()
    };
    let all = 304;
    assert_eq!(rebuilt_by(&[("proxy-read-timeout", "31")]), all, "a default of all routes");
    assert_eq!(rebuilt_by(&[("proxy-read-timeout", "31"), ("unknown-key", "1")]), 0);
    assert_eq!(rebuilt_by(&[("proxy-read-timeout", "31"), ("keep-alive", "10")]), 0, "of connections");
}
