//! Effect of cluster changes on request latency: the ingress proxy with 20,000 Ingresses under a constant load, in rounds without
//! relevant changes and in rounds with a hundred changes per second. A minute of each: `bench changes --rounds 6 --seconds 10`.
//!
//! The baseline rounds write ConfigMaps at the same rate as the others write Ingresses, EndpointSlices and Secrets: the API
//! server is part of the load generator, so its work is the same in both.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};
use tests::credentials::CertificateAuthority;
use tests::http::{self, Connection};

use crate::http::backend;
use crate::ingress_proxy::{self, IngressProxy, NAMESPACE};
use crate::object_server::ObjectServer;
use crate::process::Process;
use crate::samples::quantile;
use crate::table::{Table, milliseconds};
use crate::testbed::Testbed;

/// Number of Ingresses that are changed and get requests. Each has its own host, Service and certificate.
const INGRESSES: usize = 200;

/// Ingresses that are neither changed nor requested. Each has its own host.
const BYSTANDERS: usize = 19_800;

/// Two Pods of every Service. Each slice lists one of them.
const PODS: [&str; 2] = ["127.0.0.1", "127.0.0.2"];

/// Writer threads, and the time between two writes of one thread: 100 writes per second in total.
const WRITERS: usize = 4;
const WRITE_INTERVAL: Duration = Duration::from_millis(40);

/// Client connections, and the time between two requests on one of them: 2,000 requests per second in total.
const CLIENTS: usize = 16;
const REQUEST_INTERVAL: Duration = Duration::from_millis(8);

/// How long to wait until a change is visible.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Measurements of all rounds of one kind.
#[derive(Default)]
struct ChangeResult {
    writes: AtomicUsize,
    /// Milliseconds from the time at which a request was due to its response.
    latencies: Vec<f64>,
    failed: u64,
    cpu: Duration,
    elapsed: Duration,
}

/// Measures Portolan only: ingress-nginx is not available from a package registry.
pub(crate) fn measure(testbed: &Testbed, rounds: usize, duration: Duration) -> Result<Table, String> {
    let api = ObjectServer::start(&testbed.folder("api-server-of-changes")?)?;
    // One process serves as both Pods: it listens on all addresses.
    let backend = backend::start(testbed, Ipv4Addr::UNSPECIFIED)?;
    let port = backend.address.port();
    let authority = CertificateAuthority::new("changes");
    let certificates = [(); 2].map(|()| {
        let issued = authority.issue(&["shop.example"]);
        let encoded = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
        json!({ "tls.crt": encoded(issued.certificate), "tls.key": encoded(issued.key) })
    });
    create(&api, port, &certificates[0]);
    let IngressProxy { mut process, address } = ingress_proxy::start(testbed, &api.kubeconfig, &[])?;
    process.wait_until(|| (0..INGRESSES).all(|number| status(address, number, "/") == Some(200)))?;

    let (mut quiet, mut changing) = (ChangeResult::default(), ChangeResult::default());
    for _ in 0..rounds {
        quiet.round(&api, address, &process, duration, write_config_map);
        changing.round(&api, address, &process, duration, |api, write| {
            write_watched_object(api, write, port, &certificates);
        });
        wait_for_last_change(address, changing.writes.load(Ordering::Relaxed))?;
    }

    let mut table = Table::new(
        "Ingress proxy during cluster changes",
        &["cluster", "writes/s", "requests", "failed", "p50", "p99", "p99.9", "CPU µs per request"],
    );
    for (name, result) in [
        ("baseline: ConfigMaps that are not watched", &quiet),
        ("Ingresses, EndpointSlices, Secrets", &changing),
    ] {
        table.row(vec![
            name.to_owned(),
            format!("{:.0}", result.writes.load(Ordering::Relaxed) as f64 / result.elapsed.as_secs_f64()),
            result.latencies.len().to_string(),
            result.failed.to_string(),
            milliseconds(&result.latencies, 0.5),
            milliseconds(&result.latencies, 0.99),
            milliseconds(&result.latencies, 0.999),
            format!("{:.1}", result.cpu.as_secs_f64() * 1e6 / result.latencies.len() as f64),
        ]);
    }
    let tail = |result: &ChangeResult| quantile(&result.latencies, 0.99).unwrap_or(f64::NAN);
    table.note(format!("p99 during changes: {:.2} × baseline", tail(&changing) / tail(&quiet)));
    table.note(format!(
        "{} Ingresses; {rounds} rounds of {:.1} s of each kind, alternating; a third of the writes move a Service to its other \
         Pod, a third add a path to an Ingress or remove it, a third replace the certificate of a host",
        INGRESSES + BYSTANDERS,
        duration.as_secs_f64()
    ));
    Ok(table)
}

impl ChangeResult {
    fn round(
        &mut self,
        api: &ObjectServer,
        proxy: SocketAddr,
        process: &Process,
        duration: Duration,
        write: impl Fn(&ObjectServer, usize) + Sync,
    ) {
        let (stop, before, start) = (AtomicBool::new(false), process.cpu(), Instant::now());
        let (stop, writes, write) = (&stop, &self.writes, &write);
        thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(move || write_at_fixed_rate(api, writes, stop, write));
            }
            let clients: Vec<ScopedJoinHandle<'_, (Vec<f64>, u64)>> = (0..CLIENTS)
                .map(|client| scope.spawn(move || send_at_fixed_rate(proxy, client, start, duration)))
                .collect();
            for client in clients {
                let (latencies, failed) = client.join().expect("a client does not panic");
                self.latencies.extend(latencies);
                self.failed += failed;
            }
            stop.store(true, Ordering::Relaxed);
        });
        self.elapsed += start.elapsed();
        self.cpu += process.cpu().saturating_sub(before);
    }
}

/// Writes one object after the other until `stop` is set.
fn write_at_fixed_rate(
    api: &ObjectServer,
    writes: &AtomicUsize,
    stop: &AtomicBool,
    write: impl Fn(&ObjectServer, usize),
) {
    let start = Instant::now();
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        write(api, writes.fetch_add(1, Ordering::Relaxed));
        wait_until(start + WRITE_INTERVAL * number);
    }
}

/// Sends requests to one host after the other over one connection. Returns the latencies in milliseconds and the number
/// of failures.
fn send_at_fixed_rate(
    proxy: SocketAddr,
    client: usize,
    start: Instant,
    duration: Duration,
) -> (Vec<f64>, u64) {
    let (mut latencies, mut failed, mut connection) = (Vec::new(), 0, None);
    for number in 0.. {
        let due =
            start + REQUEST_INTERVAL * number as u32 + REQUEST_INTERVAL * client as u32 / CLIENTS as u32;
        if due > start + duration {
            break;
        }
        wait_until(due);
        let host = host((number * CLIENTS + client) % INGRESSES);
        let response = match connection.take() {
            Some(open) => Ok(open),
            None => Connection::plain(proxy),
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

/// Writes an object that the ingress proxy does not watch.
fn write_config_map(api: &ObjectServer, write: usize) {
    api.put([config_map(write % INGRESSES, write)]);
}

/// Writes an object that the ingress proxy watches: changes every object in turn, then changes them back.
fn write_watched_object(api: &ObjectServer, write: usize, port: u16, certificates: &[Value; 2]) {
    let (number, changed) = (write / 3 % INGRESSES, is_changed(write));
    let object = match write % 3 {
        0 => slice(number, PODS[usize::from(changed)], port),
        1 => ingress(number, changed),
        _ => secret(number, &certificates[usize::from(changed)]),
    };
    api.put([object]);
}

fn is_changed(write: usize) -> bool {
    (write / (3 * INGRESSES)).is_multiple_of(2)
}

/// Waits until the last of these changes of an Ingress is visible.
fn wait_for_last_change(proxy: SocketAddr, writes: usize) -> Result<(), String> {
    let Some(last) = (0..writes).rev().find(|write| write % 3 == 1) else { return Ok(()) };
    let (start, wanted) = (Instant::now(), if is_changed(last) { 503 } else { 200 });
    while start.elapsed() < TIMEOUT {
        if status(proxy, last / 3 % INGRESSES, "/gone") == Some(wanted) {
            return Ok(());
        }
    }
    Err(format!("the last changed path did not answer {wanted} within {TIMEOUT:?}"))
}

fn create(api: &ObjectServer, port: u16, certificate: &Value) {
    api.put([ingress_proxy::class(), ingress_proxy::service("none")]);
    api.put((0..INGRESSES).flat_map(|number| {
        [
            ingress_proxy::service(&web(number)),
            slice(number, PODS[0], port),
            secret(number, certificate),
            ingress(number, false),
            config_map(number, 0),
        ]
    }));
    api.put((0..BYSTANDERS).map(|number| {
        let name = format!("bystander-{number}");
        ingress_proxy::ingress(&name, &format!("{name}.example"), &web(number % INGRESSES))
    }));
}

fn status(proxy: SocketAddr, number: usize, path: &str) -> Option<u16> {
    http::get(proxy, &host(number), path).ok().map(|got| got.status)
}

fn web(number: usize) -> String {
    format!("web-{number}")
}

fn host(number: usize) -> String {
    format!("shop-{number}.example")
}

/// An Ingress, optionally with a second path whose Service has no endpoints.
fn ingress(number: usize, extra_path: bool) -> Value {
    let mut ingress = ingress_proxy::ingress(&web(number), &host(number), &web(number));
    ingress["metadata"]["annotations"] = json!({ "nginx.ingress.kubernetes.io/ssl-redirect": "false" });
    ingress["spec"]["tls"] = json!([{ "hosts": [host(number)], "secretName": web(number) }]);
    if extra_path && let Some(paths) = ingress["spec"]["rules"][0]["http"]["paths"].as_array_mut() {
        paths.push(ingress_proxy::path("/gone", "Exact", "none"));
    }
    ingress
}

fn slice(number: usize, pod: &str, port: u16) -> Value {
    ingress_proxy::slice(&web(number), pod, port)
}

/// The certificate of a host.
fn secret(number: usize, certificate: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "name": web(number), "namespace": NAMESPACE }, "data": certificate,
    })
}

fn config_map(number: usize, write: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": web(number), "namespace": NAMESPACE },
        "data": { "write": write.to_string() },
    })
}
