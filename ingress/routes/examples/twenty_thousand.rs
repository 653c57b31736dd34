//! What 20,000 Ingresses with as many hosts cost: building, one change, one lookup, memory.
//!
//! `cargo run --release -p ingress-routes --example twenty_thousand`

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{
    Backend, Cache, Event, Ingress, IngressPath, IngressRule, Key, Object, PathType, PortRef, ServiceBackend,
};
use ingress_routes::{CertIndex, PoolIndex, RouteIndex, RouteOptions};

const HOSTS: usize = 20_000;

fn main() {
    // An argument selects one shape, so that its memory is measured alone.
    let wanted = std::env::args().nth(1);
    for (name, shape) in [
        ("plain", plain as fn(usize) -> Ingress),
        ("rewriting", rewriting),
        ("one-host", one_host),
        ("one-host-rewriting", one_host_rewriting),
        ("one-service", one_service),
    ] {
        if wanted.as_deref().is_none_or(|wanted| wanted == name) {
            run(name, shape);
        }
    }
}

fn run(name: &str, shape: fn(usize) -> Ingress) {
    let before = resident();
    let mut cache = Cache::default();
    cache.apply((0..HOSTS).map(|n| apply(shape(n))), 1);
    let objects = resident();
    let options = RouteOptions { watch_ingress_without_class: true, ..RouteOptions::default() };
    let start = Instant::now();
    let table = cache.project(RouteIndex::new(options.clone()));
    let built = start.elapsed();
    let _pools = cache.project(PoolIndex::new(options.clone()));
    let _certs = cache.project(CertIndex::new(options));
    let views = resident();

    let mut changes: Vec<Duration> = (0..2000)
        .map(|n| {
            let mut ingress = shape(n * 7919 % HOSTS);
            ingress.rules[0].paths[0].backend = backend("other");
            let start = Instant::now();
            cache.apply([apply(ingress)], 2);
            start.elapsed()
        })
        .collect();
    changes.sort_unstable();

    let view = table.load_full();
    let requests: Vec<(String, String)> = (0..HOSTS)
        .map(|n| {
            let ingress = shape(n * 7919 % HOSTS);
            let rule = &ingress.rules[0];
            (rule.host.to_string(), rule.paths[0].path.replace("(/|$)(.*)", "/cart"))
        })
        .collect();
    // The median of batches of a hundred: other work on the machine slows some of them down.
    let mut lookups: Vec<Duration> = requests
        .chunks(100)
        .map(|chunk| {
            let start = Instant::now();
            for (host, path) in chunk {
                black_box(view.find(host, path).route());
            }
            start.elapsed() / 100
        })
        .collect();
    lookups.sort_unstable();
    let lookup = lookups[lookups.len() / 2];
    println!(
        "{name}: objects {} MiB, views {} MiB, table built in {built:.1?}, change p50 {:.1?} p99 {:.1?}, lookup {lookup:.0?}",
        (objects - before) >> 20,
        (views - objects) >> 20,
        changes[changes.len() / 2],
        changes[changes.len() * 99 / 100],
    );
}

fn apply(ingress: Ingress) -> Event {
    Event::Apply(Object::Ingress(Arc::new(ingress)))
}

fn backend(name: &str) -> Backend {
    Backend::Service(ServiceBackend { name: name.into(), port: PortRef::Number(80) })
}

fn ingress(n: usize, host: String, paths: &[(&str, &str)], annotations: &[(&str, &str)]) -> Ingress {
    let path = |(path, service): &(&str, &str)| IngressPath {
        path: (*path).into(),
        kind: PathType::Prefix,
        backend: backend(service),
    };
    Ingress {
        key: Key::new(format!("team-{}", n % 200), format!("shop-{n}")),
        created: n as i64,
        annotations: annotations.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        class: None,
        default_backend: None,
        rules: vec![IngressRule { host: host.into(), paths: paths.iter().map(path).collect() }],
        tls: Vec::new(),
    }
}

/// One host with two paths each, and an affinity.
fn plain(n: usize) -> Ingress {
    let annotations = [("nginx.ingress.kubernetes.io/affinity", "cookie")];
    ingress(
        n,
        format!("shop-{n}.customers.example.com"),
        &[("/", "web"), ("/api", &format!("api-{n}"))],
        &annotations,
    )
}

/// One host with one pattern each.
fn rewriting(n: usize) -> Ingress {
    let annotations = [("nginx.ingress.kubernetes.io/rewrite-target", "/$2")];
    let path = format!("/shop-{n}(/|$)(.*)");
    ingress(n, format!("shop-{n}.customers.example.com"), &[(&path, "web")], &annotations)
}

/// One path of a common host each.
fn one_host(n: usize) -> Ingress {
    ingress(n, "customers.example.com".into(), &[(&format!("/shop-{n}"), &format!("shop-{n}"))], &[])
}

/// The same, each a pattern.
fn one_host_rewriting(n: usize) -> Ingress {
    let mut ingress = rewriting(n);
    ingress.rules[0].host = "customers.example.com".into();
    ingress
}

/// One host each and a common Service, such as a shop that has a host name for each customer.
fn one_service(n: usize) -> Ingress {
    let mut ingress = ingress(n, format!("shop-{n}.customers.example.com"), &[("/", "web")], &[]);
    ingress.key.namespace = "shop".into();
    ingress
}

/// Resident memory of this process in bytes (Linux).
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize =
        text.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
    pages * 4096
}
