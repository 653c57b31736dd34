//! What requests notice while the cluster changes: the edge under an even load, in quiet rounds and in rounds with a
//! hundred writes a second.
//!
//! In a quiet round as many ConfigMaps are written as in the other Ingresses and EndpointSlices: the API server works on
//! the core of the load, and its work must not be taken for the edge's.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::api::Api;
use tests::control_plane::ControlPlane;
use tests::http::{self, Connection};
use tests::{namespace, programs};

use crate::edge::{self, Edge, NAMESPACE};
use crate::http::backend;
use crate::place::Place;
use crate::process::Process;
use crate::round::quantile;
use crate::table::{Table, milliseconds};

/// Ingresses, each with a host and a Service of its own.
const INGRESSES: usize = 200;

/// Two Pods of every Service; each slice names one or the other.
const PODS: [&str; 2] = ["10.244.9.1", "10.244.9.2"];

/// Threads that write, and the time between two writes of one: together a hundred writes a second.
const WRITERS: usize = 4;
const BETWEEN_WRITES: Duration = Duration::from_millis(40);

/// Connections that ask, and the time between two requests on one: together 2,000 requests a second.
const CLIENTS: usize = 16;
const BETWEEN_REQUESTS: Duration = Duration::from_millis(8);

/// Longer than a change takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the rounds of one sort saw.
#[derive(Default)]
struct Seen {
    writes: AtomicUsize,
    /// Milliseconds from when a request was due to its answer.
    latencies: Vec<f64>,
    failed: u64,
    cpu: Duration,
    took: Duration,
}

/// Measures Portolan: ingress-nginx is in no package registry.
pub(crate) fn measure(place: &Place, rounds: usize, length: Duration) -> Result<Table, String> {
    let binary = programs::cluster()?;
    // There is no way back out of it.
    namespace::enter()?;
    let plane = ControlPlane::start(&binary, &place.folder("control-plane-of-changes")?);
    // One process is both Pods: it listens on every address of this network.
    let backend = backend::start(place, Ipv4Addr::UNSPECIFIED)?;
    let port = backend.address.port();
    create(&plane.api, port);
    let Edge { mut process, address } = edge::start(place, &plane)?;
    process.wait(|| (0..INGRESSES).all(|number| status(address, number, "/") == Some(200)))?;

    let (mut quiet, mut changing) = (Seen::default(), Seen::default());
    for _ in 0..rounds {
        quiet.round(&plane, address, &process, length, touch);
        changing.round(&plane, address, &process, length, |api, write| change(api, write, port));
        settled(address, changing.writes.load(Ordering::Relaxed))?;
    }

    let mut table = Table::new(
        "The edge while the cluster changes",
        &["cluster", "writes/s", "requests", "failed", "p50", "p99", "p99.9", "CPU µs per request"],
    );
    for (name, seen) in
        [("quiet: ConfigMaps nobody reads", &quiet), ("Ingresses and EndpointSlices", &changing)]
    {
        table.row(vec![
            name.to_owned(),
            format!("{:.0}", seen.writes.load(Ordering::Relaxed) as f64 / seen.took.as_secs_f64()),
            seen.latencies.len().to_string(),
            seen.failed.to_string(),
            milliseconds(&seen.latencies, 0.5),
            milliseconds(&seen.latencies, 0.99),
            milliseconds(&seen.latencies, 0.999),
            format!("{:.1}", seen.cpu.as_secs_f64() * 1e6 / seen.latencies.len() as f64),
        ]);
    }
    let tail = |seen: &Seen| quantile(&seen.latencies, 0.99).unwrap_or(f64::NAN);
    table.note(format!("p99 while it changes: {:.2} × quiet", tail(&changing) / tail(&quiet)));
    table.note(format!(
        "{INGRESSES} Ingresses; {rounds} rounds of {:.1} s of each sort in turn; every second write moves a Service to \
         its other Pod, the others give an Ingress a path or take it away",
        length.as_secs_f64()
    ));
    Ok(table)
}

impl Seen {
    fn round(
        &mut self,
        plane: &ControlPlane,
        edge: SocketAddr,
        process: &Process,
        length: Duration,
        write: impl Fn(&Api, usize) + Sync,
    ) {
        let (over, before, start) = (AtomicBool::new(false), process.cpu(), Instant::now());
        let (over, writes, write) = (&over, &self.writes, &write);
        thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(move || write_evenly(plane, writes, over, write));
            }
            let clients: Vec<ScopedJoinHandle<'_, (Vec<f64>, u64)>> = (0..CLIENTS)
                .map(|client| scope.spawn(move || ask_evenly(edge, client, start, length)))
                .collect();
            for client in clients {
                let (latencies, failed) = client.join().expect("a client does not panic");
                self.latencies.extend(latencies);
                self.failed += failed;
            }
            over.store(true, Ordering::Relaxed);
        });
        self.took += start.elapsed();
        self.cpu += process.cpu().saturating_sub(before);
    }
}

/// Writes one object after the other until it is `over`.
fn write_evenly(plane: &ControlPlane, writes: &AtomicUsize, over: &AtomicBool, write: impl Fn(&Api, usize)) {
    let (api, start) = (plane.api.at(plane.server.address()), Instant::now());
    for number in 1.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        write(&api, writes.fetch_add(1, Ordering::Relaxed));
        wait_until(start + BETWEEN_WRITES * number);
    }
}

/// Asks one host after the other over one connection. Returns the latencies in milliseconds, and how many failed.
fn ask_evenly(edge: SocketAddr, client: usize, start: Instant, length: Duration) -> (Vec<f64>, u64) {
    let (mut latencies, mut failed, mut connection) = (Vec::new(), 0, None);
    for number in 0.. {
        let due =
            start + BETWEEN_REQUESTS * number as u32 + BETWEEN_REQUESTS * client as u32 / CLIENTS as u32;
        if due > start + length {
            break;
        }
        wait_until(due);
        let host = host((number * CLIENTS + client) % INGRESSES);
        let response = match connection.take() {
            Some(open) => Ok(open),
            None => Connection::plain(edge),
        }
        .and_then(|mut open| Ok((open.send("GET", "/", &[("host", &host)], b"")?, open)));
        latencies.push(due.elapsed().as_secs_f64() * 1e3);
        match response {
            Ok((response, open)) => {
                failed += u64::from(response.status != 200);
                connection = (response.header("connection") != Some("close")).then_some(open);
            }
            Err(_) => failed += 1,
        }
    }
    (latencies, failed)
}

fn wait_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

/// A write that the edge does not hear of.
fn touch(api: &Api, write: usize) {
    api.apply(&config_map(write % INGRESSES, write).to_string());
}

/// A write that it has to follow: every object in turn, there and back.
fn change(api: &Api, write: usize, port: u16) {
    let number = write / 2 % INGRESSES;
    let object = match write % 2 {
        0 => slice(number, PODS[usize::from(is_moved(write))], port),
        _ => ingress(number, is_moved(write)),
    };
    api.apply(&object.to_string());
}

fn is_moved(write: usize) -> bool {
    (write / (2 * INGRESSES)).is_multiple_of(2)
}

/// Waits until the last Ingress of these writes is seen.
fn settled(edge: SocketAddr, writes: usize) -> Result<(), String> {
    let Some(last) = (0..writes).rev().find(|write| write % 2 == 1) else { return Ok(()) };
    let (start, wanted) = (Instant::now(), if is_moved(last) { 503 } else { 200 });
    while start.elapsed() < PATIENCE {
        if status(edge, last / 2 % INGRESSES, "/gone") == Some(wanted) {
            return Ok(());
        }
    }
    Err(format!("a path was not {wanted} within {PATIENCE:?}"))
}

fn create(api: &Api, port: u16) {
    api.create_all(&[edge::class(), edge::service("none")], 1);
    for number in 0..INGRESSES {
        api.create_all(&[edge::service(&web(number))], 1);
        for object in [slice(number, PODS[0], port), ingress(number, false), config_map(number, 0)] {
            api.apply(&object.to_string());
        }
    }
}

fn status(edge: SocketAddr, number: usize, path: &str) -> Option<u16> {
    http::get(edge, &host(number), path).ok().map(|got| got.status)
}

fn web(number: usize) -> String {
    format!("web-{number}")
}

fn host(number: usize) -> String {
    format!("shop-{number}.example")
}

/// An Ingress, with or without a path more that leads to a Service without endpoints.
fn ingress(number: usize, more: bool) -> Value {
    let mut ingress = edge::ingress(&web(number), &host(number), &web(number));
    if more && let Some(paths) = ingress["spec"]["rules"][0]["http"]["paths"].as_array_mut() {
        paths.push(edge::path("/gone", "Exact", "none"));
    }
    ingress
}

fn slice(number: usize, pod: &str, port: u16) -> Value {
    let (name, service) = (format!("{}-1", web(number)), web(number));
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": name, "namespace": NAMESPACE, "labels": { "kubernetes.io/service-name": service },
        },
        "ports": [{ "name": "http", "port": port, "protocol": "TCP" }],
        "endpoints": [{ "addresses": [pod], "conditions": { "ready": true } }],
    })
}

fn config_map(number: usize, write: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": web(number), "namespace": NAMESPACE },
        "data": { "write": write.to_string() },
    })
}
