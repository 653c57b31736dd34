//! How fast and how large the zone is at 10,000 Services with 100,000 endpoints.
//!
//! `cargo run --release -p dns-zone --example measure [SERVICES ENDPOINTS_PER_SERVICE]`

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::*;
use dns_wire::{Name, Query, Reply};
use dns_zone::{Zone, ZoneIndex, ZoneOptions};

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|word| word.parse::<u32>().ok());
    let (services, each) = (numbers.next().unwrap_or(10_000), numbers.next().unwrap_or(10));
    let start = memory();
    let mut cache = Cache::default();
    let kinds = [Kind::Namespace, Kind::Service, Kind::EndpointSlice];
    // As a list comes: in pages of 500.
    for page in (0..services).collect::<Vec<_>>().chunks(500) {
        cache.apply(page.iter().flat_map(|service| objects(*service, each)), 1);
    }
    cache.apply(kinds.map(Event::Synced), 1);
    let snapshot = memory();
    let zones = ["cluster.local", "in-addr.arpa", "ip6.arpa"];
    let options = ZoneOptions::new(zones.iter().filter_map(|zone| zone.parse().ok()).collect());
    let began = Instant::now();
    let current = cache.project(ZoneIndex::new(options));
    let built = began.elapsed();
    let view = memory();
    println!("{services} Services, {} endpoints", services * each);
    println!(
        "resident: {start} KiB at start, snapshot {} KiB, view {} KiB",
        snapshot - start,
        view - snapshot
    );
    println!("built in {built:.1?}");

    let mut changes: Vec<Duration> = (0..2_000)
        .map(|i| {
            let service = i * 7_919 % services;
            let slice = slice(service, each, i);
            let began = Instant::now();
            cache.apply([Event::Apply(Object::EndpointSlice(Arc::new(slice)))], 2);
            began.elapsed()
        })
        .collect();
    changes.sort();
    let at = |share: f64| changes[(share * (changes.len() - 1) as f64) as usize];
    println!("event to view: p50 {:.1?}, p99 {:.1?}, worst {:.1?}", at(0.5), at(0.99), at(1.0));
    println!("resident after {} changes: {} KiB", changes.len(), memory());

    let zone = current.load_full();
    let spread = |shape: fn(u32) -> String, qtype| {
        (0..4096).map(|i| (shape(i * 7_919 % services), qtype)).collect::<Vec<_>>()
    };
    answers(&zone, "A hit", &spread(|i| format!("svc-{i}.ns-{}.svc.cluster.local", i % 100), 1));
    answers(&zone, "A hit, one name", &spread(|_| "svc-1.ns-1.svc.cluster.local".into(), 1));
    answers(&zone, "NXDOMAIN", &spread(|i| format!("nope-{i}.ns-{}.svc.cluster.local", i % 100), 1));
    answers(&zone, "NODATA", &spread(|i| format!("svc-{i}.ns-{}.svc.cluster.local", i % 100), 28));
    answers(&zone, "SRV", &spread(|i| format!("_http._tcp.svc-{i}.ns-{}.svc.cluster.local", i % 100), 33));
    answers(
        &zone,
        "A headless",
        &spread(|i| format!("svc-{}.ns-{}.svc.cluster.local", i / 10 * 10, i / 10 * 10 % 100), 1),
    );
    answers(
        &zone,
        "SRV headless",
        &spread(|i| format!("_http._tcp.svc-{}.ns-{}.svc.cluster.local", i / 10 * 10, i / 10 * 10 % 100), 33),
    );
    answers(&zone, "PTR of a cluster IP", &spread(|i| reverse(cluster_ip(i)), 12));
    answers(&zone, "PTR of an endpoint", &spread(|i| reverse(pod_ip(i, 3)), 12));
    answers(&zone, "PTR of one endpoint", &spread(|_| reverse(pod_ip(1, 3)), 12));
    answers(
        &zone,
        "A of an endpoint",
        &spread(
            |i| {
                format!(
                    "{}.svc-{i}.ns-{}.svc.cluster.local",
                    pod_ip(i, 7).to_string().replace('.', "-"),
                    i % 100
                )
            },
            1,
        ),
    );
    answers(&zone, "not mine", &spread(|i| format!("host-{i}.example.org"), 1));
}

/// Every tenth Service is headless.
fn objects(i: u32, each: u32) -> [Event; 3] {
    let namespace: CompactString = format!("ns-{}", i % 100).into();
    let key = Key::new(namespace.clone(), format!("svc-{i}"));
    let kind = match i % 10 {
        0 => ServiceKind::Headless,
        _ => ServiceKind::ClusterIp([IpAddr::V4(cluster_ip(i))].into_iter().collect()),
    };
    let port = ServicePort { name: "http".into(), protocol: Protocol::Tcp, port: 80, target: "8080".into() };
    let service = Service {
        key,
        kind,
        ports: [port].into_iter().collect(),
        external: Box::default(),
        prefers_own_zone: false,
    };
    let namespace = Namespace { key: Key::cluster(namespace), labels: Vec::new() };
    [
        Event::Apply(Object::Namespace(Arc::new(namespace))),
        Event::Apply(Object::Service(Arc::new(service))),
        Event::Apply(Object::EndpointSlice(Arc::new(slice(i, each, 0)))),
    ]
}

fn slice(i: u32, each: u32, round: u32) -> EndpointSlice {
    let endpoint = |n| Endpoint {
        addresses: [IpAddr::V4(pod_ip(i, n))].into_iter().collect(),
        // A change takes one endpoint away and brings another one back.
        ready: round == 0 || n != round % each,
        hostname: None,
        pod: Some(format!("svc-{i}-7d4b9c6f5-{n:05}").into()),
        zone: 0,
        hints: Default::default(),
    };
    EndpointSlice {
        import: None,
        aliases: Box::default(),
        key: Key::new(format!("ns-{}", i % 100), format!("svc-{i}-abcde")),
        service: format!("svc-{i}").into(),
        ports: [EndpointPort { name: "http".into(), protocol: Protocol::Tcp, port: 8080 }]
            .into_iter()
            .collect(),
        endpoints: (0..each).map(endpoint).collect(),
        zones: Box::default(),
    }
}

fn cluster_ip(i: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a60_0000 + 1 + i)
}

fn pod_ip(i: u32, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0b00_0000 + i * 16 + n)
}

fn reverse(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
}

/// Parse, answer, encode, in rounds; the median round counts.
fn answers(zone: &Zone, what: &str, questions: &[(String, u16)]) {
    let packets: Vec<Vec<u8>> = questions
        .iter()
        .filter_map(|(name, qtype)| {
            let name: Name = name.parse().ok()?;
            let mut packet = vec![0; 512];
            let length = Query::new(7, &name, *qtype).encode(7, &mut packet);
            packet.truncate(length);
            Some(packet)
        })
        .collect();
    let (mut query, mut reply, mut out) = (Query::default(), Reply::default(), vec![0; 4096]);
    let mut parts = [Vec::new(), Vec::new()];
    for _ in 0..41 {
        let began = Instant::now();
        for packet in &packets {
            let _ = black_box(query.parse(black_box(packet)));
        }
        parts[0].push(began.elapsed());
        let began = Instant::now();
        for packet in &packets {
            if query.parse(black_box(packet)).is_ok() {
                zone.answer(&query, &[], &mut reply);
                black_box(reply.encode(&query, 1232, &mut out));
            }
        }
        parts[1].push(began.elapsed());
    }
    let [parse, all] = parts.map(|mut rounds| {
        rounds.sort();
        rounds[rounds.len() / 2].as_nanos() as usize / packets.len()
    });
    query.parse(&packets[0]).expect("it is a query");
    let verdict = zone.answer(&query, &[], &mut reply);
    println!(
        "{what:>20}: {all:>5} ns, of it parsing {parse} ns ({verdict:?}, {} records)",
        reply.records().len()
    );
}

/// Resident memory in KiB.
fn memory() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4
}
